insert into events values (1, '2024-02-02');
