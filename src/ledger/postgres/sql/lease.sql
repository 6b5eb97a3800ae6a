-- What stood there before tells whose lease was over: the update does not change what is read beside it.
with lapsed as (
    select lease_owner from auditshield_orders where id = $1 and lease_until is not null and lease_owner <> $3
)
update auditshield_orders
   set epoch = epoch + 1, lease_owner = $3, lease_until = now() + interval '1 millisecond' * $4::float8
 where id = $1 and version = $2 and (lease_until is null or lease_until <= now())
returning epoch, (select lease_owner from lapsed)
