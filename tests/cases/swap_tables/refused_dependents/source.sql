insert into fine values (1);
