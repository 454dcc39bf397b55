insert into cities values (1, 'Ulm'), (2, 'Kiel');
insert into capitals values (10, 'Bonn', 'NW');
insert into ports (id, deep) values (2, 12);
insert into coasts values ('Baltic');
