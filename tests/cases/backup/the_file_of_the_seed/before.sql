create table _cdc_users (id int primary key, name text);
create table _cdc_roles (id int primary key, name text);
create table _cdc_empty (id int);
create table acdc (id int);
create table users (id int);
insert into _cdc_users values (1, 'Ann O''Hara'), (2, E'two\nlines');
insert into _cdc_roles values (1, 'admin');
insert into acdc values (1);
