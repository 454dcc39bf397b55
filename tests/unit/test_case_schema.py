"""The schema of cases that editors read: committed as it is made, and at one with what `planrun test` checks."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from runner import resources
from runner.language import source
from runner.language.case_schema import case_checks, case_schema
from runner.language.schema import as_text

CASES = [
    *sorted((resources.PLANS / "tests").glob("*.yml")),
    *sorted((Path(__file__).parents[1] / "plan_cases" / "tests").glob("*.yml")),
]


def test_the_committed_file_is_what_this_version_makes() -> None:
    assert (resources.ROOT / "schemas" / "case.schema.json").read_text() == as_text(case_schema())


@pytest.mark.parametrize("file", CASES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_an_editor_takes_every_case_that_there_is(file: Path) -> None:
    jsonschema_rs.Draft202012Validator(case_schema()).validate(source.read(file, file.name)[0].data)


@pytest.mark.parametrize(
    "case",
    [
        {"expect": {"exit_code": "${params.code}"}},
        {"expect": {"rows": {"t": "${params.rows}"}}, "timeout": "${params.time}"},
        {"cases": [{"name": "a", "postgres": "${params.major}"}]},
    ],
)
def test_an_editor_takes_a_param_wherever_a_value_may_stand(case: object) -> None:
    jsonschema_rs.Draft202012Validator(case_schema()).validate(case)


@pytest.mark.parametrize(
    "case",
    [
        {"expct": {}}, {"run": "aply"}, {"run": [{"run": "aply"}]}, {"fail": {"step": "a"}},
        {"databases": {"target": 1}},
        {"expect": {"steps": {"a": "okay"}}}, {"expect": {"rows": {"t": -1}}}, {"cases": []}, {"cases": [{"nme": "a"}]},
    ],
)  # fmt: skip
def test_an_editor_marks_what_planrun_refuses(case: object) -> None:
    assert not jsonschema_rs.Draft202012Validator(case_schema()).is_valid(case)


def test_every_word_says_what_it_is_for() -> None:
    def without(schema: object, path: str = "") -> list[str]:
        if not isinstance(schema, dict):
            return []
        named = {f"{path}.{key}": part for key, part in schema.get("properties", {}).items()}
        bare = [name for name, part in named.items() if not part.get("description")]
        inner = [*named.items(), *((f"{path}[]", schema.get(key)) for key in ("items", "additionalProperties"))]
        return [*bare, *(found for name, part in inner for found in without(part, name))]

    assert without(case_checks()) == []
    assert json.loads(as_text(case_schema()))["title"] == "planrun cases"
