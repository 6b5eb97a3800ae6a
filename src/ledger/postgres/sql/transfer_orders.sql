select o.id, o.version, o.head, o.status, o.due_ms, r.year, r.place
  from (select id, version, head, status, due_ms from auditshield_orders where id > $1 order by id limit $2) o
  left join auditshield_receipts r on r.order_id = o.id
 order by o.id
