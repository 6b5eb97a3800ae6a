select order_id, version, body, hash, personal from auditshield_lines
 where (order_id, version) > ($1, $2) and personal
 order by order_id, version
 limit $3
