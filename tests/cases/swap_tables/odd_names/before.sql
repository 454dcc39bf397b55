insert into "Area" ("Group", "select") values ('old', 1);
insert into long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___1 (n) values (99);
