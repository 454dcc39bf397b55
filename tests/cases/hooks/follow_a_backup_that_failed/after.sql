select 'the failure is not in the log' where not exists (select from "Ops"."Log" where what like 'failed at save with PR0407, migrate skipped');
select 'more is in the log: ' || what from "Ops"."Log" where what not like 'failed at save%';
select 'the gate is closed' from "Ops"."Gate" where not open;
