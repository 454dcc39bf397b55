create table users (id int primary key);
create table orders (id int primary key, customer int references users);
-- the ledger as a run of planrun leaves it
create schema planrun;
create table planrun.refresh (
    id text primary key, plan text not null, schema text not null, shadow text not null, state text not null,
    made timestamptz not null default clock_timestamp(), swapped timestamptz,
    source jsonb not null default '{}', about jsonb not null default '{}'
);
create table planrun.member (
    refresh text not null references planrun.refresh on delete cascade, side text not null, catalog text not null,
    oid oid not null, kind text not null, schema text not null, name text not null,
    about jsonb not null default '{}', primary key (refresh, side, catalog, oid)
);
create schema planrun_shadow_public;
comment on schema planrun_shadow_public is 'planrun refresh 20250101T000000Z-0002: shadow of public';
create table planrun_shadow_public.users (id int primary key);
create table planrun_shadow_public.orders (id int primary key, customer int);
insert into planrun_shadow_public.users values (1), (2);
insert into planrun_shadow_public.orders values (1, 1), (2, 3), (3, 4);
insert into planrun.refresh (id, plan, schema, shadow, state, about) values (
    '20250101T000000Z-0002', 'verify', 'public', 'planrun_shadow_public', 'loaded',
    '{"foreign_keys": [{"name": "orders_customer_fkey", "schema": "public", "table": "orders",
                        "columns": ["customer"], "ref_schema": "public", "ref_table": "users", "ref_columns": ["id"],
                        "tail": "", "validated": true, "partitioned": false, "comment": null}]}'
);
insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about)
select '20250101T000000Z-0002', 'new', 'pg_class', ('planrun_shadow_public.' || n)::regclass, 'table', 'public', n,
       jsonb_build_object('rows', r)
from (values ('users', 2), ('orders', 3)) as v (n, r);
comment on table planrun_shadow_public.users is 'planrun refresh 20250101T000000Z-0002: shadow';
comment on table planrun_shadow_public.orders is 'planrun refresh 20250101T000000Z-0002: shadow';
