-- Orders, their lines, and what several nodes share.

create table if not exists auditshield_orders (
    id bytea not null primary key,
    version int8 not null,
    head text not null,
    snapshot bytea not null,
    status text not null,
    due_ms int8,
    created_ms int8 not null,
    email_hash bytea,
    tx_hash bytea,
    stalled boolean not null,
    home text not null,
    epoch int8 not null default 0,
    lease_owner text,
    lease_until timestamptz
);

create index if not exists auditshield_orders_due on auditshield_orders (due_ms, id) where due_ms is not null;

create index if not exists auditshield_orders_status on auditshield_orders (status, id);

create index if not exists auditshield_orders_email on auditshield_orders (email_hash, id)
    where email_hash is not null;

create index if not exists auditshield_orders_tx on auditshield_orders (tx_hash, id) where tx_hash is not null;

create index if not exists auditshield_orders_stalled on auditshield_orders (id) where stalled;

create table if not exists auditshield_lines (
    order_id bytea not null,
    version int8 not null,
    operation bytea not null unique,
    epoch int8,
    node text not null,
    body bytea not null,
    hash text not null,
    written_at timestamptz not null default now(),
    primary key (order_id, version)
);

-- The record of each key that seals something of an order: made with the line that needs it first, destroyed with the line
-- that says so. Number 0 of order 0 is the key of the addresses' hashes.
create table if not exists auditshield_order_keys (
    order_id bytea not null,
    slot int8 not null,
    record bytea not null,
    primary key (order_id, slot)
);

create table if not exists auditshield_keys (
    key text not null primary key,
    order_id bytea not null,
    fingerprint text not null,
    at_ms int8 not null
);

create table if not exists auditshield_series (
    year int8 not null primary key,
    last int8 not null
);

create table if not exists auditshield_receipts (
    year int8 not null,
    place int8 not null,
    order_id bytea not null unique,
    hour int8 not null,
    currency text not null,
    amount int8 not null,
    primary key (year, place)
);

create index if not exists auditshield_receipts_hour on auditshield_receipts (hour);

create table if not exists auditshield_nodes (
    node text not null primary key,
    program text not null,
    tables int8 not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

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
