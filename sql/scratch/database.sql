-- What CREATE DATABASE and GRANT need to make another database like this one. Locks: none.
select d.datname::pg_catalog.text as name, pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text as encoding,
       d.datcollate::pg_catalog.text as collate, d.datctype::pg_catalog.text as ctype,
       pg_catalog.pg_database_size(d.oid) as bytes,
       pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text as owner,
       (
           select pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text from pg_catalog.pg_namespace as n
           where n.nspname = 'public'
       ) as public_owner,
       (
           select coalesce(
               pg_catalog.jsonb_agg(
                   pg_catalog.jsonb_build_array(
                       case when a.grantee = 0 then '' else pg_catalog.pg_get_userbyid(a.grantee) end,
                       a.privilege_type, a.is_grantable
                   ) order by a.grantee, a.privilege_type
               ), '[]')
           from pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) as a
       ) as grants
from pg_catalog.pg_database as d
where d.datname = pg_catalog.current_database()
