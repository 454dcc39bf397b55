create table jobs (name text, done timestamptz);
insert into jobs values ('new', now());
