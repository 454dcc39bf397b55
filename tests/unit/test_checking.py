"""A value of the wrong type gets the line that was meant, and a template of steps is checked by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import main
from runner.errors import PlanError
from runner.language.checking import _correct_value
from runner.language.load import is_template
from runner.planfile import open_plan, template_problems


@pytest.mark.parametrize(
    ("key", "value", "types", "hint"),
    [
        ("argv", "npx drizzle-kit push", ["array"], "write argv: [npx, drizzle-kit, push]"),
        ("argv", "a 'b c' --yes 5", ["array"], 'write argv: [a, "b c", --yes, "5"]'),
        ("argv", "a | b", ["array"], 'write argv: [sh, -c, "a | b"]'),
        ("argv", 'echo "', ["array"], 'write argv: [sh, -c, "echo \\""]'),
        ("tables", "users, Orders", ["array", "null"], "write tables: [users, Orders]"),
        ("tables", "no", ["array"], 'write tables: ["no"]'),
        ("jobs", "2", ["integer"], "write jobs: 2"),
        ("jobs", "2.5", ["integer"], ""),
        ("delay", "2.5", ["number", "null"], "write delay: 2.5"),
        ("enabled", "true", ["boolean"], "write enabled: true"),
        ("jobs", "true", ["integer"], ""),
        ("jobs", "two", ["integer"], ""),
        ("argv", " ", ["array"], ""),
        ("argv", 5, ["array"], ""),
    ],
)
def test_the_line_that_was_meant(key: str, value: object, types: list[str], hint: str) -> None:
    assert _correct_value((key,), value, types) == hint
    assert _correct_value((), value, types) == ""


def problems(folder: Path, plan: str) -> list[tuple[str, str]]:
    (folder / "p.yml").write_text(plan)
    with pytest.raises(PlanError) as caught:
        open_plan(folder / "p.yml", env={})
    return [(one.message, one.hint) for one in caught.value.problems]


def test_a_plan_gets_the_hint_and_no_reference_is_quoted(tmp_path: Path) -> None:
    with_text = 'steps:\n  - {id: a, uses: command, with: {argv: "npx migrate"}}\n'
    assert problems(tmp_path, with_text) == [('argv: "npx migrate" is not a list', "write argv: [npx, migrate]")]
    with_param = "params: {p: {type: string, default: secret}}\n"
    with_param += "steps:\n  - {id: a, uses: command, with: {argv: '${params.p}'}}\n"
    ((message, hint),) = problems(tmp_path, with_param)
    assert "secret" not in message + hint and hint == ""


TEMPLATE = """\
inputs:
  table: {type: string}
  many: {type: array, default: []}
steps:
  - {id: save, uses: pg_dump, with: {tables: ["${inputs.table}"], to: ./backups, connection: of_a_plan}}
  - {id: all, uses: sql, when: save.ok, for_each: inputs.many, with: {text: select 1}}
outputs:
  count: "${steps.save.count}"
"""


def test_a_template_is_valid_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "save.yml"
    path.write_text(TEMPLATE)
    assert template_problems(path, {}) == ()
    assert main(["validate", str(path)]) == 0 and main(["lint", str(path)]) == 0
    assert "a template: its SQL is looked at with each plan that uses it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inputs.table", "inputs.tabel", "tabel"),
        ("to:", "too:", "'too' is not known here"),
        ("steps.save", "steps.sav", "no step 'sav'"),
        ("save.ok", "nothing.ok", "nothing"),
        ("select 1", "selec 1", "syntax error"),
        ("uses: sql", "uses: sqll", "sqll"),
    ],
)
def test_what_is_wrong_in_a_template_is_told_with_its_place(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "save.yml"
    path.write_text(TEMPLATE.replace(old, new))
    assert main(["validate", str(path)]) == 5
    said = capsys.readouterr().err
    assert message in said and f"{path}:" in said and "1 problem;" in said
    assert main(["lint", str(path)]) == 5


def test_a_plan_is_no_template(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    for text, meant in ((TEMPLATE, True), ("params: {}\n" + TEMPLATE, False), ("steps: []\n", False), ("[", False)):
        path.write_text(text)
        assert is_template(path) is meant
    assert not is_template(tmp_path / "nothing.yml")
    path.write_text("params: {}\n" + TEMPLATE)
    assert main(["validate", str(path)]) == 5


def test_every_template_of_the_package_is_valid_by_itself() -> None:
    for path in (Path(__file__).parents[2] / "plans" / "steps").glob("*.yml"):
        assert template_problems(path, {}) == ()
