insert into auditshield_nodes (node, program, tables) values ($1, $2, $3)
on conflict (node) do update set seen_at = now()
returning (extract(epoch from clock_timestamp()) * 1000)::int8
