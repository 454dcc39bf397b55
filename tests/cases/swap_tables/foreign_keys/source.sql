begin;
set constraints all deferred;
insert into teams values (1, null, 'de'), (2, null, 'fr');
insert into people values (1, 1, null), (2, 1, 1), (3, 2, 1);
update teams set lead = 1;
insert into pairs values (1, 1, 'x'), (null, null, 'y');
commit;
