create table cities (id int primary key, name text not null, check (id > 0), constraint own check (id < 1000) no inherit);
create table coasts (sea text default 'North Sea');
create table capitals (state char(2), primary key (id)) inherits (cities);
create table ports (deep int, foreign key (id) references cities) inherits (cities, coasts);
alter table ports alter name set default 'port';
create view all_cities as select tableoid::regclass::text as from_table, id from cities;
