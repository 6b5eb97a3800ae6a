select operation from auditshield_lines where operation = any($1)
