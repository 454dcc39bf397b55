insert into kinds values (1);
insert into events values (1, '2023-12-11', 1), (99, '2024-01-01', 1);
insert into other.outside values (1, '2023-12-11');
