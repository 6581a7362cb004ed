-- The order store: every table of one schema. Instants are microseconds since the Unix epoch by the
-- server's clock; ids are compared byte by byte.

create function now_us() returns bigint language sql volatile as
$$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint $$;

-- Numbers every fact of the run, whatever table holds it. Facts of one order are written under its
-- row lock, so their numbers are in the order of their commits.
create sequence fact_number;

create table orders (
    id text collate "C" primary key,
    lab_subject text not null,
    state text not null,
    version integer not null,
    customer_id text not null,
    country text,
    currency text not null,
    amount_cents bigint not null,
    items jsonb not null,
    created_us bigint not null,
    expires_us bigint not null,
    due_us bigint,
    was_cancelled boolean not null default false,
    traceparent text not null
) with (fillfactor = 60);

comment on column orders.due_us is 'expires_us while the order is open, null from then on';

create index orders_due on orders (due_us) where due_us is not null;

-- What every order has been. A version owes exactly one event, published by the relay or not.
create table order_versions (
    order_id text collate "C" not null,
    version integer not null,
    state text not null,
    event_id text not null,
    event_type text not null,
    number bigint not null default nextval('fact_number'),
    at_us bigint not null default now_us(),
    primary key (order_id, version)
);

create table intents (
    order_id text collate "C" not null,
    kind text collate "C" not null,
    n integer not null,
    key text not null,
    amount_cents bigint not null,
    currency text not null,
    send_until_us bigint not null,
    is_open boolean not null,
    number bigint generated always as identity,
    primary key (order_id, kind, n)
);

-- What became of an event in a group: the inbox and the dead verdicts.
create table outcomes (
    event_id text collate "C" not null,
    group_name text collate "C" not null,
    is_dead boolean not null,
    redrives integer not null,
    at_us bigint not null default now_us(),
    primary key (event_id, group_name)
);

create table revenue (
    currency text collate "C" primary key,
    amount_cents bigint not null
);

create table http_keys (
    key text collate "C" primary key,
    body_sha256 text not null,
    status integer not null,
    answer bytea not null,
    at_us bigint not null default now_us()
);

-- Events that the relay owes to the bus. Rows are marked, not deleted: what was owed can be
-- compared with what was published.
create table outbox (
    number bigint generated always as identity primary key,
    shard integer not null,
    id text not null,
    type text not null,
    source text not null,
    order_id text not null,
    sequence integer not null,
    time_us bigint not null,
    data bytea not null,
    correlation_id text not null,
    causation_id text not null,
    traceparent text not null,
    expires_us bigint,
    lab_subject text not null,
    published_us bigint
) with (fillfactor = 70);

create index outbox_owed on outbox (shard, number) where published_us is null;

-- Handler starts that nobody accounted for.
create table starts (
    event_id text collate "C" not null,
    group_name text collate "C" not null,
    redrives integer not null,
    unexplained integer not null,
    primary key (event_id, group_name, redrives)
);

create table blocked_customers (
    customer_id text collate "C" primary key
);

-- Keys in retry: one lock row per key and group, its unfinished events behind it by arrival.
create table key_locks (
    group_name text collate "C" not null,
    key text collate "C" not null,
    primary key (group_name, key)
);

create table waiting (
    group_name text collate "C" not null,
    key text collate "C" not null,
    arrival bigint generated always as identity,
    event_id text collate "C" not null,
    record bytea not null,
    lab_subject text not null,
    attempts integer not null,
    not_before_us bigint not null,
    redrives integer not null,
    is_dead boolean not null,
    first_failure_us bigint not null,
    failures bytea not null,
    primary key (group_name, key, arrival)
);

-- What the other tables overwrite or delete, so that a history can be gathered after a run.
create table facts (
    number bigint not null default nextval('fact_number'),
    at_us bigint not null default now_us(),
    kind text not null,
    subject text not null,
    fields jsonb not null
);

-- What this schema was made with; see the names in use.
create table made_with (
    name text primary key,
    value text not null
);
