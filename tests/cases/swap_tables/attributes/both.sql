create table t (id int primary key, a text, b text, c int constraint positive check (c > 0), d jsonb);
create index by_a on t (a) with (fillfactor = 80);
create index by_expression on t (lower(a), (c + 1));
create table u (id int primary key);
create statistics a_and_b (dependencies, ndistinct) on a, b from t;
create function touch() returns trigger language plpgsql as 'begin return new; end';
