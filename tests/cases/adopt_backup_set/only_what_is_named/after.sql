select * from planrun.member where name not in ('Area', 'users') or side <> 'old';
select 'a member is missing' where (select count(*) from planrun.member) <> 2;
select 'its comment is lost' from planrun.member where name = 'Area' and about ->> 'comment' <> 'kept by the nightly script';
select 'touched' where obj_description('backup_report_settings'::regclass) is not null;
select 'not marked' where not starts_with(obj_description('"backup_Area"'::regclass), 'planrun refresh adopted-')
