with owned as (
    insert into auditshield_keys (key, order_id, fingerprint, at_ms) values ($13, $1, $14, $6)
    on conflict (key) do update
       set order_id = excluded.order_id, fingerprint = excluded.fingerprint, at_ms = excluded.at_ms
     where auditshield_keys.order_id = $15::bytea
    returning order_id
),
made as (
    insert into auditshield_orders
        (id, version, head, snapshot, status, due_ms, created_ms, email_hash, tx_hash, stalled, home)
    select order_id, 1, $2::text, $3::bytea, $4::text, $5::int8, $6::int8, $7::bytea, null, false, $8::text from owned
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
