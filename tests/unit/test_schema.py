"""The JSON schema is derived, works in editors, and our own reports say each mistake once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import pytest

from runner import kinds, resources
from runner.kinds.base import param
from runner.language import schema
from runner.language.checking import Checker
from runner.language.schema import of_type, params_schema, plan_schema, template_schema
from runner.language.source import Document, parse


@dataclass(frozen=True, kw_only=True)
class Params:
    name: str = param("A name.", minLength=2)
    jobs: int = param("How many.", default=2, minimum=1)
    mode: Literal["a", "b"] = param("Which.", default="a")
    zip: bool | Literal["gzip"] = param("Compression.", default=False)
    tables: tuple[str, ...] = param("Tables.", default=(), uniqueItems=True)
    wait: float = param("How long.", default="5s", unit="duration")
    big: int | None = param("How big.", default=None, unit="size")
    maybe: str | None = param("Perhaps.", default=None)
    values: Mapping[str, Any] = field(default_factory=dict, metadata={"description": "Values."})
    to: str = param("A folder.", default=".", path=True)


def problems(text: str, made: dict[str, Any]) -> list[str]:
    document: Document = parse(text, "p")
    return [f"{p.where.line}:{p.where.column} {p.message}" for p in Checker(made).problems(document.data, document)]


# ------------------------------------------------------------------ params


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, {"type": "string"}),
        (Any, {}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, str], {"type": "object", "additionalProperties": {"type": "string"}}),
        (str | None, {"type": ["string", "null"]}),
        (tuple[str, ...] | str, {"type": ["array", "string"], "items": {"type": "string"}}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (bool | Literal["x"] | None, {"enum": [True, False, "x", None]}),
        (Path, {"type": "string"}),
    ],
)
def test_types(hint: Any, expected: dict[str, Any]) -> None:
    assert of_type(hint) == expected


def test_a_type_that_yaml_cannot_hold() -> None:
    with pytest.raises(TypeError):
        of_type(bytes)


def test_params_become_a_closed_object() -> None:
    made = params_schema(Params)
    assert made["required"] == ["name"]
    assert made["additionalProperties"] is False
    assert made["properties"]["tables"]["default"] == []
    assert made["properties"]["wait"] == {
        "type": ["number", "string"],
        "pattern": made["properties"]["wait"]["pattern"],
        "description": "How long.",
        "default": "5s",
    }
    assert made["properties"]["to"] == {"type": "string", "description": "A folder.", "default": "."}


def test_an_unknown_word_is_a_mistake_of_the_kind() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        name: str = param("x", minLenght=1)

    with pytest.raises(TypeError, match="minLenght"):
        params_schema(Wrong)


def test_one_message_for_each_mistake() -> None:
    text = (
        "name: x\njobs: 0\nmode: c\nzip: zstd\ntables: [a, a]\n"
        "wait: soon\nbig: 3 parsecs\nmaybe: 5\nvalues: []\nmore: 1\n"
    )
    assert sorted(problems(text, params_schema(Params))) == [
        "10:1 'more' is not known here",
        "1:7 name: \"x\" is shorter than 2 characters",
        "2:7 jobs: 0 is less than 1",
        '3:7 mode: "c" is not one of "a", "b"',
        '4:6 zip: "zstd" is not one of true, false, "gzip"',
        '5:9 tables: ["a", "a"] contains an item twice',
        '6:7 wait: "soon" is not a duration',
        '7:6 big: "3 parsecs" is not a size',
        "8:8 maybe: 5 is not a text or null",
        "9:9 values: [] is not a mapping",
    ]  # fmt: skip


def test_a_typing_mistake_in_a_required_key_is_one_problem() -> None:
    assert problems("nam: xx\n", params_schema(Params)) == ["1:1 'nam' is not known here"]


def test_references_fit_everything_in_an_editor() -> None:
    made = params_schema(Params, refs=True)
    whole = {**made, "$defs": {"reference": {"type": "string", "pattern": schema.REFERENCE}}}
    validator = jsonschema_rs.Draft202012Validator(whole)
    ref = "${params.x}"
    for name in made["properties"]:
        assert validator.is_valid({"name": "xx", name: ref}), name
    assert validator.is_valid({"name": ref, "tables": [ref, "a"], "values": {"a": ref}})
    for name, value in (("jobs", "many"), ("mode", "c"), ("tables", "a"), ("wait", "soon"), ("zip", "x")):
        assert not validator.is_valid({"name": "xx", name: value}), name


# ------------------------------------------------------------------ the published schema


def valid(data: Any, made: dict[str, Any] | None = None) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(made or plan_schema()).is_valid(data))


STEP = {"id": "a", "uses": "command", "with": {"argv": ["echo"]}}


@pytest.mark.parametrize(
    "data",
    [
        {"steps": [STEP]},
        {"backup": {"path": "./a", "enabled": True, "format": "sql", "compress": False, "retention_days": 30}},
        {"backup": {"path": "${params.x}", "retention_days": "${params.n}"}},
        {"extends": "base.yml", "connections": {"target": {"service": "prod", "port": 5432}}},
        {"steps": [{"id": "g", "when": "a.ok", "steps": [STEP]}]},
        {"steps": [{"id": "t", "uses": "./t.yml", "with": {"anything": 1}}]},
        {"steps": [{**STEP, "timeout": "5min", "retry": {"attempts": 3}, "for_each": [1], "jobs": "${params.n}"}]},
        {"params": {"a": {"type": "string"}, "b": {"type": ["integer", "null"]}}, "steps": [STEP], "rollback": [STEP]},
    ],
)
def test_good_plans(data: Any) -> None:
    assert valid(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"steps": []},
        {"steps": [{"id": "a", "uses": "command"}]},
        {"steps": [{**STEP, "uses": "comand"}]},
        {"steps": [{**STEP, "whem": "a.ok"}]},
        {"steps": [{**STEP, "with": {"argv": "echo"}}]},
        {"steps": [{**STEP, "timeout": "soon"}]},
        {"steps": [{**STEP, "id": "none"}]},
        {"steps": [STEP], "connections": {"target": {"password": "x"}}},
        {"backup": {"pth": "x"}},
        {"params": {"a": {"type": "text"}}, "steps": [STEP]},
    ],
)
def test_wrong_plans(data: Any) -> None:
    assert not valid(data)


def test_the_published_schemas_are_valid_and_the_same_each_time() -> None:
    for made in (plan_schema, template_schema):
        jsonschema_rs.meta.validate(made())
        assert json.dumps(made()) == json.dumps(made())


def test_the_committed_schemas_are_the_derived_ones() -> None:
    for name, made in (("plan", plan_schema()), ("template", template_schema())):
        committed = (resources.SCHEMAS / f"{name}.schema.json").read_text()
        assert committed == schema.as_text(made), f"run: planrun schema > schemas/{name}.schema.json"


def test_bundled_templates_fit_the_template_schema() -> None:
    for name, path in schema.bundled_templates().items():
        assert valid(parse(path.read_bytes(), name).data, template_schema()), name


def test_everything_an_editor_shows_has_a_text() -> None:
    def bare(made: Any, path: str) -> list[str]:
        if not isinstance(made, dict):
            return []
        own = [f"{path}/{k}" for k, v in made.get("properties", {}).items() if not ({"description", "$ref"} & set(v))]
        return own + [one for key, part in made.items() if key != "default" for one in bare(part, f"{path}/{key}")]

    libpq = "/properties/connections/additionalProperties/"
    assert [path for path in bare(plan_schema(), "") if libpq not in path and "/items/" not in path] == []


def test_kinds_are_named_without_being_imported_and_found_lazily() -> None:
    assert "command" in kinds.names()
    assert "base" not in kinds.names()
    assert set(kinds.KINDS) == set(kinds.names())
    assert len(kinds.KINDS) == len(kinds.names())
    assert kinds.KINDS["command"] is kinds.get("command")
    with pytest.raises(KeyError):
        kinds.get("base")


@pytest.mark.parametrize("name", kinds.names())
def test_every_kind_is_whole(name: str) -> None:
    kind = kinds.get(name)
    assert (kind.__doc__ or "").strip().split("\n")[0].endswith((".", ";", ":"))
    params_schema(kind.Params)
    for word in ("look", "render", "give"):
        assert callable(getattr(kind, word))
    assert all(output.type in (*schema.TYPES, "") for output in kind.OUTPUTS.values())
