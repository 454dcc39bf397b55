-- Count the rows of a table and compute the checksum that manifests of format 1 have, as sql/pg_dump/content.sql does.
-- tokens: table
-- locks: ACCESS SHARE on the table
select count(*) as rows,
       coalesce(sum(('x' || substr(md5(pg_catalog.textin(pg_catalog.record_out((t.*)))), 1, 16))::bit(64)::bigint), 0)::text as checksum
from {{ table }} as t
