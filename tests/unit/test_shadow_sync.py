"""Which tables can be preserved, what is done for them, and what a resumed run trusts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.errors import NotKnownYet, PlanrunError, RefusedError, StaleError
from runner.kinds import shadow_sync
from runner.kinds.base import build
from runner.model import UNKNOWN, Exchange, Note, Refill, Sql
from runner.refresh.capture import change_capture
from runner.refresh.catalog.relations import ForeignKey
from runner.words import typeable
from tests.backups import CatalogReader, render
from tests.preserved import REFRESH, Live

ODD = 'a "b\n$planrun$ %s {rows}'


@pytest.fixture
def live(db: str) -> Iterator[Live]:
    with closing(Live(db)) as made:
        yield made


def look(live: Live, *tables: Any, **params: Any) -> shadow_sync.Facts:
    made = build(shadow_sync.Params, {"tables": list(tables), **params}, Path("/"))
    return shadow_sync.look(made, CatalogReader(live.dsn, Path("/")))


def actions(live: Live, *tables: Any, **params: Any) -> tuple[Any, ...]:
    made = build(shadow_sync.Params, {"tables": list(tables), **params}, Path("/"))
    return shadow_sync.render(made, look(live, *tables, **params), render)


def run(live: Live, *tables: Any) -> None:
    """Do what the hands would do, one action after the other."""
    for action in actions(live, *tables):
        match action:
            case Exchange():
                live.sql(f"begin; {action.locks}; {action.text}; commit")
            case Refill():
                for one in action.tables:
                    rows = live.sql(one.out.replace("copy (", "").partition(") to stdout")[0])
                    live.sql(f"begin; {one.first}; {one.after.replace('{rows}', str(len(rows)))}; commit")
            case Sql():
                live.sql(f"begin; {action.text}; commit" if action.transaction else action.text)


# ------------------------------------------------------------------ before the load


def test_without_tables_there_is_nothing_to_do(live: Live) -> None:
    assert look(live) == shadow_sync.Facts()
    [note] = actions(live)
    assert isinstance(note, Note)
    assert shadow_sync.give(shadow_sync.Params(tables=()), shadow_sync.Facts(), [{}]) == {"tables": [], "count": 0}


def test_before_the_load_the_live_tables_are_looked_at(live: Live) -> None:
    live.sql("create table good (id int primary key); create table bad (id int)")
    with pytest.raises(NotKnownYet, match=r"the new tables of public\.good") as unknown:
        look(live, "good")
    assert "shadow_load" in unknown.value.hint
    with pytest.raises(PlanrunError, match=r"public\.bad has no usable key") as caught:
        look(live, "good", "bad")
    assert "good" not in caught.value.message and "tables" in caught.value.hint


def test_shadow_tables_of_a_load_that_was_cut_off_are_no_live_ones(live: Live) -> None:
    """They have no key yet; the load removes them, so they are no reason to refuse what follows it."""
    live.sql("create table t (id int primary key)")
    live.load("t")
    live.sql(f"alter table {live.shadow}.t drop constraint t_pkey; update planrun.refresh set state = 'loading'")
    with pytest.raises(NotKnownYet, match=r"the new tables of public\.t \(nothing is loaded\)"):
        look(live, "t")


def test_a_table_that_one_schema_can_preserve_is_not_refused_before_the_schema_is_known(live: Live) -> None:
    live.sql("create schema archive; create table archive.t (id int); create table t (id int primary key)")
    with pytest.raises(NotKnownYet):
        look(live, "t")
    with pytest.raises(PlanrunError, match=r"archive\.t has no usable key"):
        look(live, "t", schema="archive")


def test_a_refresh_of_another_plan_is_not_ours(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t", plan="other")
    with pytest.raises(NotKnownYet):
        look(live, "t")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("create table t (id int)", "neither a primary key nor"),
        ("create table t (id int unique)", "neither a primary key nor"),
        ("create table t (id int not null); create unique index on t (id) where id > 0", "neither"),
        ("create table t (id int not null); create unique index on t ((id + 1))", "neither"),
        ("create table t (r int4range not null, exclude using gist (r with &&))", "neither"),
        ("create unlogged table t (id int primary key)", "is unlogged"),
        ("create table t (id int primary key); create table c () inherits (t)", "inherit from it"),
        ("create table p (id int); create table t (primary key (id)) inherits (p)", "inherits from"),
        ("create table p (id int primary key) partition by list (id); create table t partition of p default",
         "partition"),
        ("create view t as select 1 as id", "is a view"),
        ("create materialized view t as select 1 as id", "is a view"),
        ("create foreign data wrapper w; create server s foreign data wrapper w;"
         "create foreign table t (id int) server s", "foreign"),
        ("select", "is not in the target"),
    ],
)  # fmt: skip
def test_what_cannot_be_preserved_is_refused_with_its_reason(live: Live, make: str, why: str) -> None:
    live.sql(make)
    with pytest.raises(RefusedError, match=why):
        look(live, "t", schema="public")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("id int primary key, v text", "id int primary key", "has no column v"),
        ("id int primary key, v text", "id int primary key, v int", "has v as integer, not text"),
        ("id int primary key, v varchar(9)", "id int primary key, v varchar(8)", r"has v as character varying\(8\)"),
        ("id int primary key, v int", "id int primary key, v int generated always as (id) stored",
         "generated column v"),
        ("id int primary key", "id int", r"no unique index on \(id\)"),
        ("id int primary key", "id int primary key, v int not null", "NOT NULL and have no default: v"),
        ("id text primary key", 'id text collate "POSIX" primary key', "another collation"),
    ],
)  # fmt: skip
def test_a_new_table_that_cannot_take_the_rows(live: Live, old: str, new: str, why: str) -> None:
    live.sql(
        f"create table t ({old}); create schema planrun_shadow_public; create table planrun_shadow_public.t ({new})"
    )
    live.load("t", make=False)
    with pytest.raises(StaleError, match=why) as caught:
        look(live, "t")
    assert typeable(caught.value.hint).startswith("load again: planrun apply PLAN")


def test_a_new_table_that_is_gone_is_no_reason_to_refuse_another_load(live: Live) -> None:
    live.sql("create table t (id int primary key); create table bad (id int)")
    live.load("t")
    live.sql("drop table planrun_shadow_public.t")
    with pytest.raises(StaleError, match=r"public\.t has lost its shadow table"):
        look(live, "t")
    with pytest.raises(RefusedError, match=r"^cannot preserve: public\.bad has no usable key[^;]*$"):
        look(live, "t", "bad")


@pytest.mark.parametrize(
    "new",
    [
        "v text, id int primary key",
        "id int primary key, v text, w int",
        "id int primary key, v text, w int not null default 1",
        "id int primary key, v text, w int generated always as identity",
        "id int primary key, v text, w int generated always as (id) stored",
        "id int not null, v text not null, unique (id)",
    ],
)
def test_a_new_table_that_can(live: Live, new: str) -> None:
    live.sql(f"create table t (id int primary key, v text); create schema planrun_shadow_public;"
             f"create table planrun_shadow_public.t ({new})")  # fmt: skip
    live.load("t", make=False)
    [pair] = look(live, "t").pairs
    assert set(pair.live.columns) == {"id", "v"}


def test_rows_that_row_security_hides_are_refused(live: Live, db: str) -> None:
    live.sql("create table t (id int primary key); alter table t enable row level security, force row level security")
    role = f"owner_{live.conn.info.dbname}"
    live.sql(f"create role {role} login; alter table t owner to {role}")
    other = Live(f"{db} user={role}")
    try:
        with pytest.raises(PlanrunError, match="row security"):
            look(other, "t")
        live.sql("alter table t owner to postgres")
        with pytest.raises(PlanrunError, match="only its owner"):
            look(other, "t")
    finally:
        other.close()
        live.sql(f"drop owned by {role}; drop role {role}")


def test_the_key_that_both_have_is_taken(live: Live) -> None:
    live.sql("create table t (id int primary key, a int not null, b int not null, unique (a, b))")
    live.sql("create schema planrun_shadow_public")
    live.sql("create table planrun_shadow_public.t (id int, a int, b int, unique (b, a))")
    live.load("t", make=False)
    [pair] = look(live, "t").pairs
    assert [key.column for key in pair.live.key] == ["a", "b"]


def test_a_table_that_was_not_loaded(live: Live) -> None:
    live.sql("create table t (id int primary key); create table u (id int primary key)")
    live.load("t")
    with pytest.raises(PlanrunError, match="was not loaded"):
        look(live, "t", "u")
    with pytest.raises(PlanrunError, match="not in schema"):
        look(live, "sales.t")
    live.sql("comment on table planrun_shadow_public.t is null")
    with pytest.raises(PlanrunError, match="gone"):
        look(live, "t")


# ------------------------------------------------------------------ what is done


def test_any_name_goes(live: Live) -> None:
    name = '"' + ODD.replace('"', '""') + '"'
    live.sql(f"create table {name} ({name} int primary key, v text); insert into {name} values (1, 'x')")
    live.load(ODD)
    run(live, {"name": ODD})
    live.sql(f"truncate {name}; insert into {name} values (2, 'y')")
    run_again = [action for action in actions(live, {"name": ODD}) if isinstance(action, Sql)]
    live.sql(f"begin; {run_again[0].text}; commit")
    assert live.differing_tables(ODD) == []


def test_the_same_work_has_the_same_text_when_it_is_half_done(live: Live) -> None:
    """A resumed run tells by the text what it has done: were the triggers made anew, what they noted would be lost."""
    live.sql("create table t (id int primary key); create table u (id int primary key, t int references t)")
    key_of_source = ForeignKey(
        name="u_t_fkey", schema="public", table="u", columns=["t"], ref_schema="public", ref_table="t",
        ref_columns=["id"],
    )  # fmt: skip
    live.load("t", "u", about={"foreign_keys": (key_of_source,)})
    live.sql(
        "alter table planrun_shadow_public.u add constraint u_t_fkey foreign key (t) references planrun_shadow_public.t"
    )
    before = actions(live, "t")
    run(live, "t")
    live.sql("insert into t values (1)")
    assert actions(live, "t") == before
    assert (
        live.sql(
            "select from pg_constraint where connamespace = 'planrun_shadow_public'::regnamespace and contype = 'f'"
        )
        == []
    )


def test_live_tables_are_locked_in_the_order_of_their_oids(live: Live) -> None:
    live.sql("create table z (id int primary key); create table a (id int primary key)")
    live.load("a", "z")
    begin, copy, *_ = actions(live, "a", "z", "a", lock_timeout="2s", deadline="1min", jobs=3)
    assert begin.locks == 'lock table "public"."z", "public"."a" in share row exclusive mode'
    assert (begin.lock_timeout, begin.deadline, copy.jobs) == (2, 60, 3)
    assert [one.name for one in copy.tables] == ["a", "z"]


def test_what_it_gives(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    params, facts = shadow_sync.Params(tables=("t",)), look(live, "t")
    copied = {"tables": [{"schema": "public", "name": "t", "rows": 3}], "count": 1, "rows": 3}
    assert shadow_sync.give(params, facts, [{}, copied, {}]) == {"tables": copied["tables"], "count": 1}
    assert shadow_sync.give(params, facts, [None, None]) == {"tables": UNKNOWN, "count": 1}


def test_a_resumed_run_looks_whether_every_change_was_noted(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    run(live, "t")
    reader, outputs = CatalogReader(live.dsn, Path("/")), {"tables": [{"schema": "public", "name": "t", "rows": 0}]}
    assert shadow_sync.check_earlier(outputs, reader) == ""
    assert shadow_sync.check_earlier({"tables": []}, reader) == ""
    live.sql("alter table t disable trigger user")
    assert "public.t" in shadow_sync.check_earlier(outputs, reader)
    live.sql(change_capture.remove(live.record().keys))
    assert "public.t" in shadow_sync.check_earlier(outputs, reader)
    live.sql(f"update planrun.refresh set state = 'swapped' where id = '{REFRESH}'")
    assert shadow_sync.check_earlier(outputs, reader) == ""
