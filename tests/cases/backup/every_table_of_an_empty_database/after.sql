select 'note is missing' where not exists (select from information_schema.columns where column_name = 'note');
