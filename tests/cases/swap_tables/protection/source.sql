insert into tenants values (1, 'one'), (2, 'two');
insert into papers (tenant, secret, open) values (1, 's', 'o'), (2, 's2', 'o2');
insert into notes values (1, 1, 'n');
grant all on papers to public;
create policy everything on tenants using (true);
