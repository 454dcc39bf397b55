insert into teams values (1, null, 'de');
insert into people values (1, 1, null), (2, 1, 1);
insert into other.bills select n, 2, 1 from generate_series(1, 2) n;
