insert into kinds values (1), (2);
insert into events select n, date '2023-12-01' + n * 10, 1 + n % 2 from generate_series(1, 90) n;
insert into hits select n, n, date '2023-12-01' + n * 10 from generate_series(1, 9) n;
insert into hashed (t) select 'h' || n from generate_series(1, 20) n;
