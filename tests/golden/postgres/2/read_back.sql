select version from auditshield_lines where operation = $1
