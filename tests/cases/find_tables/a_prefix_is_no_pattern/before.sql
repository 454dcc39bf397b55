create table _cdc_users (id int);
insert into _cdc_users values (1), (2);
create table "_cdc_Area" (id int);
create table acdc_band (id int);
create table found (n int);
