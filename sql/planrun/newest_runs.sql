-- The journal for what needs no more than the newest run of each plan: of the others, how they began and ended.
-- locks: ACCESS SHARE on planrun.journal
with begun as (
    select run, event ->> 'plan' as plan, min(id) as first
    from planrun.journal
    where event ->> 'event' = 'run_began'
    group by run, event ->> 'plan'
),
newest as (
    select distinct on (plan) run
    from begun
    order by plan, first desc
)
select j.run, case when n.run is null then j.event - 'content' else j.event end as event
from planrun.journal as j
left join (select distinct run from newest) as n on n.run = j.run
where n.run is not null or j.event ->> 'event' in ('run_began', 'run_ended')
order by j.id
