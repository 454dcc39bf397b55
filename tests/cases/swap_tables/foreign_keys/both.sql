create schema other;
create table other.countries (code text primary key);
insert into other.countries values ('de'), ('fr');
create table teams (id int primary key, lead int, country text,
    foreign key (country) references other.countries on update cascade);
create table people (id int primary key, team int not null references teams deferrable initially deferred,
    boss int references people on delete set null, unique (id, team));
alter table teams add constraint teams_lead_fkey foreign key (lead) references people
    on delete restrict deferrable;
create table pairs (a int, b int, note text,
    constraint both_or_none foreign key (a, b) references people (id, team) match full
    on update set null on delete set default);
alter table pairs add constraint not_yet foreign key (a) references people not valid;
create table other.bills (id int primary key, person int references public.people on delete cascade,
    team int default 1 references public.teams on delete set default on update cascade deferrable initially deferred);
alter table other.bills add constraint unproved foreign key (id) references public.people not valid;
comment on constraint bills_person_fkey on other.bills is 'who pays';
