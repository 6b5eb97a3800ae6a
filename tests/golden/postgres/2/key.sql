select order_id, fingerprint, at_ms from auditshield_keys where key = $1
