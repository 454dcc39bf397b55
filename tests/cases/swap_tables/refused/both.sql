set client_min_messages = error;
create unlogged table quick (id int primary key);
create foreign data wrapper nowhere;
create server far foreign data wrapper nowhere;
create foreign table far_away (id int) server far;
create table member (id int primary key);
alter extension plpgsql add table member;
create table fine (id int primary key);
