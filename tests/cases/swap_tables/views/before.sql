insert into orders values (1, 'old', 1000);
refresh materialized view reporting.totals;
