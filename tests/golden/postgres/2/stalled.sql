select count(*) from auditshield_orders where stalled
