create table t as select generate_series(1, 5) as n;
