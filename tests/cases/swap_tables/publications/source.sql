insert into a values (1, 'a', 1), (2, 'b', 2);
insert into b values (1, 'b');
insert into c values (1, 'c');
create publication of_the_source for table d;
