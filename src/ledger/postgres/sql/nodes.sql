-- Those that ended in order come last: of too many the others are wanted first.
select node, program, tables, address, skew_ms, trip_us,
       (extract(epoch from started_at) * 1000)::int8, (extract(epoch from seen_at) * 1000)::int8,
       (extract(epoch from left_at) * 1000)::int8, (extract(epoch from now()) * 1000)::int8, count(*) over ()
  from auditshield_nodes
 order by left_at is not null, seen_at desc, node
 limit $1
