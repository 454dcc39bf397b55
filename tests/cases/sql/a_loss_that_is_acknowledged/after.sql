select 'imported is there' where to_regclass('public.imported') is not null;
