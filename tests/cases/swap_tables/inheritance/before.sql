insert into capitals values (11, 'old', 'xx');
