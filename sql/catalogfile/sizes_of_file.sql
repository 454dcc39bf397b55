-- Replace the functions that give the size of a relation by ones that give that of a catalog file. Only for a private
-- server; needs allow_system_table_mods.
-- locks: none that anybody waits for
create table pg_catalog.planrun_sizes (
    oid oid primary key, rows int8 not null, bytes int8 not null, table_bytes int8 not null, main_bytes int8 not null
);
grant select on pg_catalog.planrun_sizes to public;
alter function pg_catalog.pg_total_relation_size(regclass) rename to planrun_pg_total_relation_size;
alter function pg_catalog.pg_table_size(regclass) rename to planrun_pg_table_size;
alter function pg_catalog.pg_relation_size(regclass) rename to planrun_pg_relation_size;
create function pg_catalog.pg_total_relation_size(regclass) returns int8 language sql stable strict as
    'select coalesce((select s.bytes from pg_catalog.planrun_sizes as s where s.oid = $1), 0)';
create function pg_catalog.pg_table_size(regclass) returns int8 language sql stable strict as
    'select coalesce((select s.table_bytes from pg_catalog.planrun_sizes as s where s.oid = $1), 0)';
create function pg_catalog.pg_relation_size(regclass) returns int8 language sql stable strict as
    'select coalesce((select s.main_bytes from pg_catalog.planrun_sizes as s where s.oid = $1), 0)';
