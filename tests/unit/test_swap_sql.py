"""Which foreign keys are taken off, made and proved when relations change places, and which locks that needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from runner.errors import StaleError
from runner.refresh import ledger
from runner.refresh.catalog.dependents import Dependents
from runner.refresh.catalog.relations import ForeignKey, Relation
from runner.refresh.ledger import Refresh
from runner.refresh.records import RefreshRecord
from runner.refresh.swap import renames, swap_sql
from runner.refresh.swap.swap_sql import Pair, SwapScope
from runner.table_name import TableName

REFRESH = Refresh(
    id="r1",
    plan="prod",
    schema="public",
    shadow="planrun_shadow_public",
    state="loaded",
    made=datetime(2026, 1, 31, tzinfo=UTC),
)


def pair(name: str, old: int, new: int) -> Pair:
    taken: renames.Taken = {"public": {name}}
    live = Relation(oid=old, schema="public", name=name, kind="r", owner="o")
    fresh = Relation(oid=new, schema="planrun_shadow_public", name=name, kind="r", owner="o")
    return Pair(
        schema="public",
        name=name,
        leaving=renames.out(live, "public", lambda n: f"backup_{n}", taken) if old else None,
        entering=renames.back(fresh, "public", name, {}) if new else None,
    )


def key(name: str, table: str, to: str, oid: int = 0, ref_oid: int = 0, **more: Any) -> ForeignKey:
    given = {"schema": "public", "ref_schema": "public", "columns": ["x"], "ref_columns": ["id"], **more}
    return ForeignKey(name=name, table=table, ref_table=to, oid=oid, ref_oid=ref_oid, **given)


A, B, SHADOW_A, SHADOW_B, OUTSIDE = 10, 20, 110, 120, 30
PAIRS = (pair("a", A, SHADOW_A), pair("b", B, SHADOW_B))
INSIDE = key("inside", "b", "a", B, A)
SHADOWED = key("inside", "b", "a", SHADOW_B, SHADOW_A, schema="planrun_shadow_public")
COMING = key("coming", "other", "a", OUTSIDE, A)
GOING = key("going", "b", "other", B, OUTSIDE)


def scope(*keys: ForeignKey, wanted: tuple[ForeignKey, ...] = (), **more: Any) -> SwapScope:
    given = {"pairs": PAIRS, "dependents": Dependents(replaced={}), "major": 18, **more}
    return SwapScope(refresh=REFRESH, keys=keys, wanted=wanted, **given)


def test_a_key_of_another_table_is_re_pointed_and_proved_later() -> None:
    it = scope(COMING, INSIDE)
    assert swap_sql.incoming_keys(it) == [COMING] and swap_sql.outgoing_keys(it) == []
    text = swap_sql.exchange_sql(it, ())
    assert text.index('drop constraint "coming"') < text.index('rename to "backup_a"')
    assert text.index('"planrun_shadow_public"."a" set schema') < text.index('add constraint "coming"')
    assert 'references "public"."a" ("id") not valid' in text
    assert swap_sql.validations(it) == ['alter table "public"."other" validate constraint "coming"']


def test_a_key_that_was_never_validated_stays_so() -> None:
    it = scope(key("coming", "other", "a", OUTSIDE, A, validated=False))
    assert "not valid" in swap_sql.exchange_sql(it, ()) and swap_sql.validations(it) == []
    assert swap_sql.orphan_queries(it, ()) == []


@pytest.mark.parametrize(("major", "waits"), [(17, False), (18, True)])
def test_a_partitioned_table_proves_its_key_at_once_before_18(major: int, waits: bool) -> None:
    it = scope(key("coming", "other", "a", OUTSIDE, A, partitioned=True), major=major)
    assert ("not valid" in swap_sql.exchange_sql(it, ())) is waits
    assert bool(swap_sql.validations(it)) is waits


def test_rows_put_aside_hold_no_live_rows() -> None:
    assert swap_sql.outgoing_keys(scope(GOING, INSIDE)) == [GOING]
    assert swap_sql.outgoing_keys(scope(GOING, INSIDE, inner=True)) == [GOING, INSIDE]


def test_only_the_keys_that_are_not_there_are_made() -> None:
    other = key("other", "b", "other")
    it = scope(SHADOWED, wanted=(key("inside", "b", "a"), other, key("elsewhere", "c", "a")))
    assert swap_sql.missing_keys(it) == [other]


def test_all_that_is_touched_is_locked_in_the_order_of_oids() -> None:
    it = scope(COMING, GOING, oids={("public", "other"): OUTSIDE})
    assert swap_sql.locks(it) == 'lock table "public"."a", "public"."b", "public"."other" in access exclusive mode'
    assert swap_sql.watched_oids(it) == [A, B, OUTSIDE]


def test_orphans_are_looked_for_where_the_rows_are_now() -> None:
    it = scope(COMING)
    (found,) = swap_sql.orphan_queries(it, ())
    assert (found["ref_schema"], found["ref_table"], found["parent"]) == ("planrun_shadow_public", "a", "public.a")
    (live,) = swap_sql.orphan_queries(it, {TableName("public", "a")})
    assert (live["ref_schema"], live["schema"], live["table"]) == ("public", "public", "other")


def test_a_key_to_a_table_without_a_successor_is_refused() -> None:
    it = scope(COMING, pairs=(pair("a", A, 0),))
    with pytest.raises(
        StaleError, match=r"foreign key coming of public\.other: public\.a is not replaced by a new table"
    ):
        swap_sql.refuse(it)


def test_what_leaves_is_marked_and_recorded_under_its_live_name() -> None:
    it = scope()
    comments, recorded = list(swap_sql.mark_aside(it, "prod")), swap_sql.record_leaving(it)
    assert ledger.marker("r1") in comments[0] and '"public"."backup_a"' in comments[0]
    assert "('r1', 'old', 'pg_class', 10, 'table', 'public', 'a'" in recorded
    assert '"aside": ["public", "backup_b"]' in recorded


def test_what_was_made_since_the_swap_is_told_when_it_leaves() -> None:
    def with_index(oid: int, schema: str, *names: str) -> Relation:
        rows = [{"oid": oid * 10 + n, "name": name} for n, name in enumerate(names)]
        return Relation(oid=oid, schema=schema, name="a", kind="r", owner="o", indexes=rows)

    swapped = scope(wanted=(key("x", "a", "b"),), pairs=(pair("a", A, SHADOW_A),))
    assert swap_sql.belongings(swapped) == {"a": ("x",)}
    live = renames.out(with_index(SHADOW_A, "public", "a_pkey", "late"), "undone", str, {"undone": set()})
    old = renames.back(with_index(A, "public", "backup_a_pkey"), "public", "a", {A * 10: "a_pkey"})
    refresh = replace(REFRESH, record=RefreshRecord(belongings={"a": ("x",)}))
    back = replace(scope(pairs=(Pair(schema="public", name="a", leaving=live, entering=old),)), refresh=refresh)
    assert list(swap_sql.came_later(back)) == [
        "public.a: created since the swap, and put aside with the new table: late"
    ]
