create table backup_town (id int primary key);
insert into backup_town select generate_series(1, 10);
create table backup_area (id int primary key);
insert into backup_area select generate_series(1, 3);
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
values ('20250101T000000Z-0001', 'proof', 'public', 'planrun_shadow_public', 'swapped', clock_timestamp());
insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about)
select '20250101T000000Z-0001', 'old', 'pg_class', ('backup_' || l)::regclass, 'table', 'public', l,
       jsonb_build_object('aside', jsonb_build_array('public', 'backup_' || l), 'rows', r)
from (values ('town', 10), ('area', 3)) as v (l, r);
comment on table backup_town is 'planrun refresh 20250101T000000Z-0001: public.town as it was';
comment on table backup_area is 'planrun refresh 20250101T000000Z-0001: public.area as it was';
