-- How each run began and ended, without the text of its plan, and how its steps ended that made, proved or restored a
-- backup session.
-- locks: ACCESS SHARE on planrun.journal
select j.run, j.event - 'content' as event
from planrun.journal as j
where j.event ->> 'event' in ('run_began', 'run_ended')
   or j.event ->> 'event' = 'outcome' and pg_catalog.jsonb_exists(j.event -> 'outputs', 'session')
order by j.id
