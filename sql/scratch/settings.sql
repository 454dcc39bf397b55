-- Settings that a role or this database gives its connections: role "" is every role, whole: for this database alone.
-- Locks: none.
select s.setdatabase <> 0 as whole, coalesce(r.rolname, '')::pg_catalog.text as role,
       pg_catalog.split_part(c.setting, '=', 1) as name,
       pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1) as value
from pg_catalog.pg_db_role_setting as s
left join pg_catalog.pg_roles as r on r.oid = s.setrole
cross join unnest(s.setconfig) as c (setting)
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
  and (s.setrole = 0 or r.rolname is not null)
order by s.setdatabase, 2, 3
