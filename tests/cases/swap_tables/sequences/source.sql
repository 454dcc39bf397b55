insert into a (t) select 'new' from generate_series(1, 50);
insert into b select from generate_series(1, 5);
insert into c (t) select 'new' from generate_series(1, 50);
insert into d select from generate_series(1, 7);
insert into down select from generate_series(1, 3);
insert into lonely select from generate_series(1, 3);
