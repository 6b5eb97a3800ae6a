select id from auditshield_orders where id = any($1) order by id
