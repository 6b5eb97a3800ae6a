select created_ms from auditshield_orders where status = 'PENDING' order by id limit 1
