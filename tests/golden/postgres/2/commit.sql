with moved as (
    update auditshield_orders
       set version = version + 1, head = $4, snapshot = $5, status = $6, due_ms = $7, email_hash = $8, tx_hash = $9,
           stalled = $10, home = $11,
           lease_until = case when $12::int8 is null then lease_until else null end
     where id = $1 and version = $2 and head = $3 and ($12::int8 is null or epoch = $12::int8)
    returning id
)
insert into auditshield_lines (order_id, version, operation, epoch, node, body, hash, personal)
select id, $2::int8 + 1, $13::bytea, $12::int8, $11::text, $14::bytea, $4::text, $15::boolean from moved
