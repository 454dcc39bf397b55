create table orders (id int primary key, who text);
insert into orders select n, 'somebody' from generate_series(1, 10) as n;
create table words (word text);
create function shout(o orders) returns text language sql immutable as 'select upper(o.who)';
create function word_of(int) returns text language plpgsql immutable as
    'begin return (select word from words limit 1); end';
create function twice(int) returns int language sql immutable as 'select $1 * 2';
