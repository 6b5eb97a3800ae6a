insert into auditshield_order_keys (order_id, slot, record)
select $1::bytea, 0, $2::bytea where not exists (select 1 from auditshield_orders)
on conflict (order_id, slot) do nothing
