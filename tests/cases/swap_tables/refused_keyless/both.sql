create table keyless (a int);
create table nullable (a int unique, b int);
create table late (a int not null, unique (a) deferrable);
create table fine (a int primary key);
