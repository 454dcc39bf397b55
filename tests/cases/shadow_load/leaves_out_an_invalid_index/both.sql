create table parts (id int) partition by range (id);
create table part_1 partition of parts for values from (0) to (10);
create table part_2 partition of parts for values from (10) to (20);
insert into parts select n from generate_series(0, 19) as n;
