"""What a person needs next stands at the end of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.errors import Mark
from runner.model import PlannedStep, State, Step
from runner.report import ending
from runner.result import RunResult, StepResult
from tests.made import result


def step(path: str, kind: str, state: State = State.OK, **outputs: Any) -> StepResult:
    planned = PlannedStep(step=Step(id=path, where=Mark("", 1, 1), kind=kind), path=path)
    return StepResult(
        path=path, state=state, message="", hint="", code="", outputs=outputs, seconds=1.0, planned=planned
    )


def run(*steps: StepResult, **words: Any) -> RunResult:
    return replace(result(), **{"steps": steps, "state": "ok", "file": "p.yml", "sets": ("a=1",), **words})


SWAP = step(
    "swap", "swap_tables", set="r1", schema="public", until="",
    tables=[{"name": name, "aside": f"backup_{name}"} for name in ("a", "b", "c", "D")],
)  # fmt: skip
SAVE = step("save", "pg_dump", session="/b/backup_2025")


def test_a_swap_says_where_the_old_tables_are_and_the_way_back() -> None:
    assert list(ending.lines(run(SWAP, way_back="planrun rollback p.yml --set a=1"))) == [
        "old tables: backup_a, backup_b, backup_c and 1 more, as backup set r1 of public",
        "  the way back: planrun rollback p.yml --set a=1",
        "  it loses what is written from now on, as the swap has no rollback_window",
        "  drop them: planrun backups prune p.yml --set a=1 r1",
    ]
    until = replace(SWAP, outputs={**SWAP.outputs, "until": "2025-07-21T12:26:55+00:00"})
    assert "  until 2025-07-21 12:26 UTC it loses no write" in ending.lines(run(until, way_back="x"))


def test_a_swap_whose_set_is_gone_or_that_replaced_nothing_says_nothing() -> None:
    assert "  a plan with swap_back puts them back" in ending.lines(run(SWAP))
    assert list(ending.lines(run(SWAP, step("clean", "drop_backup_set", sets=[{"id": "r1"}])))) == []
    assert (
        list(ending.lines(run(replace(SWAP, outputs={**SWAP.outputs, "tables": [{"name": "a", "aside": None}]})))) == []
    )


def test_a_backup_says_where_it_is_and_what_verifies_it_unless_it_is_verified() -> None:
    assert list(ending.lines(run(SAVE))) == [
        "session: /b/backup_2025",
        "  verify it: planrun backups verify p.yml --set a=1 backup_2025",
    ]
    verified = step("proof", "verify_backup", session="backup_2025", level=3)
    assert list(ending.lines(run(SAVE, verified))) == ["session: /b/backup_2025", "  verified at level 3"]
    assert list(ending.lines(run(step("save", "pg_dump", session="")))) == [], "all tables were empty"


def test_a_prepare_says_what_is_there_and_how_to_give_it_up() -> None:
    load = step("load", "shadow_load", set="r1", schema="public", count=2)
    assert list(ending.lines(run(load))) == [
        "prepared: 2 new tables of public; the live tables are unchanged",
        "  a plan with swap_tables puts them in their place",
        "  give them up: planrun abort p.yml --set a=1",
    ]
    assert len(list(ending.lines(run(load, state="paused", next="planrun apply p.yml --resume")))) == 2
    assert "prepared" not in "".join(ending.lines(run(load, SWAP)))


def test_a_rollback_says_what_stays() -> None:
    back = step("back", "swap_back", set="r1", schema="public")
    assert list(ending.lines(run(back))) == [
        "put back: the old tables of public are live again",
        "  remove the tables that were undone: planrun abort p.yml --set a=1",
    ]


def test_a_failed_run_says_nothing_here_and_a_failed_step_neither() -> None:
    assert list(ending.lines(run(SAVE, SWAP, state="failed"))) == []
    assert list(ending.lines(run(replace(SWAP, state=State.FAILED)))) == []
