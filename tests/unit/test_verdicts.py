"""By what each step that takes something away is protected: plans as a user writes them, and the verdict on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.planfile import open_plan, templates_of
from runner.protection.verdicts import StepVerdict, verdicts
from runner.safesql.destruction import sql_effects

SAVE = "{id: save, uses: pg_dump, with: {to: ./b}}"
WIPE = "drop table orders"


def judge(text: str, folder: Path) -> list[StepVerdict]:
    (folder / "p.yml").write_text(text)
    plan = open_plan(folder / "p.yml", env={}, offline=True)
    templates = templates_of(plan.root)
    return list(verdicts(plan, lambda given: sql_effects(given, templates)))


def steps(*lines: str, head: str = "") -> str:
    return head + "steps:\n" + "".join(f"  - {line}\n" for line in lines)


def sql(id_: str, text: str = WIPE, more: str = "") -> str:
    return f"{{id: {id_}, uses: sql, with: {{text: '{text}'}}{more}}}"


def wipe(when: str = "", text: str = WIPE, more: str = "") -> str:
    return sql("wipe", text, (f", when: '{when}'" if when else "") + more)


PLANS = {
    "a plan without a backup may drop": (steps(wipe()), "unprotected", "nothing in the plan protects it"),
    "the default guard": (steps(SAVE, wipe()), "protected", "wipe <- save.ok"),
    "save.ok": (steps(SAVE, wipe("save.ok")), "protected", "wipe <- save.ok"),
    "a guard that does not ask for it": (
        steps(SAVE, sql("other", "select 1", ", when: 'true'"), wipe("other.ok")),
        "around",
        "wipe runs although save failed",
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_verdict(name: str, tmp_path: Path) -> None:
    text, verdict, part = PLANS[name]
    found = [one for one in judge(text, tmp_path) if one.path.rpartition(".")[2] == "wipe"]
    assert [one.verdict.value for one in found] == [verdict], found
    assert part in found[0].chain
    assert (found[0].problem is None) == (verdict in ("protected", "unprotected", "acknowledged"))
