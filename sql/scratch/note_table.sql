-- Note each statement that changes or removes rows of a table, also if it meets none. tokens: table. Locks: none that
-- matter in a scratch copy.
create trigger planrun_trial after update or delete or truncate on {{ table }}
for each statement execute function planrun_trial.note()
