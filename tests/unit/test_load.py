"""A plan file to a Plan, or all that is wrong with it. tests/cases/validate holds the mistakes users make."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import PlanError, Problem, UsageError
from runner.language import expand
from runner.language.load import load
from runner.language.scope import lookup
from runner.language.source import Document
from runner.model import UNKNOWN, Plan, Retry, Step
from runner.report.problems import text as text_of
from runner.values import Ref

CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "cases" / "validate").glob("*/plan.yml"))
UPDATE = bool(os.environ.get("PLANRUN_UPDATE_CASES"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(
    text: str, *, sets: Mapping[str, str] | Sequence[str] = (), env: Mapping[str, str] | None = None, **more: Any
) -> Plan:
    Path("plan.yml").write_text(text)
    return load(Path("plan.yml"), sets=sets, env=env or {}, **more)


def problems(text: str, **more: Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        plan(text, **more)
    assert list(caught.value.problems) == sorted(set(caught.value.problems))
    return [f"{p.where.line}:{p.where.column} {p.message}" for p in caught.value.problems]


ECHO = "uses: command, with: {argv: [echo]}"


# ------------------------------------------------------------------ the cases


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mistake(case: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(case, folder / "case")
    monkeypatch.chdir(folder / "case")
    (folder / ".git").rmdir()
    with pytest.raises(PlanError) as caught:
        load(Path("plan.yml"), env={"HOME": "/home/joe"})
    told = text_of(caught.value.problems, source)
    if UPDATE:
        (case / "expected.txt").write_text(told)
    assert told == (case / "expected.txt").read_text()
    assert "canary" not in told


def source(file: str) -> str | None:
    return Path(file).read_text() if Path(file).exists() else None


# ------------------------------------------------------------------ what a plan becomes


def test_the_backup_block_alone_is_a_plan_of_one_step() -> None:
    made = plan(
        "backup:\n  enabled: true\n  path: ../backups\n  format: sql\n  compress: false\n  retention_days: 30\n"
    )
    assert made.name == "plan"
    (step,) = made.steps
    assert (step.id, step.template, str(step.where)) == ("backup", "backup", "plan.yml:1:1")
    assert step.inputs["path"] == "../backups"
    assert step.inputs["prefix"] == "_cdc_"
    assert [inner.kind for inner in step.steps] == ["find_tables", "pg_dump", "retention"]


def test_the_backup_block_gives_the_settings_of_backup_steps() -> None:
    made = plan(
        "backup: {path: ./a, jobs: 3}\nsteps:\n"
        "  - {id: one, uses: backup}\n  - {id: two, uses: backup, with: {path: ./b}}\n"
    )
    assert [(s.inputs["path"], s.inputs["jobs"]) for s in made.steps] == [("./a", 3), ("./b", 3)]


def test_everything_a_step_may_say() -> None:
    made = plan(
        "name: all\ndescription: d\njournal: ./runs.jsonl\nconnections: {target: {service: prod, dbname: d}}\n"
        "steps:\n"
        "  - {id: find, uses: find_tables, with: {prefix: a}}\n"
        "  - id: one\n    description: what\n    when: find.ok and find.count > 0\n    on_error: warn\n"
        "    retry: {attempts: 4, delay: 250ms, on: [lock]}\n    timeout: 5min\n"
        "    for_each: find.tables\n    jobs: 4\n    uses: command\n    with: {argv: [echo, '${item.name}']}\n"
        "rollback:\n  - {id: back, uses: command, with: {argv: [echo]}}\n"
    )
    step = made.steps[1]
    assert (made.name, made.description, made.journal) == ("all", "d", "./runs.jsonl")
    assert made.connections == {"target": {"service": "prod", "dbname": "d"}}
    assert (step.description, step.on_error, step.jobs, step.timeout) == ("what", "warn", 4, 300.0)
    assert step.retry == Retry(attempts=4, delay=0.25, on=("lock",))
    assert step.for_each == Ref(("steps", "find", "tables"), "find.tables")
    assert str(step.when.where) == "plan.yml:9:11"
    assert made.rollback[0].id == "back"


def test_params_and_environment() -> None:
    text = (
        "params:\n  n: {type: integer, default: 2}\n  home: {type: string, default: '${env.HOME}/x'}\n"
        "  list: {type: array, default: [a]}\n  maybe: {type: string, required: false}\n"
        f"steps:\n  - {{id: a, timeout: '${{params.n}}', {ECHO}}}\n"
    )
    made = plan(text, env={"HOME": "/h", "OTHER": "x"})
    assert made.params == {"n": 2, "home": "/h/x", "list": ["a"], "maybe": None}
    assert made.env == {"HOME": "/h"}
    assert made.steps[0].timeout == 2.0
    made = plan(text, env={"HOME": "/h"}, sets={"n": "7", "list": "[b, c]", "params.maybe": "7"})
    assert made.params == {"n": 7, "home": "/h/x", "list": ["b", "c"], "maybe": "7"}


def test_set_reaches_into_the_plan() -> None:
    text = "backup: {path: ./a, compress: false}\nconnections: {target: {host: prod}}\n"
    sets = ["backup.path=/srv/b", "backup.compress=true", "backup.prefix=123", "connections.target.port=1", "name=x"]
    made = plan(text, sets=sets)
    assert made.steps[0].inputs["path"] == "/srv/b"
    assert made.steps[0].inputs["compress"] is True
    assert made.steps[0].inputs["prefix"] == "123"
    assert made.connections["target"] == {"host": "prod", "port": "1"}
    assert made.name == "x"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("pth=x", "--set pth:1:1: PR0206 there is no param or setting 'pth'\n  hint: did you mean 'path'?"),
        ("n=x", '--set n:1:1: PR0112 n: "x" is not an integer'),
        ("backup.pat=x", "--set backup.pat:1:1: PR0110 'pat' is not known here\n  hint: did you mean 'path'?"),
        ("steps.a.with=x", "--set steps.a.with:1:1: PR0206 there is no param or setting 'steps.a.with'"),
        ("backup.jobs=many", '--set backup.jobs:1:1: PR0112 jobs: "many" is not an integer'),
        (
            "connections.target=postgresql://u:canary@h/d",
            "--set connections.target:1:1: PR0120 a connection is libpq parameters",
        ),
    ],
)
def test_a_wrong_set(setting: str, expected: str) -> None:
    text = "params: {n: {type: integer, default: 1}, path: {type: string, default: x}}\nbackup: {path: ./a}\n"
    with pytest.raises(PlanError) as caught:
        plan(text, sets=[setting])
    assert str(caught.value).startswith(expected)
    assert "canary" not in str(caught.value)


def test_set_without_a_value_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="has no '='"):
        plan("backup: {path: ./a}\n", sets=["path"])


def test_offline_does_not_need_values() -> None:
    text = (
        f"params: {{n: {{type: integer}}}}\nconnections: {{t: {{host: '${{env.H}}'}}}}\nsteps:\n  - {{id: a, {ECHO}}}\n"
    )
    made = plan(text, offline=True)
    assert made.params == {"n": UNKNOWN}
    assert made.connections == {"t": {"host": "${env.H}"}}
    assert problems(text) == ["1:10 the param 'n' needs a value", "2:26 ${env.H}: the environment has no H"]


def test_a_number_may_come_where_a_text_is_wanted() -> None:
    head = "params: {n: {type: integer, default: 2}, b: {type: boolean, default: true}}\nsteps:\n"
    plan(head + "  - {id: a, uses: command, with: {argv: [echo, '${params.n}']}}\n")
    assert problems(head + "  - {id: a, uses: command, with: {argv: [echo, 2, '${params.b}']}}\n") == [
        "3:48 argv: 2 is not a text",
        "3:51 argv: ${params.b} is not a text",
    ]


def test_a_value_of_the_environment_is_never_shown() -> None:
    text = (
        "params: {n: {type: integer, default: '${env.SECRET}'}}\nsteps:\n"
        f"  - {{id: a, jobs: '${{env.SECRET}}', for_each: [1], timeout: '${{env.SECRET}}', {ECHO}}}\n"
        "  - {id: b, uses: backup, with: {path: ./a, jobs: '${env.SECRET}'}}\n"
        "  - {id: c, uses: find_tables, with: {prefix: a, allow_empty: '${env.SECRET}'}}\n"
    )
    found = problems(text, env={"SECRET": "canary"})
    assert len(found) == 5
    assert "canary" not in "".join(found)


def test_when_true_and_false() -> None:
    made = plan(f"steps:\n  - {{id: a, when: false, {ECHO}}}\n  - {{id: b, when: 'true', {ECHO}}}\n")
    assert [s.when.text for s in made.steps] == ["false", "true"]


def test_a_group_sees_what_is_around_it_and_a_template_does_not() -> None:
    Path("t.yml").write_text("steps:\n  - {id: b, when: a.ok, uses: command, with: {argv: ['${steps.a.output}']}}\n")
    inner = "{id: b, when: a.ok, uses: command, with: {argv: ['${steps.a.output}']}}"
    plan(f"steps:\n  - {{id: a, {ECHO}}}\n  - {{id: g, steps: [{inner}]}}\n")
    assert problems(f"steps:\n  - {{id: a, {ECHO}}}\n  - {{id: g, uses: ./t.yml}}\n") == [
        "2:19 no step 'a' comes before this one",
        "2:55 ${steps.a.output}: no step 'a' comes before this one",
    ]


def test_outputs_of_a_template() -> None:
    Path("t.yml").write_text(
        "inputs: {word: {type: string, default: hi}}\n"
        "outputs:\n  code: '${steps.go.exit_code}'\n  told: {value: 'said ${inputs.word}', description: x}\n"
        "steps:\n  - {id: go, uses: command, with: {argv: [echo, '${inputs.word}']}}\n"
    )
    use = "steps:\n  - {id: t, uses: ./t.yml, with: {word: ho}}\n"
    made = plan(f"{use}  - {{id: a, when: t.code == 0 and t.told == 'x', {ECHO}}}\n")
    assert made.steps[0].inputs == {"word": "ho"}
    assert set(made.steps[0].outputs) == {"code", "told"}
    assert problems(f"steps:\n  - {{id: t, uses: ./t.yml}}\n  - {{id: a, when: t.code == 'x', {ECHO}}}\n") == [
        "3:19 compares a integer with a string"
    ]


def test_files_that_double_at_every_level_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "MAX_STEPS", 500)
    for level in range(18):
        Path(f"t{level}.yml").write_text(
            f"steps:\n  - {{id: a, uses: ./t{level + 1}.yml}}\n  - {{id: b, uses: ./t{level + 1}.yml}}\n"
        )
    Path("t18.yml").write_text(f"steps:\n  - {{id: a, {ECHO}}}\n")
    found = problems("steps:\n  - {id: a, uses: ./t0.yml}\n")
    assert "more than 500 steps after templates are expanded" in "".join(found)


def test_the_digest_is_of_all_files_params_and_settings() -> None:
    Path("base.yml").write_text(f"params: {{n: {{type: integer, default: 1}}}}\nsteps:\n  - {{id: a, {ECHO}}}\n")
    text = "extends: base.yml\n"
    first = plan(text).digest
    assert plan(text).digest == first
    assert (
        len({first, plan(text, sets=["n=2"]).digest, plan(text, sets=["name=x"]).digest, plan(text + "\n").digest}) == 4
    )
    Path("base.yml").write_text(Path("base.yml").read_text() + "# more\n")
    assert plan(text).digest != first


def test_files_under_sql_count_in_the_digest() -> None:
    Path("sql").mkdir()
    Path("sql/a.txt.j2").write_text("one")
    text = "steps:\n  - {id: a, uses: write, with: {to: x, template: a.txt.j2}}\n"
    first = plan(text).digest
    Path("sql/a.txt.j2").write_text("two")
    assert plan(text).digest != first


def test_the_sql_check_is_asked_for_every_kind_step() -> None:
    asked = []

    def check(step: Step, document: Document, root: Path) -> Iterator[Problem]:
        asked.append((step.id, document.data, root == Path.cwd()))
        yield Problem(document.at(("argv", 0)), "not SQL", code="PR0301")

    assert problems(f"steps:\n  - {{id: a, {ECHO}}}\n  - {{id: g, steps: [{{id: b, {ECHO}}}]}}\n", sql_check=check) == [
        "2:42 not SQL",
        "3:58 not SQL",
    ]
    assert asked == [("a", {"argv": ["echo"]}, True), ("b", {"argv": ["echo"]}, True)]


def test_a_plan_of_3000_steps() -> None:
    values = "with: {{argv: [echo, '${{steps.s0.output}}']}}"
    step = "  - {{id: s{0}, when: s0.ok and not s0.failed, uses: command, " + values + "}}\n"
    text = f"steps:\n  - {{id: s0, {ECHO}}}\n" + "".join(step.format(i) for i in range(1, 3000))
    began = time.process_time()
    assert len(plan(text).steps) == 3000
    assert time.process_time() - began < 5


# ------------------------------------------------------------------ whatever a plan holds

WHOLE: dict[str, Any] = {
    "name": "x",
    "journal": "file",
    "connections": {"target": {"host": "p", "port": 1}},
    "params": {"a": {"type": "string", "default": "x"}, "n": {"type": ["integer", "null"], "default": 1}},
    "backup": {"path": "./a", "jobs": 2},
    "steps": [
        {"id": "f", "uses": "find_tables", "with": {"prefix": "a"}},
        {"id": "e", "for_each": "f.tables", "jobs": 2, "uses": "command", "with": {"argv": ["${item.name}"]}},
        {
            "id": "g",
            "when": "f.ok and f.count > 0",
            "steps": [{"id": "i", "uses": "sql", "with": {"text": "select 1"}}],
        },
        {"id": "b", "uses": "backup", "on_error": "warn"},
        {"id": "t", "uses": "./t.yml", "with": {"x": 1}},
        {"id": "r", "uses": "command", "with": {"argv": ["a"]}, "retry": {"delay": "1s"}, "timeout": "5min"},
    ],
    "rollback": [{"id": "r", "uses": "write", "with": {"to": "x", "text": "y"}}],
}
TEMPLATE: dict[str, Any] = {
    "inputs": {"x": {"type": "integer"}, "y": {"default": "${env.X}"}},
    "outputs": {"o": "${steps.a.output}", "p": {"value": 1, "description": "d"}},
    "steps": [{"id": "a", "uses": "command", "with": {"argv": ["${inputs.x}"]}}],
}
ODD: list[Any] = [
    *(None, True, 0, -1, 3.5, "", "x", "${", "${params.a}", "${steps.f.tables}", "${item}", "${env.X}", "${run.id}"),
    *("f.tables", "f.ok", "a b", "./plan.yml", "../x.yml", [], {}, [[]], [{}], {"a": None}, {"value": {}}, ["a", "a"]),
    *(
        "backup",
        "command",
        "5min",
        "(",
        "a" * 300,
        {"type": []},
        {"type": [{}]},
        {"enum": []},
        {"pattern": "("},
        10**18,
    ),
]


def ways(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from ways(value, (*path, key))


def damage(data: Any, draw: Any) -> Any:
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(0, 2))):
        if not (known := list(ways(data))):
            return data
        *path, last = draw(st.sampled_from(known))
        parent = lookup(data, tuple(path))
        match draw(st.sampled_from(["replace", "replace", "remove", "rename"])):
            case "replace":
                parent[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["with", "uses", "steps", "when", "id", "password", "A b"]))] = parent.pop(
                    last
                )
            case _:
                del parent[last]
    return data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.booleans())
def test_whatever_a_plan_holds_it_loads_or_is_told_what_is_wrong(data: st.DataObject, offline: bool) -> None:
    Path("t.yml").write_text(json.dumps(damage(TEMPLATE, data.draw)))
    try:
        plan(json.dumps(damage(WHOLE, data.draw)), env={"X": "1"}, offline=offline)
    except PlanError as exc:
        assert exc.problems == tuple(sorted(set(exc.problems)))
