insert into auditshield_nodes (node, program, tables, address, skew_ms, trip_us) values ($1, $2, $3, $4, $5, $6)
on conflict (node) do update
   set seen_at = now(), address = excluded.address, skew_ms = excluded.skew_ms, trip_us = excluded.trip_us
returning (extract(epoch from clock_timestamp()) * 1000)::int8
