create type mood as enum ('sad', 'ok', 'happy');
create domain positive as int check (value > 0);
create domain email as text collate "C" not null default 'a@b' check (value like '%@%');
create type span as range (subtype = float8, subtype_diff = float8mi);
create type point3 as (x int, y int, label text);
create function twice(int) returns int language sql immutable as 'select $1 * 2';
create table all_types (
    id positive primary key, m mood default 'ok', moods mood[], e email, s span, p point3, ps point3[],
    n numeric(20, 5), f float8, b bytea, j jsonb, i interval, ts timestamptz, tz timetz, u uuid, inet inet, bits bit varying(9),
    x int generated always as (twice(id)) stored, lower_e text generated always as (lower(e)) stored,
    c text collate "C", d date default current_date,
    exclude using gist (s with &&) where (m <> 'sad'),
    constraint unique_later unique (n) deferrable initially deferred,
    constraint check_function check (twice(id) > 0));
create unique index expression_is_unique on all_types (lower(c), (id % 100)) include (m);
create table no_columns ();
create table nothing (id int primary key);
create table no_key (a int, b text);
create table toasted (id int primary key, t text);
