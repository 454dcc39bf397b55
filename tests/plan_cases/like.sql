create table public._cdc_users (id integer primary key, name text);
create table public.log (what text);
