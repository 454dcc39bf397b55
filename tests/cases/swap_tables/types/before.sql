insert into all_types (id, e) values (9, 'old@old');
