select o.id, o.version, o.head, o.snapshot, k.slot, k.record
  from auditshield_orders o left join auditshield_order_keys k on k.order_id = o.id
 where o.id = any($1)
 order by o.id, k.slot
