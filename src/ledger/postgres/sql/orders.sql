select id, version, head, snapshot from auditshield_orders where id = any($1)
