-- The journal's rows behind a mark, and the rows of steps at work, which are written again and again.
-- locks: ACCESS SHARE on planrun.journal
select id, run, event
from planrun.journal
where id > %(mark)s
union all
select id, run, event
from planrun.journal
where id <= %(mark)s and event ->> 'event' = 'at_work'
order by id
