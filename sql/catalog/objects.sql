-- Describe every object of a database by a text that is the same wherever the object is the same: no OIDs, no numbers
-- of rows. Left out: what belongs to PostgreSQL, to an extension or to planrun, and the relations and functions `own`,
-- and grants to the role that stands in for a superuser in a scratch copy.
-- tokens: own (array of OIDs)
-- locks: ACCESS SHARE on catalogs
with space as (
    select n.oid, n.nspname, n.nspowner, n.nspacl
    from pg_catalog.pg_namespace as n
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'planrun')
      and not starts_with(coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), 'planrun refresh ')
),
extended as (
    select d.classid, d.objid from pg_catalog.pg_depend as d where d.deptype = 'e'
),
rel as (
    select c.oid, c.relkind, c.relowner, c.relacl, c.relpersistence, c.reloptions, c.relrowsecurity, c.relpartbound,
           c.relforcerowsecurity, c.relreplident, c.relispartition, format('%I.%I', s.nspname, c.relname) as title,
           case c.relkind
               when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
               when 'S' then 'sequence' else 'table'
           end as kind
    from pg_catalog.pg_class as c
    join space as s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.oid <> all ({{ own }}::oid[])
      and ('pg_catalog.pg_class'::regclass, c.oid) not in (select classid, objid from extended)
),
fun as (
    select p.oid, p.prokind, p.proowner, p.proacl, p.oid::regprocedure::text as title
    from pg_catalog.pg_proc as p
    join space as s on s.oid = p.pronamespace
    where p.oid <> all ({{ own }}::oid[])
      and ('pg_catalog.pg_proc'::regclass, p.oid) not in (select classid, objid from extended)
),
typ as (
    select t.oid, t.typtype, t.typowner, t.typacl, t.typrelid, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault,
           format('%I.%I', s.nspname, t.typname) as title
    from pg_catalog.pg_type as t
    join space as s on s.oid = t.typnamespace
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where (t.typtype in ('d', 'e', 'r') or (t.typtype = 'c' and c.relkind = 'c'))
      and ('pg_catalog.pg_type'::regclass, t.oid) not in (select classid, objid from extended)
),
granted as (
    select 'schema ' || quote_ident(nspname) as title, 'n'::"char" as class, nspowner as owner, nspacl as acl, '' as of
    from space
    union all
    select kind || ' ' || title, case relkind when 'S' then 's' else 'r' end::"char", relowner, relacl, title from rel
    union all
    select 'function ' || title, 'f', proowner, proacl, title from fun
    union all
    select 'type ' || title, 'T', typowner, typacl, title from typ
    union all
    select format('column %s.%I', r.title, a.attname), 'c', r.relowner, a.attacl, r.title
    from rel as r
    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attacl is not null and not a.attisdropped
),
given as (
    select g.title, g.of, g.owner, a.grantee, count(*) as privileges,
           (
               select count(*) from pg_catalog.aclexplode(pg_catalog.acldefault(g.class, g.owner)) as d
               where d.grantee = g.owner
           ) as usual,
           string_agg(
               a.privilege_type || case when a.is_grantable then ' with grant option' else '' end, ', '
               order by a.privilege_type
           ) as text
    from granted as g
    cross join lateral pg_catalog.aclexplode(
        coalesce(g.acl, case when g.class <> 'c' then pg_catalog.acldefault(g.class, g.owner) end)
    ) as a
    group by g.title, g.of, g.owner, g.class, a.grantee
),
object as (
    select 'schema' as kind, quote_ident(nspname) as name, '' as of, 'owner ' || nspowner::regrole::text as text,
           pg_catalog.obj_description(oid, 'pg_namespace') as comment
    from space
    union all
    select r.kind, r.title, r.title,
           concat_ws(
               '; ', 'owner ' || r.relowner::regrole::text,
               case r.relpersistence when 'u' then 'unlogged' when 't' then 'temporary' end,
               case when r.relispartition then (
                   select 'partition of ' || i.inhparent::regclass::text
                   from pg_catalog.pg_inherits as i where i.inhrelid = r.oid
               ) || ' ' || pg_catalog.pg_get_expr(r.relpartbound, r.oid) else (
                   select 'inherits ' || string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                   from pg_catalog.pg_inherits as i where i.inhrelid = r.oid
               ) end,
               case when r.relkind = 'p' then 'partitioned by ' || pg_catalog.pg_get_partkeydef(r.oid) end,
               'options ' || array_to_string(r.reloptions, ', '),
               case when r.relrowsecurity then 'row security' end,
               case when r.relforcerowsecurity then 'forced row security' end,
               case when r.relreplident not in ('d', 'n') then 'replica identity ' || r.relreplident::text end,
               case when r.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(r.oid) end,
               (
                   select format(
                              '%s from %s by %s, %s to %s, cache %s%s%s', q.seqtypid::regtype, q.seqstart, q.seqincrement,
                              q.seqmin, q.seqmax, q.seqcache, case when q.seqcycle then ', cycle' else '' end,
                              (
                                  select format(', owned by %s.%I', d.refobjid::regclass, a.attname)
                                  from pg_catalog.pg_depend as d
                                  join pg_catalog.pg_attribute as a
                                      on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                                  where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = r.oid
                                    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
                              ))
                   from pg_catalog.pg_sequence as q where q.seqrelid = r.oid
               )
           ),
           pg_catalog.obj_description(r.oid, 'pg_class')
    from rel as r
    union all
    select 'column', format('%s.%I', r.title, a.attname), r.title,
           concat_ws(
               ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
               case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
               case when a.attnotnull then 'not null' end,
               case a.attidentity when 'a' then 'generated always as identity' when 'd' then 'generated as identity' end,
               case when a.attgenerated <> '' then 'generated as ' when d.oid is not null then 'default ' end
               || pg_catalog.pg_get_expr(d.adbin, d.adrelid)
           ),
           pg_catalog.col_description(r.oid, a.attnum)
    from rel as r
    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_type as t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where r.relkind <> 'S'
    union all
    select 'column order', 'of ' || r.title, r.title, string_agg(quote_ident(a.attname), ', ' order by a.attnum), null
    from rel as r
    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    where r.relkind <> 'S'
    group by r.title
    union all
    select 'constraint', format('%I on %s', k.conname, r.title), r.title, pg_catalog.pg_get_constraintdef(k.oid),
           pg_catalog.obj_description(k.oid, 'pg_constraint')
    from rel as r
    join pg_catalog.pg_constraint as k on k.conrelid = r.oid and k.contype not in ('t', 'n')
    -- a key that refers to a partitioned table has one for each partition, on the same table: pg_dump writes only it
    left join pg_catalog.pg_constraint as above on above.oid = k.conparentid and above.conrelid = k.conrelid
    where above.oid is null
    union all
    select 'index', i.indexrelid::regclass::text, r.title,
           pg_catalog.pg_get_indexdef(i.indexrelid) || case when i.indisvalid then '' else ' (not valid)' end
           || case when i.indisreplident then ' (replica identity)' else '' end
           || case when i.indisclustered then ' (cluster)' else '' end,
           pg_catalog.obj_description(i.indexrelid, 'pg_class')
    from rel as r
    join pg_catalog.pg_index as i on i.indrelid = r.oid
    where not exists (
        select from pg_catalog.pg_constraint as k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
    )
    union all
    select 'trigger', format('%I on %s', g.tgname, r.title), r.title,
           pg_catalog.pg_get_triggerdef(g.oid)
           || case g.tgenabled when 'D' then ' (disabled)' when 'A' then ' (always)' when 'R' then ' (replica)' else '' end,
           pg_catalog.obj_description(g.oid, 'pg_trigger')
    from rel as r
    join pg_catalog.pg_trigger as g on g.tgrelid = r.oid and not g.tgisinternal
    join pg_catalog.pg_proc as p on p.oid = g.tgfoid
    join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
    where n.nspname <> 'planrun'
    union all
    select 'policy', format('%I on %s', p.polname, r.title), r.title,
           concat_ws(
               ' ', case p.polcmd when '*' then 'all' when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
               else 'delete' end, case when p.polpermissive then 'permissive' else 'restrictive' end, 'to',
               (
                   select string_agg(case when u.id = 0 then 'public' else u.id::regrole::text end, ', ' order by u.id::regrole::text)
                   from unnest(p.polroles) as u (id)
               ),
               'using (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
               'with check (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')'
           ),
           pg_catalog.obj_description(p.oid, 'pg_policy')
    from rel as r
    join pg_catalog.pg_policy as p on p.polrelid = r.oid
    union all
    select 'rule', format('%I on %s', w.rulename, r.title), r.title, pg_catalog.pg_get_ruledef(w.oid),
           pg_catalog.obj_description(w.oid, 'pg_rewrite')
    from rel as r
    join pg_catalog.pg_rewrite as w on w.ev_class = r.oid and w.rulename <> '_RETURN'
    union all
    select 'statistics', format('%I.%I', n.nspname, x.stxname), r.title, pg_catalog.pg_get_statisticsobjdef(x.oid),
           pg_catalog.obj_description(x.oid, 'pg_statistic_ext')
    from rel as r
    join pg_catalog.pg_statistic_ext as x on x.stxrelid = r.oid
    join pg_catalog.pg_namespace as n on n.oid = x.stxnamespace
    union all
    select case f.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, f.title, f.title,
           concat_ws('; ', 'owner ' || f.proowner::regrole::text,
                     case when f.prokind <> 'a' then pg_catalog.pg_get_functiondef(f.oid) end),
           pg_catalog.obj_description(f.oid, 'pg_proc')
    from fun as f
    union all
    select 'type', t.title, t.title,
           concat_ws(
               '; ', 'owner ' || t.typowner::regrole::text,
               (
                   select 'enum ' || string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                   from pg_catalog.pg_enum as e where e.enumtypid = t.oid
               ),
               case when t.typtype = 'd' then concat_ws(
                   ' ', 'domain', pg_catalog.format_type(t.typbasetype, t.typtypmod),
                   case when t.typnotnull then 'not null' end, 'default ' || t.typdefault,
                   (
                       select string_agg(pg_catalog.pg_get_constraintdef(k.oid), ' ' order by k.conname)
                       from pg_catalog.pg_constraint as k where k.contypid = t.oid and k.contype = 'c'
                   )) end,
               (
                   select 'range of ' || g.rngsubtype::regtype::text
                   from pg_catalog.pg_range as g where g.rngtypid = t.oid
               ),
               (
                   select string_agg(
                              quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', '
                              order by a.attnum)
                   from pg_catalog.pg_attribute as a
                   where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
               )
           ),
           pg_catalog.obj_description(t.oid, 'pg_type')
    from typ as t
    union all
    select 'extension', quote_ident(e.extname), '', 'version ' || e.extversion, null from pg_catalog.pg_extension as e
    union all
    select 'publication', quote_ident(p.pubname), '',
           concat_ws(
               '; ', 'owner ' || p.pubowner::regrole::text, case when p.puballtables then 'all tables' end,
               case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
               case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end,
               case when p.pubviaroot then 'by root' end,
               (
                   select string_agg(r.title, ', ' order by r.title)
                   from pg_catalog.pg_publication_rel as m
                   join rel as r on r.oid = m.prrelid
                   where m.prpubid = p.oid
               )
           ),
           pg_catalog.obj_description(p.oid, 'pg_publication')
    from pg_catalog.pg_publication as p
    union all
    select 'default grants',
           format(
               'of %s%s on %s to %s', d.defaclrole::regrole, ' in ' || nullif(d.defaclnamespace, 0)::regnamespace::text,
               d.defaclobjtype, case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
           ), '',
           string_agg(a.privilege_type, ', ' order by a.privilege_type), null
    from pg_catalog.pg_default_acl as d
    cross join lateral pg_catalog.aclexplode(d.defaclacl) as a
    group by d.defaclrole, d.defaclnamespace, d.defaclobjtype, a.grantee
    union all
    select 'grants', format('on %s to %s', g.title, case when g.grantee = 0 then 'public' else g.grantee::regrole::text end),
           g.of, g.text, null
    from given as g
    where (g.grantee <> g.owner or g.privileges <> g.usual)
      and g.grantee not in (select r.oid from pg_catalog.pg_roles as r where starts_with(r.rolname, 'planrun_everyone_'))
)
select o.kind, o.name, o.of, o.text || coalesce('; comment ' || quote_literal(o.comment), '') as text
from object as o
order by o.kind, o.name
