select count(*) from auditshield_nodes where seen_at > now() - interval '1 minute' and left_at is null
