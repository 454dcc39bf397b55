"""kinds.shadow_load: what it refuses by name, what it tells, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import conninfo

from runner.kinds import shadow_load
from runner.refresh import ledger
from tests.refreshes import Pair
from tests.unit.test_shadow_loading import SHADOW, WIDE

PLAN = """
name: refresh
connections: {source: {}, target: {}}
steps:
  - {id: load, uses: shadow_load, with: {from: source%s}}
"""


@pytest.fixture
def pair(new_db: Callable[[], str], tmp_path: Path) -> Pair:
    return Pair(tmp_path, new_db(), new_db(), PLAN % "")


def with_(pair: Pair, words: str) -> Pair:
    (pair.folder / "plan.yml").write_text(PLAN % words)
    return pair


def refusal_of(pair: Pair) -> str:
    """Return what a diff says that refuses; nothing was made then by an apply either."""
    done = pair.here("diff", "plan.yml")
    assert done.code == 1, done.output
    assert pair.here("apply", "plan.yml", "--yes").code == 1
    assert pair.ask("select nspname from pg_namespace where starts_with(nspname, 'planrun_shadow')") == []
    return done.output


def test_the_wide_schema(pair: Pair) -> None:
    pair.fill(WIDE.read_text())
    told = pair.ok("diff", "plan.yml", "-v").out
    assert "+ shadow tables of schema public: 13 tables" in told
    assert "the target needs about" in told
    pair.apply()
    assert "removed first: the loaded shadow tables of run" in pair.ok("diff", "plan.yml", "-v").out
    pair.apply()
    assert len(pair.ask("select from planrun.refresh")) == 1


def test_what_is_chosen(pair: Pair) -> None:
    pair.fill(
        "create table one (id int); create table two (id int); create table tmp_x (id int); create table other (id int)"
    )
    with_(pair, ", include: [one, t*], exclude: ['tmp_*']").apply()
    made = f"select relname from pg_class where relnamespace = '{SHADOW}'::regnamespace order by 1"
    assert pair.ask(made) == [("one",), ("two",)]
    assert "left as they are in public of the target: other, tmp_x" in pair.ok("diff", "plan.yml").out
    with_(pair, ", regex: '^o'").apply()
    assert pair.ask(made) == [("one",), ("other",)]
    assert "no table nowhere in schema public" in with_(pair, ", include: [nowhere]").here("diff", "plan.yml").output
    assert "no table that matches" in with_(pair, ", include: ['x*']").here("diff", "plan.yml").output


def test_what_differs_is_told(pair: Pair) -> None:
    pair.fill("create table t (id bigint not null, fresh text); create table more (id int)", only="source")
    pair.fill("create table t (id int not null, old text)", only="target")
    told = pair.ok("diff", "plan.yml", "-v").out
    assert "t gets id bigint not null, fresh text and loses id integer not null, old text" in told
    assert "more is new in the target" in told


REFUSED = {
    "foreign": (
        "create foreign data wrapper w; create server s foreign data wrapper w; "
        "create foreign table t (id int) server s",
        "t (a foreign table: its rows are on another server)",
    ),
    "unlogged": ("create unlogged table t (id int)", "t (unlogged: after a crash"),
    "partition": (
        "create table root (id int) partition by list (id); create table t partition of root for values in (1)",
        "t (a partition of public.root, which is not loaded)",
    ),
    "inherits": ("create table p (id int); create table t () inherits (p)", "t (inherits from public.p"),
    "elsewhere": (
        "create schema s; create table t (id int) partition by list (id); create table s.x partition of t default",
        "t (its partition x is in another schema)",
    ),
    "row type": ("create table r (id int); create table t (id r[])", "t (its column id has the row type of public.r"),
    "extension": ("create table t (id int); create extension hstore; alter extension hstore add table t", "belongs to"),
    "key": (
        "create table r (id int primary key); create table t (id int references r)",
        "t (its foreign key refers to public.r, which is neither loaded nor in the target)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_of_the_source(pair: Pair, name: str) -> None:
    made, why = REFUSED[name]
    pair.fill(made, only="source")
    pair.fill("create table t (id int)" if name not in ("extension",) else made, only="target")
    with_(pair, ", include: [t]")
    told = refusal_of(pair)
    assert why in told
    assert "`exclude: [t]`" in told


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("create view t as select 1 as id", "t (in the target another object has this name)"),
        ("create unlogged table t (id int)", "t (in the target it is unlogged)"),
        ("create table r (id int) partition by list (id); create table t partition of r default", "is not replaced"),
        ("create table x (id int primary key); alter table x rename constraint x_pkey to t_pkey",
         "t (it brings t_pkey, and that name is in use in the target)"),
    ],
)  # fmt: skip
def test_what_is_refused_of_the_target(pair: Pair, made: str, why: str) -> None:
    pair.fill("create table t (id int primary key)", only="source")
    pair.fill(made, only="target")
    assert why in refusal_of(pair)


def test_what_would_be_lost_is_refused_unless_it_may(pair: Pair) -> None:
    pair.fill("create table t (id int)")
    pair.fill("create table uses (id int, row_of t)", only="target")
    told = refusal_of(pair)
    assert "would be lost: " in told and "uses" in told


def test_a_name_to_leave_out_that_is_misspelt_replaces_no_table(pair: Pair) -> None:
    pair.fill("create table settings (id int); create table t (id int)")
    pair.fill("create table setting2 (id int)", only="source")
    told = refusal_of(with_(pair, ", exclude: [setings]"))
    assert "cannot be replaced: settings (`exclude:` names setings, which is in neither database)" in told
    told = with_(pair, ", exclude: [setting2, public.settings, nowhere, 'nothing_*']").ok("diff", "plan.yml").out
    assert "# neither database has a table of this name in `exclude:`: nowhere\n" in told


def test_a_root_is_left_out_with_its_partitions(pair: Pair) -> None:
    pair.fill(
        "create table r (id int) partition by list (id); create table r_1 partition of r default; create table t ()"
    )
    with_(pair, ", exclude: [r]").apply()
    assert pair.ask(f"select relname from pg_class where relnamespace = '{SHADOW}'::regnamespace") == [("t",)]


def test_rights_that_are_missing_are_named(pair: Pair) -> None:
    pair.fill("create table t (id int)")
    role = "load_poor"
    pair.fill(f"drop role if exists {role}", f"create role {role} login", "create schema planrun", only="target")
    pair.fill(f"grant all on schema planrun to {role}", only="target")
    try:
        pair.env["PLANRUN_TARGET_URL"] = conninfo.make_conninfo(pair.target, user=role)
        assert "t (in the target it belongs to another role than load_poor: grant " in refusal_of(pair)
        pair.fill(f"alter table t owner to {role}", only="target")
        assert "no right to create a schema in this database" in pair.here("apply", "plan.yml", "--yes").output
    finally:
        pair.fill(f"reassign owned by {role} to current_user", f"drop owned by {role}", only="target")
        pair.fill(f"drop role {role}", only="target")


def test_a_shadow_that_vanished_is_noticed_by_resume(pair: Pair) -> None:
    pair.fill("create table t as select 1 as id")
    pair.apply()
    (run,) = pair.ask("select id from planrun.refresh")[0]

    class Window:
        def rows(self, text: str, *, connection: str = "") -> list[dict[str, object]]:
            import psycopg
            from psycopg.rows import dict_row

            with psycopg.connect(pair.target, row_factory=dict_row) as conn:
                return conn.execute(text.encode()).fetchall()

    def problem() -> str:
        return shadow_load.check_earlier({"set": run, "connection": ""}, Window())  # type: ignore[arg-type]

    assert problem() == ""
    pair.fill(ledger.set_state(run, "loading"), only="target")
    assert "no longer exist" in problem()
    pair.fill(ledger.set_state(run, "loaded"), f"drop table {SHADOW}.t", only="target")
    assert problem() == "these shadow tables of the earlier attempt are gone: public.t"
    pair.fill(ledger.forget(run), only="target")
    assert "no longer exist" in problem()


def test_a_schema_of_the_shadows_name_is_refused_in_the_diff(pair: Pair) -> None:
    pair.fill("create table t (id int); create schema planrun_shadow_public", only="target")
    pair.fill("create table t (id int)", only="source")
    done = pair.run("diff", "plan.yml")
    told = done.output
    assert done.code == 1
    assert (
        "cannot be replaced: schema planrun_shadow_public (planrun did not create it, but needs a schema of this name)"
        in told
    )
