select 'the backup is not there' where to_regclass('"backup_Area"') is null;
select 'the backup has other rows' from "backup_Area" having array_agg("Group") <> '{old}';
select nextval('"Area_Id_seq"') having nextval('"Area_Id_seq"') < 21;
