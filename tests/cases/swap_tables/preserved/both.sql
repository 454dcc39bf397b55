create table roles (id int primary key, name text);
create table users (id serial primary key, role int references roles, email text unique, d numeric generated always as (id * 2) stored);
create table sessions (app text, token uuid, "user" int references users on delete cascade, seen timestamptz, primary key (app, token));
create table posts (id int primary key, author int references users, t text);
