insert into a (t) select 'old' from generate_series(1, 3);
insert into b select from generate_series(1, 500);
insert into c (t) select 'old' from generate_series(1, 500);
insert into d values (default);
insert into down select from generate_series(1, 30);
insert into lonely select from generate_series(1, 30);
grant usage on sequence a_id_seq to public;
comment on sequence a_id_seq is 'ids of a';
