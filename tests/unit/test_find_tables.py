"""What each selector finds in a real database, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from runner.errors import PlanrunError
from runner.kinds import find_tables
from runner.kinds.base import build
from runner.model import Note
from runner.names import glob_regex
from runner.table_name import TableName
from tests.backups import Backups, render
from tests.refreshes import Pair

HOSTILE = ("Area", 'quo"te', "dot.ted", "st*r", "back\\slash", "new\nline", "dol$lar", "Größe", "x" * 63)


@pytest.fixture
def base(db: str, tmp_path: Path) -> Backups:
    return Backups(db, tmp_path)


def look(base: Backups, **params: Any) -> find_tables.Facts:
    return find_tables.look(build(find_tables.Params, params, base.folder), base.reader)


def find(base: Backups, **params: Any) -> list[str]:
    return [f"{t['schema']}.{t['name']}" for t in look(base, **params).tables]


def reasons(base: Backups, **params: Any) -> dict[str, str]:
    return {t["name"]: t["reason"] for t in look(base, allow_empty=True, **params).left_out}


def tables(base: Backups, *names: str) -> None:
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        base.sql(f"create table {quoted} (i int); insert into {quoted} values (1)")


# ------------------------------------------------------------------ selectors


def test_a_prefix_is_compared_letter_by_letter(base: Backups) -> None:
    tables(base, "_cdc_users", "acdcband", "xcdc_x", "_CDC_upper", "_cdc")
    assert find(base, prefix="_cdc_") == ["public._cdc_users"]


@pytest.mark.parametrize("name", HOSTILE)
def test_each_selector_takes_any_name_as_it_is(base: Backups, name: str) -> None:
    tables(base, *HOSTILE)
    for how in ({"prefix": name}, {"names": [{"name": name}]}, {"names": [{"schema": "public", "name": name}]}):
        assert find(base, **how) == [f"public.{name}"]


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*", ["a.b", "a1", "a2", "ab", "b*c", "b[c"]),
        ("a?", ["a1", "a2", "ab"]),
        ("a[0-9]", ["a1", "a2"]),
        ("a[!0-9]", ["ab"]),
        ("a.b", ["a.b"]),
        ("b[*]c", ["b*c"]),
        ("b[c", ["b[c"]),
    ],
)
def test_globs(base: Backups, glob: str, names: list[str]) -> None:
    tables(base, "a1", "a2", "ab", "a.b", "b*c", "b[c")
    assert sorted(find(base, glob=glob)) == sorted(f"public.{name}" for name in names)


def test_a_regex_is_postgresqls(base: Backups) -> None:
    tables(base, "a1", "a22", "b1")
    assert find(base, regex=r"^a\d+$") == ["public.a1", "public.a22"]


def test_selectors_narrow_each_other(base: Backups) -> None:
    tables(base, "a1", "a2", "b1")
    assert find(base, prefix="a", glob="*1") == ["public.a1"]


def test_schemas_and_exclude(base: Backups) -> None:
    tables(base, "a", "a_tmp")
    base.sql("create schema sales; create table sales.a (i int); create table sales.a_tmp (i int)")
    assert find(base, prefix="a") == ["public.a", "public.a_tmp", "sales.a", "sales.a_tmp"]
    assert find(base, prefix="a", schemas=["sales"]) == ["sales.a", "sales.a_tmp"]
    assert find(base, prefix="a", exclude=["*_tmp"]) == ["public.a", "sales.a"]
    assert find(base, prefix="a", exclude=["sales.*"]) == ["public.a", "public.a_tmp"]
    assert reasons(base, prefix="a", schemas=["public"], exclude=["*_tmp"]) == {"a_tmp": "excluded by the plan"}


def test_sizes(base: Backups) -> None:
    tables(base, "small")
    base.sql("create table big as select g, repeat('x', 100) from generate_series(1, 1000) g")
    assert find(base, glob="*", min_bytes="64kB") == ["public.big"]
    assert reasons(base, glob="*", max_bytes="64kB") == {"big": "larger than 65536 bytes"}


def test_catalogs_and_planruns_own_tables_are_not_user_tables(base: Backups) -> None:
    base.sql("create schema planrun; create table planrun.run (i int)")
    assert find(base, glob="*", allow_empty=True) == []


# ------------------------------------------------------------------ names


def test_a_bare_name_is_found_in_any_user_schema(base: Backups) -> None:
    base.sql("create schema sales; create table sales.only (i int)")
    assert find(base, names=["only"]) == ["sales.only"]
    assert find(base, names=["sales.only"]) == ["sales.only"]
    assert reasons(base, names=["public.only"]) == {"only": "does not exist"}


def test_names_win_over_other_selectors_and_missing_ones_are_told(base: Backups) -> None:
    tables(base, "_cdc_a", "b")
    base.sql("create view v as select 1; create materialized view m as select 1")
    facts = look(base, prefix="_cdc_", names=["b", "nope", "v", "m"])
    assert [table["name"] for table in facts.tables] == ["b"]
    assert {t["name"]: t["reason"] for t in facts.left_out} == {
        "nope": "does not exist", "v": "a view, not a table", "m": "a materialized view, not a table",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "a.b.c", '"', 'a"b', "."])
def test_a_text_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(PlanrunError, match="is not a table's name"):
        TableName.parse(name)


def test_globs_become_whole_regular_expressions() -> None:
    assert glob_regex("a+b|c") == "^a\\+b\\|c$"
    assert glob_regex("") == "^$"


# ------------------------------------------------------------------ what is not an ordinary table


def test_partitions_of_a_table_that_is_found_belong_to_it(base: Backups) -> None:
    base.sql("create table log (i int) partition by range (i)")
    base.sql("create table log_1 partition of log for values from (0) to (10); insert into log values (1), (2)")
    assert [(t["name"], t["rows"]) for t in look(base, prefix="log").tables] == [("log", 2)]
    assert find(base, prefix="log_") == ["public.log_1"]


def test_foreign_tables_are_left_out(base: Backups) -> None:
    base.sql("create foreign data wrapper nobody; create server far foreign data wrapper nobody")
    base.sql("create foreign table there (i int) server far; create table log (i int) partition by list (i)")
    base.sql("create foreign table log_far partition of log for values in (1) server far")
    assert reasons(base, glob="*") == {
        "log": "one of its partitions is a foreign table",
        "there": "a foreign table: its rows are on another server",
    }


def test_temporary_tables_are_not_found(base: Backups) -> None:
    with psycopg.connect(base.dsn, autocommit=True) as conn:
        conn.execute("create temp table t (i int)")
        assert find(base, glob="*", allow_empty=True) == []


def test_members_of_extensions_are_left_out(base: Backups) -> None:
    tables(base, "member")
    base.sql("create extension if not exists plpgsql; alter extension plpgsql add table member")
    assert reasons(base, glob="*") == {"member": "belongs to the extension plpgsql"}


# ------------------------------------------------------------------ rows


def test_rows_are_exact_for_small_tables_and_emptiness_for_all(base: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    tables(base, "one")
    base.sql("create table none (i int); create table parent (i int); create table child () inherits (parent)")
    base.sql("insert into child values (1)")
    expected = {"one": (1, False), "none": (0, True), "parent": (0, True), "child": (1, False)}
    assert {t["name"]: (t["rows"], t["empty"]) for t in look(base, glob="*").tables} == expected
    monkeypatch.setattr(find_tables, "SMALL_PAGES", -1)
    assert {t["name"]: (t["rows"], t["empty"]) for t in look(base, glob="*").tables} == {
        name: (None, empty) for name, (_, empty) in expected.items()
    }
    base.sql("analyze one")
    assert look(base, names=["one"]).tables[0]["rows"] == 1


def test_a_table_that_may_not_be_read_is_found_without_its_rows(base: Backups) -> None:
    tables(base, "open", "closed")
    role = "reader_" + base.dsn.rpartition("t_")[2][:8]
    base.sql(f"create role {role} login; grant select on open to {role}")
    reader = Backups(psycopg.conninfo.make_conninfo(base.dsn, user=role), base.folder)
    assert {t["name"]: t["rows"] for t in look(reader, glob="*").tables} == {"open": 1, "closed": None}
    base.sql(f"drop owned by {role}; drop role {role}")


def test_many_tables_are_asked_about_in_parts(base: Backups) -> None:
    base.sql("do $$ begin for n in 1..450 loop execute format('create table t%s (i int)', n); end loop; end $$")
    assert len(look(base, prefix="t").tables) == 450


# ------------------------------------------------------------------ nothing found, and what is given


def test_finding_nothing_is_a_failure_unless_allowed(base: Backups) -> None:
    base.sql("create table x (i int)")
    with pytest.raises(PlanrunError, match=r"no table found \(prefix: _cdc_\)"):
        look(base, prefix="_cdc_")
    with pytest.raises(PlanrunError, match=r"public\.x: excluded by the plan"):
        look(base, prefix="x", exclude=["x"])
    assert look(base, prefix="_cdc_", allow_empty=True).tables == ()


def test_a_step_without_a_selector_is_refused(base: Backups) -> None:
    with pytest.raises(PlanrunError, match="needs one of prefix, glob, regex, names"):
        look(base)


def test_outputs_and_the_note(base: Backups) -> None:
    tables(base, "a", "skip")
    base.sql("create table b (i int)")
    params = build(find_tables.Params, {"glob": "*", "exclude": ["skip"]}, base.folder)
    facts = find_tables.look(params, base.reader)
    given = find_tables.give(params, facts, [])
    assert (given["count"], given["filled"], given["rows"]) == (2, 1, 1)
    assert set(given) == set(find_tables.OUTPUTS)
    (note,) = find_tables.render(params, facts, render)
    assert isinstance(note, Note)
    assert "public.a (1 row)" in note.text and "public.b (empty)" in note.text
    assert "left out public.skip: excluded by the plan" in note.text


def test_a_partition_of_a_partition_that_is_found_is_not_listed_again(base: Backups) -> None:
    base.sql(
        "create table root (n int, k int) partition by range (n);"
        "create table x_m partition of root for values from (0) to (10) partition by list (k);"
        "create table x_leaf partition of x_m for values in (1)"
    )
    assert find(base, prefix="x_") == ["public.x_m"]


# ------------------------------------------------------------------ slips


def test_nothing_found_names_the_nearest_prefix(base: Backups) -> None:
    tables(base, "_cdc_users", "_cdc_orders", "area")
    with pytest.raises(PlanrunError, match=r"nearest is prefix '_cdc_': public._cdc_orders, public._cdc_users"):
        look(base, prefix="_cdx_")
    base.sql("create schema bare")
    with pytest.raises(PlanrunError, match="schema bare has no table that this role can see"):
        look(base, prefix="_cdc_", schemas=["bare"])
    assert look(base, prefix="_cdx_", allow_empty=True).tables == ()


@pytest.mark.parametrize(
    ("name", "meant"), [("users", "Users"), ("order_item", "order_items"), ("orderitems", "order_items")]
)
def test_a_name_that_is_nearly_there_is_not_left_out(base: Backups, name: str, meant: str) -> None:
    tables(base, "Users", "order_items", "area")
    with pytest.raises(PlanrunError, match=rf'{name} \(there is "?{meant}"?\)'):
        look(base, names=["area", name])
    assert reasons(base, names=["area", name], missing="skip") == {name: "does not exist"}


def test_a_name_that_is_not_there_at_all(base: Backups) -> None:
    tables(base, "area")
    assert reasons(base, names=["area", "gone"]) == {"gone": "does not exist"}
    with pytest.raises(PlanrunError, match="not found: gone"):
        look(base, names=["area", "gone"], missing="fail")
    with pytest.raises(PlanrunError, match="no table found"):
        look(base, names=["gone"], missing="skip")


def test_a_schema_that_is_not_there_is_named_with_the_one_that_was_meant(base: Backups) -> None:
    """Where others are given as well, their tables alone would be saved and nobody would know."""
    base.sql("create schema sales; create table public.a (i int); create table sales.b (i int)")
    with pytest.raises(PlanrunError, match=r'there is no schema "Sales" \(there is sales\), nowhere'):
        look(base, glob="*", schemas=["public", "Sales", "nowhere"])
    assert find(base, glob="*", schemas=["public", "Sales"], missing="skip") == ["public.a"]


def test_what_has_such_a_name_and_is_no_table_is_told(base: Backups) -> None:
    """Somebody may believe that it is saved; the sequence of a column comes along with its table."""
    base.sql(
        "create table p_t (id serial); create view p_v as select 1; create materialized view p_m as select 1 as a;"
        "create sequence p_s; create index p_i on p_t (id); create type p_c as (a int)"
    )
    assert find(base, prefix="p_") == ["public.p_t"]
    expected = {
        "p_v": "a view, not a table",
        "p_m": "a materialized view, not a table",
        "p_s": "a sequence, not a table",
    }
    assert reasons(base, prefix="p_") == expected
    assert reasons(base, names=["p_s", "p_t"]) == {"p_s": "a sequence, not a table"}


def test_an_empty_list_is_not_everything(base: Backups) -> None:
    tables(base, "a")
    several: list[dict[str, Any]] = [{"names": [], "glob": "*"}, {"names": []}, {"glob": "*", "schemas": []}]
    for empty in several:
        with pytest.raises(PlanrunError, match="no table found"):
            look(base, **empty)
        assert find(base, **empty, allow_empty=True) == []


def test_what_refreshes_made_or_put_aside_is_left_out(base: Backups, new_db: Callable[[], str], tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), base.dsn)
    pair.fill("create table _cdc_users (id int primary key); insert into _cdc_users values (1)")
    pair.apply()
    pair.apply("--until", "prepare")
    everything = {"regex": "_cdc_users$"}
    assert find(base, **everything) == ["public._cdc_users"]
    assert reasons(base, **everything) == {
        "_cdc_users": reasons(base, **everything)["_cdc_users"],
        "backup__cdc_users": reasons(base, **everything)["backup__cdc_users"],
    }
    assert all("planrun's own, of refresh" in why for why in reasons(base, **everything).values())
    base.sql("create role nobody_special login; grant usage on schema public to nobody_special")
    try:
        other = Backups(conninfo.make_conninfo(base.dsn, user="nobody_special"), tmp_path)
        assert find(other, **everything) == ["public._cdc_users"]
        assert set(reasons(other, **everything).values()) == {"marked as planrun's own"}
    finally:
        base.sql("drop owned by nobody_special; drop role nobody_special")
