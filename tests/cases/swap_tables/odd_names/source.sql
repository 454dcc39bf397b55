insert into "Area" ("Group", "select") select 'group ' || n, n from generate_series(1, 20) n;
insert into "Mixed Case" values (1, 1), (2, 2);
insert into "we""ird.name's" values (1), (2);
insert into "100%" values (1);
insert into "{rows} {xid} {{ x }}" values (1, E'a\tb\\N\n'), (2, null), (3, '\N');
insert into "ünïcödé_日本語_テーブル_名前" values (1, 'значение'), (2, '値');
insert into "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü1" values (1);
insert into long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___1 (n) values (1), (2);
insert into long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___2 (n) values (1);
