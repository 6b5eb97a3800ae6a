update auditshield_migration set finished_at = now(), chains = $1 where id = 1 and finished_at is null
