create domain colour as varchar(9) constraint colour_check check (
    (value)::text = any ((array['red'::character varying, 'a]),''b'::character varying])::text[])
    or length(value) = any (array[1, 2]::bigint[])
);
create table t (colour colour);
