update auditshield_orders
   set epoch = epoch + 1, lease_owner = $3, lease_until = now() + interval '1 millisecond' * $4::float8
 where id = $1 and version = $2 and (lease_until is null or lease_until <= now())
returning epoch
