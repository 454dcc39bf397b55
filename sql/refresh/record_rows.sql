update planrun.member as m set about = m.about - '{rows,checksum}'::pg_catalog.text[]
    || case when m.oid = {{ oid }} then {{ now }} else '{}' end
where m.refresh = {{ refresh }} and m.catalog = 'pg_class' and m.oid in ({{ tree }})
