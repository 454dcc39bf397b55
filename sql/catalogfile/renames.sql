-- The statements that rename what notes the changed keys of a table, which has the table's OID in its name.
-- locks: ACCESS SHARE on catalogs
select pg_catalog.format(
           'alter table planrun.%I rename to %I', c.relname,
           pg_catalog.regexp_replace(c.relname, '^keys_\d+', 'keys_' || {{ new }})
       ) as text
from pg_catalog.pg_class as c
where c.relnamespace = pg_catalog.to_regnamespace('planrun') and c.relkind in ('r', 'p')
  and c.relname ~ ('^keys_' || {{ old }} || '(_window)?$')
union all
select pg_catalog.format(
           'alter function planrun.%I(%s) rename to %I', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid),
           pg_catalog.regexp_replace(p.proname, '^note_\d+', 'note_' || {{ new }})
       )
from pg_catalog.pg_proc as p
where p.pronamespace = pg_catalog.to_regnamespace('planrun') and p.proname ~ ('^note_' || {{ old }} || '(_window)?$')
union all
select pg_catalog.format(
           'alter trigger %I on %I.%I rename to %I', t.tgname, n.nspname, c.relname,
           pg_catalog.regexp_replace(t.tgname, '^planrun_keys_\d+', 'planrun_keys_' || {{ new }})
       )
from pg_catalog.pg_trigger as t
join pg_catalog.pg_class as c on c.oid = t.tgrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where t.tgname ~ ('^planrun_keys_' || {{ old }} || '(_|$)') and not t.tgisinternal and t.tgparentid = 0
order by 1
