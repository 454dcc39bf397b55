create table "Area" (id int primary key);
create table "backup_Area" (id int primary key);
comment on table "backup_Area" is 'kept by the nightly script';
insert into "backup_Area" select generate_series(1, 7);
analyze "backup_Area";
create table backup_report_settings (id int);
create table old_users (id int);
analyze old_users;
