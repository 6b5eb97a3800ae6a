-- Of the orders that are due longest so many are looked at that the question stays small, whatever is the matter.
select home, due_ms, id, orders, looked_at
  from (select home, due_ms, id, count(*) over (partition by home) as orders, count(*) over () as looked_at,
               row_number() over (partition by home order by due_ms, id) as place
          from (select home, due_ms, id from auditshield_orders
                 where due_ms is not null and due_ms <= (extract(epoch from now()) * 1000)::int8 - $1::int8
                   and (lease_until is null or lease_until <= now())
                 order by due_ms, id
                 limit $2) due) counted
 where place = 1
