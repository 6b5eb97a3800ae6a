select l.order_id, l.version, l.body, l.hash, l.personal
  from unnest($1::bytea[], $2::int8[]) as w (order_id, version)
  join auditshield_lines l on l.order_id = w.order_id and l.version = w.version
