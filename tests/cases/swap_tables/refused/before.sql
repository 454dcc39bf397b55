insert into fine values (2);
