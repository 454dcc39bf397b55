select tgname from pg_trigger where not tgisinternal
