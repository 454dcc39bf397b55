insert into orders select n, n from generate_series(1, 10) n;
