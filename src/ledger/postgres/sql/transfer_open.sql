insert into auditshield_migration (id, source, head, lines) values (1, $1, $2, $3) on conflict (id) do nothing
