create schema "Ops";
create schema shop;
create table shop."Order" (id int primary key);
insert into shop."Order" values (1);
create table "Ops"."Log" (what text);
create table "Ops"."Gate" (id int primary key, open boolean);
insert into "Ops"."Gate" values (1, false);
analyze;
