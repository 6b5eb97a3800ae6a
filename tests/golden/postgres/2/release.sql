update auditshield_orders set lease_until = null where id = $1 and epoch = $2 and lease_owner = $3
