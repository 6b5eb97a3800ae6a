-- A lease is taken for what is due, so that the index of what is due leads to all of them, but for an order that went on
-- under its errand and owes nothing any more, or not before long.
select lease_owner, id, (extract(epoch from lease_until) * 1000)::int8, lease_until <= now(), held, lapsed,
       (extract(epoch from first_end) * 1000)::int8, (extract(epoch from last_end) * 1000)::int8
  from (select lease_owner, id, lease_until,
               sum(case when lease_until > now() then 1 else 0 end) over (partition by lease_owner)::int8 as held,
               sum(case when lease_until > now() then 0 else 1 end) over (partition by lease_owner)::int8 as lapsed,
               min(lease_until) over (partition by lease_owner) as first_end,
               max(lease_until) over (partition by lease_owner) as last_end,
               row_number() over (partition by lease_owner order by lease_until, id) as place
          from (select lease_owner, id, lease_until from auditshield_orders
                 where due_ms is not null and due_ms <= (extract(epoch from now()) * 1000)::int8 + $1::int8
                 order by due_ms, id
                 limit $2) due
         where lease_until is not null and lease_owner is not null) counted
 where place <= $3
 order by lease_owner, place
