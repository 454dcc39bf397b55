"""Targets: the text of a plan, from bytes to a checked Plan; guards; `${}` values."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from runner import guard, values
from runner.errors import Mark, PlanError
from runner.language import source
from runner.language.layout import LayoutBug, layout
from runner.model import UNKNOWN
from runner.planfile import open_plan
from tests.fuzz import corpus, mutating
from tests.fuzz.running import Target


def _yaml(rng: Random) -> bytes:
    given = rng.choice(corpus.plans())
    if rng.random() < 0.6:
        return mutating.tokens(rng, given, corpus.plans()).encode("utf-8", "surrogatepass")
    return mutating.raw(rng, given.encode())


def _read(data: bytes) -> None:
    try:
        document = source.parse(data, "p.yml")
    except PlanError as exc:
        lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 2
        assert all(1 <= one.where.line <= lines and one.where.column >= 1 for one in exc.problems), exc
        raise
    assert source.parse(data, "p.yml").data == document.data
    _walk(document, document.data, ())


def _walk(document: source.Document, data: Any, path: source.Steps) -> None:
    assert document.at(path).line >= 1
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in parts:
        _walk(document, value, (*path, step))


_GAPS = (
    *(" ", "  ", "\t", "\n", "\n\n\n", " # c\n", "\n# own\n", "\n    # deep\n", "#", "\r\n"),
    *("|+\n", ">2-\n", "- ", "? ", "[", "]", ","),
)


def _with_odd_space(rng: Random) -> bytes:
    """Return a plan with white space and comments in odd places; much of it is still valid."""
    if rng.random() < 0.3:
        return _yaml(rng)
    given = rng.choice(corpus.plans())
    for _ in range(rng.choice((1, 2, 4))):
        places = [at for at, char in enumerate(given) if char in " \n,:[]{}"] or [0]
        at = rng.choice(places)
        given = given[: at + rng.randrange(2)] + rng.choice(_GAPS) + given[at + rng.randrange(2) :]
    return given.encode("utf-8", "surrogatepass")


def _lay_out(data: bytes) -> None:
    try:
        made = layout(data, "p.yml")
    except LayoutBug:
        # libyaml takes a byte order mark for a letter, but not at the margin: such a name cannot begin there
        if b"\xef\xbb\xbf" in data:
            return
        raise
    assert layout(made, "p.yml") == made
    assert source.parse(made, "p.yml").data == source.parse(data, "p.yml").data


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="planrun-fuzz-")


def _load(data: bytes) -> None:
    path = Path(_folder().name, "p.yml")
    path.write_bytes(data)
    plan = open_plan(path, env={"HOME": "/h", "PGHOST": "h"}, offline=True)
    assert len({step.id for step in plan.steps}) == len(plan.steps)


_STEP = {"ok": "boolean", "count": "integer", "name": "string", "rows": "array", "any": ""}
SHAPE: guard.Shape = {name: _STEP for name in ("a", "b", "c", "x", "prepare", "detect")}
_OK: Mapping[str, Any] = {"ok": True, "count": 3, "name": "n", "rows": [1, "a"], "any": None}
SCOPE: Mapping[str, Any] = {
    "a": _OK,
    "b": UNKNOWN,
    "c": {**_OK, "count": UNKNOWN},
    "x": _OK,
    "prepare": _OK,
    "detect": _OK,
}
_WORDS = (
    *("a", "b", "c", "x", "a.ok", "b.count", "c.count", "a.rows", "a.any", "None", "True", "null", "true", "1", "-1"),
    *("'x'", "0x1f", "1e9", "1j", "...", "b'x'", "'\\d'", "[1, 2]", "[]", "f'{a}'", "lambda: 1", "a()", "a[0]", "1if"),
)
_OPERATORS = ("and", "or", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is not", "+", ",", ":=", "if", "\n")


def _guard(rng: Random) -> str:
    if rng.random() < 0.5:
        return mutating.tokens(rng, rng.choice(corpus.guards()), corpus.guards())
    return _expression(rng, 4)


def _expression(rng: Random, depth: int) -> str:
    if not depth or rng.random() < 0.3:
        return rng.choice(_WORDS) if rng.random() < 0.95 else mutating.text(rng)
    left, right = _expression(rng, depth - 1), _expression(rng, depth - 1)
    sign = rng.choice(_OPERATORS)
    made = (f"{left} {sign} {right}", f"not {left}", f"({left}) {sign} {right}", f"[{left}, {right}]", f"- {left}")
    return rng.choice(made)


def _ask(text: str) -> None:
    where = Mark("p.yml", 3, 7)
    try:
        found = guard.parse(text, where)
    except PlanError as exc:
        assert all(7 <= one.where.column <= 7 + len(text) + 1 for one in exc.problems), exc
        raise
    for one in guard.check(found, SHAPE):
        assert 7 <= one.where.column <= 7 + len(text), one
    verdict = guard.evaluate(found, SCOPE)
    assert verdict.holds in (True, False, None) and verdict == guard.evaluate(found, SCOPE)


_PARTS = ("${params.a}", "${ env.HOME }", "${steps.x.rows.0.name}", "$${", "${", "}", "${item}", "${run.started}", "x")
_SCOPE: Mapping[str, Any] = {
    "params": {"a": 1, "list": [1, [2, {"k": None}]]}, "env": {"HOME": "/h"}, "item": UNKNOWN, "inputs": {},
    "steps": {"x": {"rows": [{"name": "n"}]}}, "run": {"started": "now"},
}  # fmt: skip


def _value(rng: Random) -> Any:
    return _tree(rng, 3)


def _tree(rng: Random, depth: int) -> Any:
    if depth and rng.random() < 0.3:
        return {mutating.text(rng): _tree(rng, depth - 1) for _ in range(rng.randrange(3))}
    if depth and rng.random() < 0.3:
        return [_tree(rng, depth - 1) for _ in range(rng.randrange(3))]
    if rng.random() < 0.3:
        names = [rng.choice(("params", "list", "0", "1", "99", "k", "a", "x", mutating.text(rng))) for _ in range(4)]
        return "${" + ".".join(["params", *names[: rng.randrange(5)]]) + "}"
    joined = "".join(rng.choice(_PARTS) for _ in range(rng.randrange(1, 4)))
    return mutating.tokens(rng, joined, _PARTS) if rng.random() < 0.7 else mutating.anything(rng, 1)


def _resolve(data: Any) -> None:
    parsed = values.parse(data)
    assert all(ref.names[0] in values.ROOTS for _, ref in values.refs(parsed))
    try:
        found = values.resolve(parsed, _SCOPE)
    except KeyError as exc:  # as its docstring says
        assert exc.args[0].split(".")[0] in values.ROOTS
        return
    assert values.has_unknown(found) in (True, False)


YAML = Target("yaml", _yaml, _read, weight=15)
LAYOUT = Target("layout", _with_odd_space, _lay_out, weight=10)
PLAN = Target("plan", _yaml, _load, weight=8)
GUARD = Target("guard", _guard, _ask, weight=12)
VALUES = Target("values", _value, _resolve, weight=12, allowed=(values.BadValue,))
