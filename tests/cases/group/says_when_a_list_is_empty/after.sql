select 'gone' where not exists (select from jobs)
