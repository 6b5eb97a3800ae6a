select order_id, version, body, hash from auditshield_lines
 where (order_id, version) > ($1, $2)
 order by order_id, version
 limit $3
