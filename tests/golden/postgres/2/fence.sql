select version, epoch from auditshield_orders where id = $1
