select count(*) from auditshield_order_keys k left join auditshield_orders o on o.id = k.order_id
 where o.id is null and k.slot > 0
