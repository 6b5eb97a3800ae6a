select count(*) from auditshield_lines l left join auditshield_orders o on o.id = l.order_id where o.id is null
