-- What an interrupted rehearsal left on this server: databases and roles that carry its marker, while no connection has
-- the name of that rehearsal. Locks: none.
with marked as (
    select d.datname as name, true as database
    from pg_catalog.pg_database as d
    join pg_catalog.pg_shdescription as s
      on s.objoid = d.oid and s.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
    where pg_catalog.starts_with(s.description, {{ marker }}) and pg_catalog.pg_has_role(d.datdba, 'member')
    union all
    select r.rolname, false
    from pg_catalog.pg_roles as r
    join pg_catalog.pg_shdescription as s
      on s.objoid = r.oid and s.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
    where pg_catalog.starts_with(s.description, {{ marker }})
)
select m.name::pg_catalog.text as name, m.database
from marked as m
where pg_catalog.starts_with(m.name, {{ prefix }})
  and not exists (
      select from pg_catalog.pg_stat_activity as a where pg_catalog.starts_with(m.name, a.application_name)
        and pg_catalog.starts_with(a.application_name, {{ prefix }})
  )
order by m.database desc, m.name
