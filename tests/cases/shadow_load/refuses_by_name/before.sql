create view depends as select 1 as id;
