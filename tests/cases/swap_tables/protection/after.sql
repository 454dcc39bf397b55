select 'the policy of the source has come along' from pg_policy where polrelid = 'tenants'::regclass;
select 'delete on ' || t from unnest('{tenants,papers,notes}'::text[]) t
    where has_table_privilege('planrun_test_reader', t, 'delete') or has_table_privilege('planrun_test_reader', t, 'truncate');
select 'readers see the secret' where has_column_privilege('planrun_test_reader', 'papers', 'secret', 'select');
select 'the backup is open to ' || r from unnest('{planrun_test_reader,planrun_test_clerk}'::text[]) r
    where has_table_privilege(r, 'backup_papers', 'delete, truncate');
select 'the policy elsewhere reads the backup' from pg_policy p
    join pg_depend d on d.objid = p.oid and d.classid = 'pg_policy'::regclass
    where p.polname = 'outside' and d.refobjid = 'backup_papers'::regclass
