-- Forget a job.
-- values: name
-- locks: ROW EXCLUSIVE on jobs
delete from jobs where name = {{ name }};
