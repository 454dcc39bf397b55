create trigger t_origin before insert on t for each row execute function touch();
create trigger t_off after update of a, c on t for each row when (old.a is distinct from new.a) execute function touch();
create trigger t_replica after delete on t for each statement execute function touch();
create trigger t_always after truncate on t execute function touch();
create trigger t_sees after update on t referencing old table as was new table as now for each statement execute function touch();
create constraint trigger t_late after insert on t deferrable initially deferred for each row execute function touch();
alter table t disable trigger t_off, enable replica trigger t_replica, enable always trigger t_always;
comment on trigger t_off on t is 'off since spring';
create rule no_delete as on delete to u where old.id = 1 do instead nothing;
alter table u disable rule no_delete;
comment on table t is 'the ''t'' of the target';
comment on column t.a is 'a column';
comment on constraint positive on t is 'a check';
comment on index by_a is 'an index';
comment on statistics a_and_b is 'they go together';
alter table t alter a set storage external, alter d set storage main;
alter table t alter a set statistics 500, alter b set (n_distinct = -0.5);
alter index by_expression alter column 1 set statistics 700;
alter statistics a_and_b set statistics 300;
alter table t set (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 99);
alter table t cluster on by_a;
do $$ begin
    if current_setting('server_version_num')::int >= 140000 then
        execute 'alter table t alter b set compression pglz';
    end if;
end $$;
insert into t values (1, 'old', 'old', 1, null);
