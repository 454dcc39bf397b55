select nspname from pg_namespace where starts_with(nspname, 'planrun_shadow')
