create table users (id int primary key);
insert into users values (1);
create table noted as select 'users'::regclass::oid as was;
