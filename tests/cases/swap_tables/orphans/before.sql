insert into people values (1), (2);
insert into other.bills values (1, 1), (2, 2);
