-- Put a note into a table whose name nobody should trust.
-- values: table, note
insert into {{ table | ident }} (id, note) values (1, {{ note }});
