create schema other;
create table parent (id int primary key);
create table other.child () inherits (public.parent);
create table base (id int primary key);
create table other.uses_row (id int, row public.base);
create table other.uses_rows (id int, rows public.base[]);
create table fine (id int primary key);
