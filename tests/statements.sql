-- Statements of every kind that PostgreSQL's grammar has, one a line, with their rarer clauses.
create foreign table app.f (i int) server s options (a 'b')
drop foreign table app.f
alter foreign table app.f add column x int
alter foreign table app.f options (set a 'b')
alter foreign table app.f alter column x options (add y 'z')
import foreign schema x from server y into app
create role r
alter role r rename to q
alter role all set work_mem = '1MB'
comment on role r is 'x'
comment on large object 123 is 'x'
comment on operator + (int, int) is 'x'
comment on cast (int as text) is 'x'
comment on function f(int) is 'x'
comment on aggregate count(*) is 'x'
comment on constraint c on domain d is 'x'
comment on access method heap is 'x'
comment on column t.a is null
comment on operator class x using btree is 'x'
comment on transform for int language sql is 'x'
comment on text search parser p is 'x'
security label for x on table t is 'y'
security label on column t.a is 'y'
drop cast (int as text)
drop operator + (int, int) cascade
drop aggregate a(int)
drop function if exists f, g(int) cascade
drop procedure p
drop routine r cascade
drop owned by a, current_user, session_user cascade
reassign owned by a, b to c
drop operator class x using btree
drop operator family x using btree cascade
drop transform for int language sql
drop text search dictionary d
drop language l cascade
drop server s cascade
drop user mapping for u server s
drop event trigger e
drop access method a cascade
drop collation c
drop conversion c
drop statistics s, t.u
drop type a.b, c
drop domain d
drop policy p on a.t
drop rule r on t cascade
drop trigger tr on a.t
drop extension e
drop publication p, q
drop subscription s
drop schema a, b cascade
drop sequence s, a.t
alter default privileges revoke all on tables from x
alter function f(int) stable
alter operator + (int, int) owner to x
alter operator family f using btree add function 1 (int, int) f(int, int)
alter type t rename to u
alter type t rename attribute a to b cascade
alter type t add attribute a int, drop attribute b
alter type t set (receive = f)
alter domain d rename constraint a to b
alter domain d rename to e
alter domain d owner to x
alter view v rename to w
alter view if exists v alter column a drop default
alter materialized view m cluster on i
alter materialized view m depends on extension e
alter materialized view m set without cluster
alter materialized view m alter column a set statistics 5
alter index i attach partition j
alter index all in tablespace a set tablespace b
alter sequence s owned by none
alter sequence if exists s restart with 5
alter sequence s set logged
alter statistics s set schema x
alter statistics s owner to x
alter publication p add tables in schema a, current_schema
alter publication p add table t (a, b) where (a > 1), only u
alter publication p drop tables in schema a
alter publication p set (publish = 'x')
create publication p for table t where (f(a)), tables in schema s
create subscription s connection 'x' publication p
alter subscription s refresh publication
alter subscription s disable
alter system reset all
alter tablespace t set (seq_page_cost = 1)
alter database d refresh collation version
alter server s version '1'
alter user mapping for u server s options (set a 'b')
alter event trigger e disable
alter text search configuration c add mapping for word with simple
alter collation c refresh version
alter extension e add table t
alter extension e update to '1'
alter extension e set schema s
alter conversion c owner to x
alter large object 12 owner to x
alter rule r on t rename to s
alter trigger r on t depends on extension e
alter policy p on t to x using (true)
create policy p on t as restrictive for select to public using (f(a))
create rule r as on delete to v where old.a > 1 do instead (delete from t where t.a = old.a; insert into u values (1))
create rule r as on select to v do instead select * from t
create trigger tr instead of insert on v for each row execute function f()
create trigger tr after update of a on t referencing old table as o for each statement when (old.a > 1) execute function f()
create event trigger e on ddl_command_end when tag in ('a') execute function f()
create table t (a int, exclude using gist (a with &&)) partition by range (a) with (fillfactor = 3) tablespace x
create table t partition of p default
create table t partition of p for values from (1) to (maxvalue) partition by list (b)
create table t of x (primary key (a))
create table t (like a.u including defaults, like v) inherits (w, x.y)
create table t as execute p
create table t as table u with no data
create materialized view if not exists m as values (1)
create unlogged sequence s
create sequence s owned by a.t.c
create recursive view v (a) as select 1
create view v as with x as (select * from t) select * from x union select * from u
create temp view v as select 1
create index on only a.t using gin (b) include (c) where f(d)
create unique index if not exists i on t ((lower(a))) nulls not distinct
reindex (tablespace x) index concurrently a.i
reindex system d
reindex database
vacuum (analyze, parallel 2) a.t (b, c), d
vacuum only t
analyze verbose
cluster verbose t
cluster t
copy t (a) to program 'x'
copy (update t set a = 1 returning *) to stdout
copy t from stdin with (format csv)
insert into t default values
insert into t (a) with x as (select 1) select * from x on conflict (a) do update set b = (select max(b) from u) returning *
update only t as x set (a, b) = (select 1, 2 from y) from z where x.a = z.a returning old.*
delete from t using u join v using (a) where current of c
merge into only t as x using (select * from y) as z on x.a = z.a when not matched by source then delete when not matched then insert values (1) returning merge_action()
select * from rows from (generate_series(1, 2), f(3)) as x
select * from t tablesample system (5)
select * from xmltable('/a' passing x columns y int) as z
select * from json_table('[]', '$' columns (a int path '$')) as j
select a, (select b from c where c.d = t.d) from t for no key update nowait
select * from (select * from t) x for update
select * from a left join (b cross join c) on true for share of b skip locked
values (1), (2)
table only t
select 1 into temp n
select 1 into n from t for update
with recursive x as (select 1 union all select * from x) table x
explain (analyze false, format json) delete from t
explain analyze create table n as select f(1)
explain execute p
prepare p (int) as update t set a = $1
execute p (1)
deallocate p
declare c binary insensitive cursor with hold for select * from t for update
fetch all from c
close c
do language plpgsql 'begin end'
call p(1, f(2))
begin isolation level serializable
savepoint a
rollback to savepoint a
prepare transaction 'x'
rollback prepared 'x'
set session characteristics as transaction read only
set constraints a, b immediate
set role x
reset session authorization
show all
listen x
notify x, 'y'
unlisten *
discard all
discard temp
load 'x'
checkpoint
lock table only a.t, u * in row share mode nowait
truncate only t, u *, v restart identity restrict
grant all on all functions in schema s to x
grant usage on type t to x
grant select, update (a) on t, a.u to x with grant option
revoke x from y cascade
grant set on parameter work_mem to x
create schema s authorization x create table t (a int references u) create view v as select 1 create index i on t (a) create trigger tr after insert on t execute function f()
create schema if not exists s
create function f() returns int begin atomic select 1; insert into t values (1); end
create procedure p(inout a int) language plpgsql as 'begin end'
create aggregate a (int) (sfunc = f, stype = int)
create operator + (function = f, leftarg = int)
create operator class o for type int using btree as operator 1 <
create type t as range (subtype = int)
create type t as (a int, b text)
create type t
create domain d as int check (f(value)) default g()
create cast (a as b) without function as implicit
create conversion c for 'a' to 'b' from f
create collation c from "C"
create text search dictionary d (template = simple)
create statistics (dependencies) on a, (b + 1) from s.t
create extension if not exists e cascade
create access method a type index handler h
create transform for int language sql (from sql with function f(internal))
create tablespace t location '/x'
create database d template t
drop database d with (force)
drop tablespace t
create server s foreign data wrapper f
create user mapping for public server s
create foreign data wrapper f
create language l
alter table if exists only a.t add column if not exists b int constraint c check (b > 1) not null unique, alter b set data type text collate "C" using f(b), drop constraint if exists d cascade
alter table t alter column a add generated by default as identity (start 3), alter a set cycle restart
alter table t alter constraint c deferrable initially deferred, alter constraint d not enforced, alter constraint e inherit
alter table t add constraint c foreign key (a, period b) references u (c, period d)
alter table t add primary key using index i, add constraint x unique nulls not distinct (a)
alter table t add constraint n not null a no inherit not valid
alter table t attach partition p default
alter table t detach partition q finalize
alter table t no inherit u, of x, not of
alter table t set (autovacuum_enabled, toast.autovacuum_enabled = off), reset (a.b)
alter table t set access method default
alter table t disable trigger user, enable replica rule r, no force row level security
alter table t replica identity using index i, set without oids
alter table t alter a set statistics default, alter 2 set statistics 5, alter b set storage default, alter c set compression default
alter table t rename a to b
alter table all in tablespace x owned by y, z set tablespace w nowait
alter table t add like_column int
select pg_catalog.now(), "Weird Schema"."F"(1), a.b.c(2)
select now() at time zone 'x', coalesce(a, 1), greatest(1, 2), extract(year from a), cast('x' as app.t), array[f(1)], row(1, 2), a is distinct from b, xmlelement(name a), json_object('a': 1), exists (select 1), a in (1, 2), a between 1 and 2, case when f(1) then 2 end from t
