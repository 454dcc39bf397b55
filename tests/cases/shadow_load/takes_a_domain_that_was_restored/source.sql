create domain colour as varchar(9) check (value in ('red', 'a]),''b') or length(value) = any (array[1, 2]::bigint[]));
create table t (colour colour);
insert into t values ('red');
