select count(*) from auditshield_orders o left join auditshield_receipts r on r.order_id = o.id
 where (o.status = 'PAID' or o.status = 'REFUNDED') and r.order_id is null
