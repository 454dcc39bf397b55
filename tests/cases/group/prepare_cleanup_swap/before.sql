create table live (n int);
create table other (n int);
