"""The published schema means the same to the reference implementation of the standard as to the one that runs.

Editors check a plan with other implementations: what one of them calls right and planrun wrong, or the other way round,
would be a riddle to the author of the plan.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import PlanError
from runner.language import source

ROOT = Path(__file__).parents[2]
SCHEMAS = {name: json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()) for name in ("plan", "template")}
REFERENCE = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
RUNS = {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}

TEXTS = (
    "",
    "a",
    "a b",
    "${params.x}",
    "${steps.a.b}",
    "5min",
    "10",
    "64MB",
    "-1",
    "é",
    "\U0001f600" * 3,
    "a\n",
    "\n",
    "~",
    "_x",
    "A-b",
    "\u0663min",
    "1\u0663MB",
    "\u0663",
    "step\u017f",
    "${params.\u00e9}",
    "${params.x}\n",
    "10 min\n",
    "1e3",
    "\u2028",
    "a\u00a0b",
)
VALUES = st.one_of(
    st.sampled_from(
        [*TEXTS, None, True, False, 0, 1, -1, 1.0, 1.5, 1e30, 10**20, [], {}, [1, 1], [True, 1], ["a"], {"a": 1}]
    ),
    st.text(max_size=4),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
)


def documents() -> Iterator[tuple[str, str, Any]]:
    files = [*(ROOT / "plans").rglob("*.yml"), *(ROOT / "tests" / "cases").rglob("*.yml")]
    for file in sorted(files):
        try:
            data = source.parse(file.read_bytes(), file.name).data
        except PlanError:
            continue
        kind = "template" if "steps" in file.parts[-2:-1] or (isinstance(data, dict) and "inputs" in data) else "plan"
        yield file.relative_to(ROOT).as_posix(), kind, data


DOCUMENTS = list(documents())


def agree(kind: str, data: Any) -> None:
    assert REFERENCE[kind].is_valid(data) == RUNS[kind].is_valid(data), data


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schema_itself_is_valid(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[kind])
    assert SCHEMAS[kind]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(("file", "kind", "data"), DOCUMENTS, ids=[file for file, *_ in DOCUMENTS])
def test_both_say_the_same_of_every_plan_here(file: str, kind: str, data: Any) -> None:
    agree(kind, data)


@pytest.mark.parametrize(
    "key", ["id", "uses", "when", "for_each", "jobs", "timeout", "on_error", "description", "retry", "with"]
)
def test_both_say_the_same_of_every_text_under(key: str) -> None:
    """Also where one of them might take a digit of another script for a digit, or a line break for the end."""
    others: list[Any] = [None, 1.0, True, [], {}]
    for text in (*TEXTS, *others):
        agree("plan", {"steps": [{"id": "a", "uses": "sql", "with": {"text": "select 1"}, key: text}]})
        agree("plan", {"steps": [{"id": "a", "uses": "sql", "with": {"text": "select 1"}, "retry": {"delay": text}}]})
        agree("plan", {"name": text, "backup": {"path": text, "jobs": text, "keep_within": text}})
        agree("plan", {"params": {"x": {"type": text, "pattern": text, "default": text}}, "steps": []})


def spots(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, key
        yield from spots(value)


@settings(max_examples=300)
@given(st.data())
def test_both_say_the_same_of_mutations(data: st.DataObject) -> None:
    _, kind, document = data.draw(st.sampled_from(DOCUMENTS))
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        every = list(spots(changed))
        if not every:
            break
        container, key = data.draw(st.sampled_from(every))
        match data.draw(st.sampled_from(["put", "remove", "add"])):
            case "put":
                container[key] = copy.deepcopy(data.draw(VALUES))
            case "remove":
                del container[key]
            case "add" if isinstance(container, dict):
                container[
                    data.draw(st.sampled_from(["steps", "when", "with", "jobs", "timeout", "retry", "x", ""]))
                ] = copy.deepcopy(data.draw(VALUES))
    agree(kind, changed)
