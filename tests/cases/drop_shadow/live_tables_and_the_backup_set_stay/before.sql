create table users (id int primary key);
create table "Area" (id int primary key);
create table "backup_Area" (id serial primary key, town int, by int references users);
create table backup_town (id int primary key, area int references "backup_Area");
alter table "backup_Area" add foreign key (town) references backup_town;
create view backup_seen as select a.id from "backup_Area" as a join backup_town as t on t.id = a.town;
insert into backup_town select generate_series(1, 10);
analyze backup_town, "backup_Area";
create table backup_report_settings (id int);
create table backups (id int);
create table "backupXfoo" (id int);
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
insert into planrun.refresh (id, plan, schema, shadow, state, swapped)
values ('20250101T000000Z-0001', 'nightly', 'public', 'planrun_shadow_public', 'swapped', clock_timestamp());
insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about)
select '20250101T000000Z-0001', 'old', 'pg_class', n::regclass, k, 'public', l,
       jsonb_build_object('aside', jsonb_build_array('public', 'backup_' || l))
from (values ('"backup_Area"', 'table', 'Area'), ('backup_town', 'table', 'town'), ('backup_seen', 'view', 'seen'))
     as v (n, k, l);
comment on table "backup_Area" is 'planrun refresh 20250101T000000Z-0001: public."Area" as it was';
comment on table backup_town is 'planrun refresh 20250101T000000Z-0001: public.town as it was';
comment on view backup_seen is 'planrun refresh 20250101T000000Z-0001: public.seen as it was';
create schema planrun_shadow_public;
comment on schema planrun_shadow_public is 'planrun refresh 20250101T000000Z-0002: shadow of public';
create table planrun_shadow_public.users (id int primary key);
create table planrun_shadow_public.orders (id int primary key, customer int);
insert into planrun_shadow_public.users values (1), (2);
insert into planrun_shadow_public.orders values (1, 1), (2, 3), (3, 4);
insert into planrun.refresh (id, plan, schema, shadow, state, about) values (
    '20250101T000000Z-0002', 'giving_up', 'public', 'planrun_shadow_public', 'loaded',
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
