set client_min_messages = error;
create publication plain for table a, b with (publish = 'insert, update');
create publication everything for all tables;
alter table b replica identity using index b_id_key;
alter table c replica identity full;
alter table d replica identity nothing;
insert into a values (9, 'old', 9);
