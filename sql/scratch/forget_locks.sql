-- Undo note_locks.plpgsql. Locks: those of the DROPs on objects that nobody else knows.
drop event trigger if exists planrun_note_locks;
drop event trigger if exists planrun_note_drops;
drop function if exists pg_catalog.planrun_note_locks();
alter database {{ database }} reset log_min_duration_statement
