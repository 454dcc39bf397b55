do $$ begin create role planrun_test_reader; exception when duplicate_object or unique_violation then null; end $$;
do $$ begin create role planrun_test_owner; exception when duplicate_object or unique_violation then null; end $$;
do $$ begin create role planrun_test_clerk; exception when duplicate_object or unique_violation then null; end $$;
create table tenants (id int primary key, name text);
create table papers (id serial primary key, tenant int references tenants, secret text, open text);
create table notes (id int primary key, paper int references papers, t text);
