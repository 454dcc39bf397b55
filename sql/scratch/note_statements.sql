-- Make the function of the triggers that note which statements run in a scratch copy. Locks: none.
create schema planrun_trial;
create function planrun_trial.note() returns trigger language plpgsql as $note$
begin
    perform pg_catalog.pg_notify('planrun_trial', tg_relid::pg_catalog.int8::pg_catalog.text || ' ' || tg_op);
    return null;
end
$note$;
grant usage on schema planrun_trial to public
