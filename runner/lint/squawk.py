"""Findings of squawk, a linter for PostgreSQL migrations (Apache-2.0 or MIT; `pip install planrun[lint]`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner import tools
from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError

COVERED = (
    *("require-lock-timeout", "require-statement-timeout", "require-timeout-settings", "prefer-robust-stmts"),
    *("require-concurrent-index-creation", "require-concurrent-index-deletion", "constraint-missing-not-valid"),
    *("adding-foreign-key-constraint", "adding-not-nullable-field", "changing-column-type", "renaming-column"),
    *("renaming-table", "disallowed-unique-constraint", "adding-serial-primary-key-field", "ban-drop-table"),
    *("ban-concurrent-index-creation-in-transaction", "transaction-nesting", "require-concurrent-partition-detach"),
    *("require-concurrent-partition-attach", "ban-drop-database", "ban-alter-domain-with-add-constraint"),
    "ban-truncate-cascade",
)
"""Rules that planrun has itself, in its own rules, in validate or in the proof of guards, or that its settings meet."""


class SquawkFinding(NamedTuple):
    """offset: in the text, in characters. rule: such as `prefer-bigint-over-int`."""

    offset: int
    rule: str
    message: str
    hint: str


def findings(sql: str, env: Mapping[str, str]) -> Iterator[SquawkFinding]:
    """Yield what squawk says of a text. Raises PlanrunError when it is not there or does not answer as it should."""
    argv = (_program(env), "--reporter=json", "--stdin-filepath=planrun.sql", "--assume-in-transaction")
    try:
        done = tools.call(argv, env=env, cancel=Cancel(), source=(sql.encode(),), allowed=(0, 1))
    except TargetError as exc:
        if exc.code != "PR0902":
            raise
        hint = "pip install 'planrun[lint]', or leave out --squawk"
        raise PlanrunError("squawk is not there", hint=hint, code="PR1036") from exc
    lines = sql.split("\n")
    for one in _parse(done.output):
        if one["rule_name"] in COVERED:
            continue
        offset = sum(len(line) + 1 for line in lines[: one["line"]])
        line = lines[one["line"]] if one["line"] < len(lines) else ""
        before = len(line.encode()[: one["column"]].decode(errors="replace"))
        yield SquawkFinding(offset + before, one["rule_name"], one["message"], one.get("help") or "")


def _program(env: Mapping[str, str]) -> str:
    """Return squawk beside this Python, which pip installs there, or the name, to be found by PATH."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.is_file() else "squawk"


def _parse(output: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(output or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) and one.keys() >= _KEYS for one in found):
        raise PlanrunError("squawk answers in a form that planrun does not know", hint=_UPGRADE, code="PR1036")
    return found


_KEYS = {"line", "column", "rule_name", "message"}
_UPGRADE = "pip install --upgrade 'planrun[lint]', or leave out --squawk"
