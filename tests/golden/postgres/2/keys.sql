select order_id, slot, record from auditshield_order_keys where order_id = any($1) order by order_id, slot
