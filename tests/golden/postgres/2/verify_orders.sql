select id, version, head, snapshot from auditshield_orders where id > $1 order by id limit $2
