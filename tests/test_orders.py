"""Every order of apply, rollback, abort and prune, of two plans over schemas that are bound to each other.

Schemas and orders are drawn by a seed; PLANRUN_ORDERS=200 draws so many. After each step the catalog of the live
objects is what it was, and in the end, when every set is pruned, nothing is left.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalogs import contents
from tests.commandline import Done
from tests.refreshes import PLAN, Before, Pair

NewDb = Callable[[], str]
DRAWS = int(os.environ.get("PLANRUN_ORDERS", "5"))

BASE = """
create schema a; create schema b;
create table a.t (id serial primary key, n int, s varchar(9));
create table a.k (id int generated always as identity primary key, t int references a.t);
create table b.u (id int primary key, "Mixed Name" text);
insert into a.t (n, s) select g, 'x' from generate_series(1, 9) g;
insert into a.k (t) select g from generate_series(1, 5) g;
insert into b.u select g, 'row ' || g from generate_series(1, 7) g;
"""
BLOCKS = {
    "a view on tables of both": "create view public.v as select t.id, u.\"Mixed Name\" from a.t join b.u u using (id)",
    "a view on a view": "create view public.w as select id from a.t; create view b.ww as select id from public.w",
    "a function of a row type": "create function a.row_fn(a.t) returns int language sql as 'select $1.n'",
    "a name that sorts last": "create function a.zz(a.t) returns int language sql as 'select $1.n'",
    "a set of rows": "create function b.all_t() returns setof a.t language sql stable as 'select * from a.t'",
    "a function of a view's row type":
        "create view a.vr as select id, n from a.t;"
        " create function a.of_vr(a.vr) returns int language sql as 'select $1.n'",
    "a policy that reads a view":
        "create view a.vk as select id from a.t; create policy p on a.k using (t in (select id from a.vk));"
        " alter table a.k enable row level security",
    "a policy that calls a function of the row type":
        "create function a.vis(a.t) returns bool language sql stable as 'select $1.n > 0';"
        " create policy vis on a.t using (a.vis(t.*))",
    "a materialized view":
        "create materialized view public.m as select count(*) as n from a.t; create index on public.m (n)",
    "a foreign key of the other": "alter table b.u add foreign key (id) references a.t",
    "a trigger": "create function a.tr() returns trigger language plpgsql as 'begin return new; end';"
                 " create trigger tr before insert on a.t for each row execute function a.tr()",
    "a rule": "create rule ru as on delete to a.k do also select 1",
    "statistics and comments": "create statistics a.st on n, s from a.t; comment on table a.t is 'it''s'",
    "grants": "grant select (id) on a.t to public; revoke all on a.k from public",
}  # fmt: skip


class CatalogReader(Pair):
    """A pair of databases with plans a.yml and b.yml, one for each schema."""

    def __init__(self, folder: Path, new_db: NewDb, draw: random.Random) -> None:
        super().__init__(folder, new_db(), new_db())
        self.blocks = draw.sample(sorted(BLOCKS), draw.randint(3, 6))
        for name in "ab":
            text = PLAN.replace("schema: public", f"schema: {name}").replace("name: refresh", f"name: plan_{name}")
            (folder / f"{name}.yml").write_text(text)
        self.fill(BASE, *(BLOCKS[name] for name in self.blocks))
        self.fill("insert into a.t (n, s) values (77, 'y')", only="source")
        self.swaps: list[str] = []

    def do(self, verb: str, plan: str) -> None:
        """Do one step; what may be refused is refused with the reason."""
        match verb:
            case "apply":
                self.expect(self.here("apply", f"{plan}.yml", "--yes"))
                self.swaps.append(plan)
            case "abort":
                self.expect(self.here("apply", f"{plan}.yml", "--yes", "--until", "prepare"))
                self.expect(self.here("abort", f"{plan}.yml", "--yes"))
            case "rollback" if plan in self.swaps:
                done = self.here("rollback", f"{plan}.yml", "--yes", "--accept-data-loss")
                if self.swaps[-1] != plan and done.code == 1:
                    assert "cannot be undone yet" in done.output or "is gone" in done.output, (self.blocks, done.output)
                else:
                    self.expect(done)
                    self.swaps = [one for one in self.swaps if one != plan]  # there is one way back for each plan
            case "prune":
                self.prune()

    def expect(self, done: Done) -> None:
        assert done.code == 0 and "cleanup: warned" not in done.output, (self.blocks, self.swaps, done.output)

    def prune(self) -> None:
        """Drop every set that there is."""
        for run, plan in self.ask(
            "select id, plan from planrun.refresh where state in ('swapped', 'undone') order by made"
        ):
            self.expect(self.here("backups", "prune", f"{plan[-1]}.yml", str(run), "--yes"))
        self.swaps = []


@pytest.mark.parametrize("seed", range(DRAWS))
def test_orders(seed: int, new_db: NewDb, tmp_path: Path) -> None:
    draw = random.Random(seed)
    reader = CatalogReader(tmp_path, new_db, draw)
    before, source = Before(reader), contents(reader.source)
    steps = [
        (draw.choice(("apply", "apply", "rollback", "rollback", "abort", "prune")), draw.choice("ab")) for _ in range(7)
    ]
    reader.do("apply", "a")
    for verb, plan in steps:
        reader.do(verb, plan)
        assert before.catalog_changes() == "", (seed, verb, plan, reader.blocks)
        if verb == "apply":
            live = {name: rows for name, rows in contents(reader.target).items() if name.startswith(f"{plan}.")}
            assert live == {name: source[name] for name in live}, (seed, verb, plan, reader.blocks)
    reader.prune()
    left = reader.ask("select relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                     " where n.nspname ~ '^planrun_' or c.relname ~ '^backup_'"
                     " union all select proname::text from pg_proc where proname ~ '^backup_'")  # fmt: skip
    assert left == [], (seed, reader.blocks)
