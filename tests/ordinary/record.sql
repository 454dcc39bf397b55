-- Keeps every DDL statement of a database as its client wrote it. A dump would not do: PostgreSQL's own text of an
-- expression is not that of the tool, and what changes on that way is what these schemas are to show.
create schema recorded;
create table recorded.statement (number bigserial, at timestamptz, query text, unique (at, query));
create function recorded.keep() returns event_trigger language plpgsql as $$
begin
    insert into recorded.statement (at, query) values (statement_timestamp(), current_query()) on conflict do nothing;
end
$$;
create event trigger keep on ddl_command_end execute function recorded.keep();
