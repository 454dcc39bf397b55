-- Whether the current role has more rights on the server than code of an archive may have. Locks: none.
select current_user::pg_catalog.text as role, r.rolsuper as super,
       case when r.rolsuper then 'is a superuser' else 'may use files or programs of the server' end as why
from pg_catalog.pg_roles as r
where r.rolname = current_user
  and (r.rolsuper or exists (
      select from pg_catalog.pg_roles as p
      where p.rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
        and pg_catalog.pg_has_role(r.oid, p.oid, 'member')
  ))
