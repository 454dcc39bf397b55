"""Read what a case does, in order: runs of planrun, SQL between them, and the faults that runs meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.cases.case import Fault, Move, Text
from runner.cases.names import Names
from runner.language.source import Steps
from runner.units import duration

_WORDS_OF: Mapping[str, set[str]] = {
    "error": {"times"},
    "connection": {"times", "on"},
    "lock": {"times", "on", "table", "hold"},
    "kill": {"after"},
    "exit": {"times", "code"},
}


def read(names: Names, data: Mapping[str, Any]) -> tuple[Move, ...]:
    """Return the moves of a case; what is wrong with them is added to the problems of `names`."""
    given = data.get("run", "apply")
    every = given if isinstance(given, list) else [given]
    moves = []
    for number, one in enumerate(every):
        path: Steps = ("run", number) if isinstance(given, list) else ("run",)
        moves.append(_move(names, path, {"run": one} if isinstance(one, str) else one))
    if "fail" in data:
        first = next((n for n, move in enumerate(moves) if move.verb), None)
        if first is None or moves[first].fault:
            hint = "`fail:` of the case is about its first run"
            names.key_problem(("fail",), "there is no run for this `fail:`", hint)
        else:
            fault = _fault(names, ("fail",), data["fail"])
            moves[first] = replace(moves[first], fault=fault)
    if all(move.sql for move in moves):
        names.problem(("run",), "nothing of planrun runs", "add a run: apply")
    return tuple(moves)


def _move(names: Names, path: Steps, given: Mapping[str, Any]) -> Move:
    if ("run" in given) == ("sql" in given):
        names.problem(path, "give either `run:` or `sql:`")
    if "sql" in given:
        names.check_sql((*path, "sql"), given["sql"])
        names.check_place(path, given.get("on", ""))
    if until := given.get("until"):
        names.check_step((*path, "until"), until)
    if given.get("run") == "rollback" and not names.plan.rollback:
        names.problem(path, f"{names.plan.file} has no `rollback:`", "take this run out")
    expect = given.get("expect", {})
    names.check_outcome((*path, "expect"), expect)
    fault = _fault(names, (*path, "fail"), given["fail"]) if "fail" in given else None
    sql = Text(sql=given["sql"], place=names.document.find((*path, "sql"))) if "sql" in given else None
    return Move(
        verb=given.get("run", ""), path=path, until=given.get("until", ""), fault=fault, expect=expect,
        sql=sql, connection=given.get("on", ""),
    )  # fmt: skip


def _fault(names: Names, path: Steps, given: Mapping[str, Any]) -> Fault:
    kind, step = given["with"], given["step"]
    names.check_step((*path, "step"), step)
    for word in given.keys() - {"step", "with"} - _WORDS_OF[kind]:
        known = ", ".join(f"`{one}`" for one in sorted(_WORDS_OF[kind])) or "nothing more"
        names.key_problem((*path, word), f"'{word}' does not go with `{kind}`", f"it takes {known}")
    if kind == "lock":
        names.check_table((*path, "table"), given.get("table", ""), path)
        names.check_place(path, given.get("on", ""))
    elif kind == "connection":
        names.check_connection((*path, "on"), given.get("on", ""))
    found = names.steps.get(step)
    if found and found.steps:
        names.problem((*path, "step"), f"'{step}' is a group", f"name a step in it: {step}.…")
    elif found and kind == "exit" and found.kind != "command":
        message = f"'{step}' runs no program: it uses {found.uses}"
        names.problem(path, message, "`error` fails any step")
    hold = given.get("hold")
    return Fault(
        step=step, kind=kind, table=given.get("table", ""), connection=given.get("on", ""),
        hold=None if hold is None else seconds_of(hold), code=given.get("code", 1), times=given.get("times", 0),
        after=given.get("after", False),
    )  # fmt: skip


def seconds_of(value: float | str) -> float:
    """Return a time of a case in seconds, which the schema has checked."""
    return duration(value) if isinstance(value, str) else float(value)
