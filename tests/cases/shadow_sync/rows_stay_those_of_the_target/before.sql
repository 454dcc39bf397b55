create table users (id int generated always as identity primary key, name text, shout text generated always as (upper(name)) stored);
create table sessions (at timestamptz, token uuid, "user" int references users, primary key (token, at)) partition by range (at);
create table sessions_old partition of sessions for values from (minvalue) to ('2025-01-01');
create table sessions_new partition of sessions for values from ('2025-01-01') to (maxvalue);
insert into users (name) select 'user ' || n from generate_series(1, 100) as n;
insert into sessions select '2024-12-31'::timestamptz + n * interval '1 hour', md5(n::text)::uuid, n
from generate_series(1, 50) as n;

-- what a load leaves
create schema planrun_shadow_public;
create table planrun_shadow_public.users (like users including all, note text not null default 'new');
create table planrun_shadow_public.sessions ("user" int, at timestamptz, token uuid, primary key (token, at))
    partition by range (at);
create table planrun_shadow_public.sessions_all partition of planrun_shadow_public.sessions default;
create table planrun_shadow_public.orders (id int primary key, "user" int);
alter table planrun_shadow_public.orders
    add constraint orders_user_fkey foreign key ("user") references planrun_shadow_public.users;
insert into planrun_shadow_public.users (name) values ('of the source');
create materialized view planrun_shadow_public.names as select count(*) as n from planrun_shadow_public.users;
create schema if not exists planrun;
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
comment on table planrun.refresh is 'planrun: one row for each refresh: shadow tables, or the backup set of a swap';
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
comment on table planrun.member is 'planrun: the objects of a refresh by OID; schema and name are the live ones';

insert into planrun.refresh (id, plan, schema, shadow, state, about)
values ('r', 'refresh', 'public', 'planrun_shadow_public', 'loaded', '{"xids": [], "foreign_keys": [
    {"name": "orders_user_fkey", "schema": "public", "table": "orders", "columns": ["user_id"],
     "ref_schema": "public", "ref_table": "users", "ref_columns": ["id"], "tail": "", "validated": true,
     "partitioned": false, "comment": null}]}');
insert into planrun.member (refresh, side, catalog, oid, kind, schema, name)
select 'r', 'new', 'pg_class', oid, case relkind when 'm' then 'matview' else 'table' end, 'public', relname
from pg_class where relnamespace = 'planrun_shadow_public'::regnamespace and relkind in ('r', 'p', 'm');
comment on table planrun_shadow_public.users is 'planrun refresh r: new';
comment on table planrun_shadow_public.sessions is 'planrun refresh r: new';
