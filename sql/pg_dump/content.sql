-- Count the rows of a table and compute an order-free checksum of their content.
-- tokens: table; more: further columns, such as the one that tells of negative zeros
-- locks: ACCESS SHARE on the table
-- record_out(), because (t.*)::text would run a cast that the table's owner may have created.
select count(*) as rows,
       coalesce(sum(('x' || substr(md5(pg_catalog.textin(pg_catalog.record_out((t.*)))), 1, 16))::bit(64)::bigint::numeric), 0)::text as checksum{{ more }}
from {{ table }} as t
