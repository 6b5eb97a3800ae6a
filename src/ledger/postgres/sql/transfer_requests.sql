select key, order_id, fingerprint, at_ms from auditshield_keys
 where at_ms > (select max(created_ms) from auditshield_orders) - $1::int8
 order by key
