create or replace function twice(int) returns int language sql immutable as 'select $1 + $1';
create type mood as enum ('sad');
create domain plain_word as text check (value <> 'x');
create domain colour as varchar(9)
    constraint colour_check check ((value)::text = any ((array['red'::varchar, 'blue'::varchar])::text[]));
create table other (o orders);
