with made as (
    insert into auditshield_orders
        (id, version, head, snapshot, status, due_ms, created_ms, email_hash, tx_hash, stalled, home)
    values ($1, 1, $2, $3, $4, $5, $6, $7, null, false, $8)
    on conflict (id) do nothing
    returning id
),
sealed as (
    insert into auditshield_order_keys (order_id, slot, record)
    select made.id, k.slot, k.record from made, unnest($11::int8[], $12::bytea[]) as k (slot, record)
    returning order_id
)
insert into auditshield_lines (order_id, version, operation, epoch, node, body, hash)
select id, 1, $9::bytea, null, $8::text, $10::bytea, $2::text from made
