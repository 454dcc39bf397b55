create table "Area" ("Id" serial primary key, "Group" text unique, "select" int check ("select" > 0));
create index "Area by select" on "Area" ("select") where "Group" is not null;
create table "Mixed Case" (id int primary key, "a b" int references "Area" ("Id"));
create table "we""ird.name's" ("q""uote" int primary key, "back\slash" text default E'\\');
create table "100%" ("%s" int primary key, "%(x)s" text default '%');
create table "{rows} {xid} {{ x }}" ("{0}" int primary key, "$1" text default '{rows}');
create table "ünïcödé_日本語_テーブル_名前" ("ключ" int primary key, "значение" text);
create index "ü" on "ünïcödé_日本語_テーブル_名前" ("значение");
create table "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü1" (id int primary key, n serial unique);
create table long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___1 (id serial primary key, n int);
create table long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___2 (id serial primary key, n int);
create index on long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___1 (n);
create index on long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___2 (n);
alter table long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___2 add constraint
    a_constraint_whose_name_is_also_as_long_as_the_name_may_be____x foreign key (n)
    references long_name_that_has_all_of_the_sixty_three_bytes_that_may_be___1;
create statistics "Area.stats" on "Group", "select" from "Area";
create view "V iew" as select "Group", 'public."Area"' as text from "Area";
comment on table "Area" is 'it''s "Area" in \ and {braces}; -- $$';
