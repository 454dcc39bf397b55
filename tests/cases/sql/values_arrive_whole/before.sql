create table "Area'; drop table victim; --" (id int, note text);
create table victim (id int);
