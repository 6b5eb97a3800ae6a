with moved as (
    update auditshield_orders
       set version = version + 1, head = $4, snapshot = $5, status = $6, due_ms = $7, email_hash = $8, tx_hash = $9,
           stalled = $10, home = $11,
           lease_until = case when $12::int8 is null then lease_until else null end
     where id = $1 and version = $2 and head = $3 and ($12::int8 is null or epoch = $12::int8)
    returning id
),
sealed as (
    insert into auditshield_order_keys (order_id, slot, record)
    select moved.id, k.slot, k.record from moved, unnest($16::int8[], $17::bytea[]) as k (slot, record)
    on conflict (order_id, slot) do update set record = excluded.record
    returning order_id
),
place as (
    insert into auditshield_series (year, last)
    select $18::int8, 1 from moved where $18::int8 is not null
    on conflict (year) do update set last = auditshield_series.last + 1
    returning last
),
receipt as (
    insert into auditshield_receipts (year, place, order_id, hour, currency, amount)
    select $18::int8, place.last, moved.id, $19::int8, $20::text, $21::int8 from place, moved
    returning order_id
)
insert into auditshield_lines (order_id, version, operation, epoch, node, body, hash, personal)
select id, $2::int8 + 1, $13::bytea, $12::int8, $11::text, $14::bytea, $4::text, $15::boolean from moved
