create table if not exists auditshield_schema (
    id int8 not null primary key,
    version int8 not null,
    changed_by text,
    changed_until timestamptz
)
