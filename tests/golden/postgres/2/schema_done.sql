update auditshield_schema
   set version = $2, changed_by = null, changed_until = null
 where id = 1 and changed_by = $1 and version = $2::int8 - 1
