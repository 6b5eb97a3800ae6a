select status, count(*) from auditshield_orders group by status
