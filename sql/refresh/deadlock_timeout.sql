-- The deadlock_timeout in seconds, and whether this role may lower it. Value: eager, the condition. Locks: none.
select setting::pg_catalog.int4 / 1000.0 as seconds, {{ eager }} as eager
from pg_catalog.pg_settings
where name = 'deadlock_timeout'
