select source, head, lines, finished_at is not null from auditshield_migration where id = 1
