-- The ledger: the objects that planrun created or moved. Creating it needs CREATE on schema planrun.
create table if not exists planrun.refresh (
    id text primary key,
    plan text not null,
    schema text not null,
    shadow text not null,
    state text not null check (state in ('loading', 'loaded', 'swapped', 'undone')),
    made timestamptz not null default pg_catalog.clock_timestamp(),
    swapped timestamptz,
    source jsonb not null default '{}',
    about jsonb not null default '{}'
);
comment on table planrun.refresh is 'planrun, format 2: one row for each refresh: shadow tables, or the backup set of a swap';
create table if not exists planrun.member (
    refresh text not null references planrun.refresh (id) on delete cascade,
    side text not null check (side in ('new', 'old')),
    catalog text not null check (catalog in ('pg_class', 'pg_proc', 'pg_statistic_ext')),
    oid oid not null,
    kind text not null,
    schema text not null,
    name text not null,
    about jsonb not null default '{}',
    primary key (refresh, side, catalog, oid)
);
comment on table planrun.member is 'planrun, format 2: the objects of a refresh by OID; schema and name are the live ones';
