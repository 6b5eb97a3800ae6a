select version from auditshield_schema where id = 1
