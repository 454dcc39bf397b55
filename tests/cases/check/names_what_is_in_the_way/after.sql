select conname from pg_constraint where contype = 'f'
