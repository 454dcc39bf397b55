"""What differs between two records of effects, made by hand and at random."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.comparison import GRAVE, Change, What
from runner.effects.changes import changes
from runner.effects.record import PlanEffects, StepEffects
from runner.fates import Fate, ObjectFate


def step(path: str, **more: object) -> StepEffects:
    return StepEffects(**{"path": path, "uses": "sql", **more})  # type: ignore[arg-type]


def plan(*steps: StepEffects, **more: object) -> PlanEffects:
    return PlanEffects(**{"name": "p", "steps": steps, **more})  # type: ignore[arg-type]


def told(old: PlanEffects, new: PlanEffects) -> list[tuple[What, str]]:
    return [(one.what, one.text) for one in changes(old, new)]


DROPS = step(
    "purge", statements=("drop table t",), losses=("drop table t",), verdict="protected", chain="purge <- save.ok"
)
BARE = replace(DROPS, verdict="unprotected", chain="purge: nothing in the plan protects it (drop table t)")


def test_the_most_dangerous_comes_first() -> None:
    old = plan(step("save", settings={"with.to": "a"}))
    new = plan(step("save", settings={"with.to": "b"}), BARE, settings={"param x": "1"})
    assert told(old, new) == [
        (What.LOSS_UNPROTECTED, "drop table t (step purge)"),
        (What.STATEMENT_ADDED, "purge"),
        (What.STEP_ADDED, "purge (sql)"),
        (What.SETTING_CHANGED, "save: with.to"),
        (What.SETTING_CHANGED, "param x"),
    ]


def test_a_destructive_action_is_told_with_its_chain() -> None:
    (first, *_) = changes(plan(step("save")), plan(step("save"), DROPS))
    assert first == Change(
        what=What.LOSS_ADDED,
        step="purge",
        text="drop table t (step purge)",
        after="protected: purge <- save.ok",
    )


def test_protection_that_goes_changes_or_comes() -> None:
    other = replace(DROPS, chain="purge <- other.ok")
    yes = replace(DROPS, verdict="acknowledged", chain="purge: acknowledged: x", settings={"acknowledge": "x"})
    assert told(plan(DROPS), plan(BARE)) == [(What.PROTECTION_REMOVED, "drop table t (step purge)")]
    assert told(plan(BARE), plan(DROPS)) == [(What.PROTECTION_ADDED, "drop table t (step purge)")]
    assert told(plan(DROPS), plan(other)) == [(What.PROTECTION_CHANGED, "drop table t (step purge)")]
    assert told(plan(DROPS), plan(yes)) == [
        (What.PROTECTION_REMOVED, "drop table t (step purge)"),
        (What.GUARD_CHANGED, "purge: acknowledge"),
    ]
    assert told(plan(BARE), plan(replace(BARE, chain="other words"))) == []


def test_tables_that_are_no_longer_protected_are_named() -> None:
    old, new = (plan(settings={"protected": names}) for names in ("users, app.orders", "users"))
    assert told(old, new) == [(What.PROTECTED_TABLE, "app.orders")]
    assert told(new, old) == [(What.SETTING_CHANGED, "protected")]


def test_a_step_under_another_name_or_in_a_group_is_the_same_step() -> None:
    one = step("a", statements=("select 1",), settings={"when": "x.ok"})
    assert told(plan(one), plan(replace(one, path="b"))) == [(What.STEP_MOVED, "a is now b")]
    found = told(plan(one), plan(step("g", uses="group"), replace(one, path="g.a", settings={})))
    assert (What.STEP_MOVED, "a is now g.a") in found and (What.GUARD_CHANGED, "g.a: when") in found
    twins = plan(replace(one, path="b"), replace(one, path="c"))
    assert [what for what, _ in told(plan(one), twins)].count(What.STEP_MOVED) == 1


def test_a_step_of_the_rollback_is_another_step() -> None:
    one = step("a", statements=("select 1",))
    assert told(plan(one), plan(replace(one, of_rollback=True))) == [(What.STEP_MOVED, "a is now rollback a")]
    both = plan(one, replace(one, of_rollback=True))
    assert told(both, both) == []


def test_as_few_steps_move_as_explain_the_order() -> None:
    a, b, c, d = (step(name, statements=(f"select '{name}'",)) for name in "abcd")
    assert told(plan(a, b, c, d), plan(d, a, b, c)) == [(What.STEP_MOVED, "d is now the first")]
    assert told(plan(a, b, c, d), plan(b, c, a, d)) == [(What.STEP_MOVED, "a is now behind c")]
    assert told(plan(a, b, c), plan(a, d, b, c)) == [(What.STATEMENT_ADDED, "d"), (What.STEP_ADDED, "d (sql)")]


def test_objects_that_meet_a_worse_fate() -> None:
    def at(fate: Fate, name: str = '"a:b"') -> StepEffects:
        one = ObjectFate(kind="table", name=name, fate=fate, rows=5, bytes=8192)
        return step("s", objects=(one,))

    assert told(plan(at(Fate.KEPT)), plan(at(Fate.DROPPED))) == [
        (What.OBJECT_WORSE, 'table "a:b", 5 rows, 8,192 bytes (step s)')
    ]
    assert told(plan(at(Fate.DROPPED)), plan(at(Fate.KEPT)))[0][0] is What.OBJECT_CHANGED
    assert told(plan(step("s")), plan(at(Fate.LOST)))[0][0] is What.OBJECT_WORSE
    assert told(plan(at(Fate.LOST)), plan(at(Fate.LOST))) == []


def test_a_file_whose_effect_is_not_known_is_a_change() -> None:
    dark = step("s", statements=("drop {{ t }}",), unknown="the SQL depends on what only the run knows")
    old, new = plan(dark, files={"sql/a.sql": "1", "p.yml": "1"}), plan(dark, files={"sql/a.sql": "2", "p.yml": "1"})
    ((what, text),) = told(old, new)
    assert what is What.UNKNOWN and text.startswith("sql/a.sql changed; what 1 step")
    bright = replace(dark, unknown="")
    assert told(replace(old, steps=(bright,)), replace(new, steps=(bright,))) == [], "only a comment is another"


# ------------------------------------------------------------------ at random

NAMES = st.sampled_from(["a", "b", "c", "g.a", "g.b"])
WORDS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=3).map(tuple)
STEPS = st.builds(
    StepEffects,
    path=NAMES,
    of_rollback=st.booleans(),
    uses=st.sampled_from(["sql", "query"]),
    settings=st.dictionaries(st.sampled_from(["when", "with.to"]), st.sampled_from(["1", "2"]), max_size=2),
    statements=WORDS,
    losses=WORDS,
    locks=WORDS.map(lambda some: tuple(dict.fromkeys(some))),
    verdict=st.sampled_from(["protected", "unprotected", "acknowledged"]),
    chain=st.sampled_from(["a <- b", "a <- c"]),
)
PLANS = st.lists(STEPS, max_size=5, unique_by=lambda one: one.key).map(lambda steps: plan(*steps))
BACK = {
    What.STEP_ADDED: What.STEP_REMOVED,
    What.STATEMENT_ADDED: What.STATEMENT_REMOVED,
    What.LOCK_ADDED: What.LOCK_REMOVED,
}


@settings(max_examples=30)
@given(PLANS)
def test_a_plan_does_not_differ_from_itself(one: PlanEffects) -> None:
    assert changes(one, one) == ()


@settings(max_examples=80)
@given(PLANS, PLANS)
def test_what_one_direction_adds_the_other_one_removes(old: PlanEffects, new: PlanEffects) -> None:
    there, back = changes(old, new), changes(new, old)
    assert bool(there) == bool(back) == (not _same(old, new))
    for added, removed in BACK.items():
        assert sum(one.what is added for one in there) == sum(one.what is removed for one in back)
    order = list(What)
    assert [order.index(one.what) for one in there] == sorted(order.index(one.what) for one in there)
    graves = [one.what in GRAVE for one in there]
    assert graves == sorted(graves, reverse=True), "what a reviewer must look at comes first"


def _same(old: PlanEffects, new: PlanEffects) -> bool:
    def shown(one: StepEffects) -> StepEffects:
        if not one.losses:
            return replace(one, verdict="", chain="")
        return replace(one, chain="") if one.verdict == "unprotected" else one

    def lists(one: PlanEffects) -> list[list[StepEffects]]:
        """Return the steps of each group in their order; groups have no order among each other."""
        found: dict[tuple[bool, str], list[StepEffects]] = {}
        for each in one.steps:
            found.setdefault(each.parent, []).append(shown(each))
        return [found[key] for key in sorted(found)]

    return lists(old) == lists(new)
