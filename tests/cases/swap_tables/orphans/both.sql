create schema other;
create table people (id int primary key);
create table other.bills (id int primary key, person int references public.people);
