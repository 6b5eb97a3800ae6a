select o.id, o.version, o.head, o.snapshot, k.slot, k.record
  from (select id, version, head, snapshot from auditshield_orders
         where id >= $1 and id <= $2
           and ($3::text is null or status = $3::text)
           and ($4::bytea is null or email_hash = $4::bytea)
           and ($5::bytea is null or tx_hash = $5::bytea)
           and (stalled or not $6::boolean)
         order by id desc
         limit $7) o
  left join auditshield_order_keys k on k.order_id = o.id
 order by o.id desc, k.slot
