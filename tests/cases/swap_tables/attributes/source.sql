insert into t select n, 'a' || n, 'b', n, '{}' from generate_series(1, 30) n;
insert into u values (1);
