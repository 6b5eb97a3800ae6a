-- A ledger that was moved here, or is being moved: no node serves it before that is finished. What stays is the evidence,
-- the head of the chain that its lines came from.

create table if not exists auditshield_migration (
    id int8 not null primary key,
    source text not null,
    head text not null,
    lines int8 not null,
    chains text,
    begun_at timestamptz not null default now(),
    finished_at timestamptz
);

-- What a node says of itself beside its sign of life, for whoever looks at the cluster: where it listens, how far the
-- database's clock is ahead of its machine's, how long the database took to answer, and that it ended in order. A node of
-- the tables of before says none of it.

alter table auditshield_nodes add column if not exists address text;

alter table auditshield_nodes add column if not exists skew_ms int8;

alter table auditshield_nodes add column if not exists trip_us int8;

alter table auditshield_nodes add column if not exists left_at timestamptz;

-- What all nodes together may do only so often: up to when that which was drawn is paid for (microseconds of the database's
-- clock), when somebody asked last, and what that brought. A row for each purpose, for ever.

create table if not exists auditshield_quotas (
    purpose text not null primary key,
    asked_us int8 not null,
    granted int8 not null,
    spent_us int8 not null
);
