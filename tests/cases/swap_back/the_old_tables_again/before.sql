insert into customers values (7, 'old');
insert into orders (t, customer) values ('old', 7), ('old', 7);
comment on table orders is 'of the target';
create table invoices (id int primary key, "order" int references orders);
insert into invoices values (1, 2);
