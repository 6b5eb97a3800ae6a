select count(*) from auditshield_lines
