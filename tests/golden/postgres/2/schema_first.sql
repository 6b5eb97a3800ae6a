insert into auditshield_schema (id, version) values (1, 0) on conflict (id) do nothing
