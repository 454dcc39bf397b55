create table users (id int primary key);
create table orders (id int primary key, "user" int references users);
