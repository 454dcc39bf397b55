create index by_id on only parts (id);
comment on index by_id is 'not everywhere';
create index part_1_by_id on part_1 (id);
alter index by_id attach partition part_1_by_id;
