"""Where relations go: names that are free, and the ALTERs that take them there."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import PlanrunError
from runner.refresh import naming
from runner.refresh.catalog.relations import Relation
from runner.refresh.swap import renames
from runner.refresh.swap.renames import Move
from runner.table_name import TableName


def table(oid: int, schema: str, name: str, *, indexes: tuple[str, ...] = (), **more: Any) -> Relation:
    rows = [{"oid": oid * 100 + number, "name": index} for number, index in enumerate(indexes)]
    return Relation(oid=oid, schema=schema, name=name, kind="r", owner="o", indexes=rows, **more)


def with_prefix(name: str) -> str:
    return naming.PREFIX + name


def test_what_leaves_is_renamed_with_its_parts() -> None:
    taken: renames.Taken = {"public": {"Area", "Area_pkey"}}
    move = renames.out(table(1, "public", "Area", indexes=("Area_pkey",)), "public", with_prefix, taken)
    assert list(renames.leave_before(move)) == ['alter index "public"."Area_pkey" rename to "backup_Area_pkey"']
    assert list(renames.leave(move)) == ['alter table "public"."Area" rename to "backup_Area"']
    assert {"backup_Area", "backup_Area_pkey"} <= taken["public"]


def test_a_taken_name_is_not_used() -> None:
    taken: renames.Taken = {"public": {"a", "backup_a"}}
    first = renames.out(table(1, "public", "a"), "public", with_prefix, taken)
    assert first.name.startswith("backup_a_") and len(first.name) > len("backup_a_")


def test_two_that_leave_do_not_meet() -> None:
    """`a` becomes `backup_a`, which is the name of another table that leaves."""
    taken: renames.Taken = {"public": {"a", "backup_a"}}
    names = [
        renames.out(table(n, "public", name), "public", with_prefix, taken).name
        for n, name in ((1, "a"), (2, "backup_a"))
    ]
    assert len({*names, "a", "backup_a"}) == 4


def test_another_schema_keeps_names_and_takes_indexes_along() -> None:
    statistics = [{"oid": 7, "schema": "public", "name": "st"}]
    move = renames.out(
        table(1, "public", "a", indexes=("a_pkey",), statistics=statistics), "backup", str, {"backup": set()}
    )
    assert list(renames.leave_before(move)) == ['alter statistics "public"."st" set schema "backup"']
    assert list(renames.leave(move)) == ['alter table "public"."a" set schema "backup"']


def test_what_enters_changes_the_schema_before_the_name() -> None:
    relation = table(1, "backup", "a_1f", indexes=("a_pkey_2e",))
    move = renames.back(relation, "public", "a", {100: "a_pkey"})
    assert list(renames.enter(move)) == [
        'alter table "backup"."a_1f" set schema "public"',
        'alter table "public"."a_1f" rename to "a"',
        'alter index "public"."a_pkey_2e" rename to "a_pkey"',
    ]


def test_a_sequence_keeps_its_name_until_the_locks_are_there() -> None:
    """A rename of it holds up nextval(), which needs no lock on the table."""
    sequences = [{"oid": 7, "schema": "public", "name": "a_id_seq"}]
    move = renames.out(
        table(1, "public", "a", sequences=sequences), "public", with_prefix, {"public": {"a", "a_id_seq"}}
    )
    assert list(renames.leave_before(move)) == []
    assert next(renames.leave(move)) == 'alter sequence "public"."a_id_seq" rename to "backup_a_id_seq"'


def test_what_waits_has_other_names_only_where_its_own_are_held() -> None:
    relation = table(1, "planrun_shadow_public", "a", indexes=("a_pkey", "old"))
    held = {TableName("public", "a"), TableName("public", "old")}
    taken: renames.Taken = {"public": {"a", "planrun_entering_a"}}
    move = renames.wait(renames.back(relation, "public", "a", {}), held, taken)
    waits = move.waits or {}
    name = waits[1]
    assert name.startswith("planrun_entering_a_") and waits[101] == "planrun_entering_old" and 100 not in waits
    assert {name, "planrun_entering_old"} <= taken["public"]
    assert list(renames.enter_before(move)) == [
        f'alter table "planrun_shadow_public"."a" rename to "{name}"',
        'alter index "planrun_shadow_public"."old" rename to "planrun_entering_old"',
        f'alter table "planrun_shadow_public"."{name}" set schema "public"',
    ]
    assert list(renames.enter(move)) == [
        f'alter table "public"."{name}" rename to "a"',
        'alter index "public"."planrun_entering_old" rename to "old"',
    ]


def move_in(name: str, *indexes: str) -> Move:
    return renames.back(table(1, "planrun_shadow_public", name, indexes=indexes), "public", name, {})


def test_a_name_of_something_that_stays_is_refused() -> None:
    with pytest.raises(PlanrunError, match=r"public\.orders_x \(for planrun_shadow_public\.a\)"):
        renames.refuse_collisions([move_in("a", "orders_x")], [], {"public": {"orders_x"}})


def test_a_name_of_something_that_leaves_is_free() -> None:
    taken: renames.Taken = {"public": {"a", "a_pkey"}}
    leaving = renames.out(table(2, "public", "a", indexes=("a_pkey",)), "public", with_prefix, taken)
    renames.refuse_collisions([move_in("a", "a_pkey")], [leaving], taken)


@pytest.mark.parametrize(("descending", "ahead"), [(False, ">"), (True, "<")])
@pytest.mark.parametrize("waits", [False, True])
def test_a_sequence_goes_on_from_the_further_one(waits: bool, descending: bool, ahead: str) -> None:
    old, new = (
        {"oid": n, "schema": s, "name": "s", "column": "id", "descending": descending}
        for n, s in ((5, "public"), (6, "planrun_shadow_public"))
    )
    leaving = renames.out(table(1, "public", "a", sequences=[old]), "public", with_prefix, {"public": {"a", "s"}})
    move = renames.back(table(2, "planrun_shadow_public", "a", sequences=[new]), "public", "a", {})
    if waits:
        move = renames.wait(move, {TableName("public", "s")}, {})
    (text,) = renames.sequence_values(leaving, move, [(old, new)])
    place = '"public"."planrun_entering_s"' if waits else '"planrun_shadow_public"."s"'
    assert f"where o.last_value {ahead} n.last_value or" in text
    assert f'from "public"."backup_s" as o, {place} as n' in text
