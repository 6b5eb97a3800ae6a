update auditshield_nodes set left_at = now() where node = $1
