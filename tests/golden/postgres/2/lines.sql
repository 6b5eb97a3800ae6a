select order_id, version, body, hash, personal from auditshield_lines where order_id = any($1) order by order_id, version
