select 'cities' from cities having count(*) <> 4;
select 'only cities' from only cities having count(*) <> 2;
select 'the view reads ' || string_agg(from_table, ', ') from all_cities where from_table like '%backup%' having count(*) > 0
