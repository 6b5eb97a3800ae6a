with made as (
    insert into auditshield_orders
        (id, version, head, snapshot, status, due_ms, created_ms, email_hash, tx_hash, stalled, home)
    select o.id, o.version, o.head, o.snapshot, o.status, o.due_ms, o.created_ms, o.email_hash, o.tx_hash, o.stalled,
           $1::text
      from unnest($2::bytea[], $3::int8[], $4::text[], $5::bytea[], $6::text[], $7::int8[], $8::int8[], $9::bytea[],
                  $10::bytea[], $11::boolean[])
        as o (id, version, head, snapshot, status, due_ms, created_ms, email_hash, tx_hash, stalled)
    on conflict (id) do nothing
    returning id
),
sealed as (
    insert into auditshield_order_keys (order_id, slot, record)
    select k.order_id, k.slot, k.record
      from unnest($12::bytea[], $13::int8[], $14::bytea[]) as k (order_id, slot, record)
      join made on made.id = k.order_id
    returning order_id
),
owned as (
    insert into auditshield_keys (key, order_id, fingerprint, at_ms)
    select q.key, q.order_id, q.fingerprint, q.at_ms
      from unnest($15::text[], $16::bytea[], $17::text[], $18::int8[]) as q (key, order_id, fingerprint, at_ms)
      join made on made.id = q.order_id
    returning order_id
),
receipt as (
    insert into auditshield_receipts (year, place, order_id, hour, currency, amount)
    select r.year, r.place, r.order_id, r.hour, r.currency, r.amount
      from unnest($19::int8[], $20::int8[], $21::bytea[], $22::int8[], $23::text[], $24::int8[])
        as r (year, place, order_id, hour, currency, amount)
      join made on made.id = r.order_id
    returning order_id
)
insert into auditshield_lines (order_id, version, operation, epoch, node, body, hash, personal)
select l.order_id, l.version, l.operation, null, $1::text, l.body, l.hash, l.personal
  from unnest($25::bytea[], $26::int8[], $27::bytea[], $28::bytea[], $29::text[], $30::boolean[])
    as l (order_id, version, operation, body, hash, personal)
  join made on made.id = l.order_id
