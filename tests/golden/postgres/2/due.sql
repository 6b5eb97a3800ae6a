select due_ms, id from auditshield_orders
 where due_ms is not null and due_ms <= $1 and (home = $2 or due_ms <= $3)
   and (lease_until is null or lease_until <= now())
 order by due_ms, id
 limit $4
