-- The schema for planrun's records. Creating it needs CREATE on the database.
create schema if not exists planrun;
comment on schema planrun is 'planrun: the journal of runs and the record of its own objects';
