-- The journal: one row for each event of a run. Creating it needs CREATE on schema planrun.
create table if not exists planrun.journal (
    id bigint generated always as identity primary key,
    run text not null,
    at timestamptz not null default pg_catalog.clock_timestamp(),
    event jsonb not null
);
comment on table planrun.journal is 'planrun, format 2: one row for each event of a run';
