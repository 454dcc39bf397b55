insert into orders select n, 'c' || n % 3, n from generate_series(1, 10) n;
insert into lines select n, 1 from generate_series(1, 10) n;
