-- The refreshes of planrun's ledger, whole. Locks: ACCESS SHARE on planrun.refresh.
select pg_catalog.to_jsonb(r)::pg_catalog.text as record from planrun.refresh as r order by r.id
