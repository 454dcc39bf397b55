select pubname, tablename from pg_publication_tables where tablename like 'backup%' and pubname = 'plain';
select 'published that was not: ' || pubname from pg_publication where pubname = 'of_the_source'
