create table jobs (id int, state text);
insert into jobs values (1, 'done'), (2, 'stuck'), (3, 'stuck');
