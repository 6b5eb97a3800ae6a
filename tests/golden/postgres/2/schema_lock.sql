update auditshield_schema
   set changed_by = $1, changed_until = now() + interval '1 second' * $2::float8
 where id = 1 and version = $3 and (changed_until is null or changed_until <= now() or changed_by = $1)
