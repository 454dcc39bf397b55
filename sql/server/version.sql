-- The version of the server, the database with its encoding, and the hash of a fixed text: checksums of content can be
-- compared only on servers where it is the same. Locks: none.
select pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) as version,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version_num,
       pg_catalog.current_database()::pg_catalog.text as database,
       pg_catalog.current_setting('server_encoding') as encoding,
       pg_catalog.hashtextextended('planrun keeps what you have' collate "C", 0)::pg_catalog.text as hash_sample
