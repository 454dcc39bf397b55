"""Every error has a code, every code an entry, and the plans of the entries have the error that they stand for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
from runner.cli import COMMANDS, main
from runner.error_codes import CODE, ErrorCode, error_codes
from runner.report.error_page import PARTS, explanation, page

PACKAGE = Path(runner.__file__).parent


def classes_of_errors() -> dict[str, bool]:
    """Return the name of every class of errors, and whether it stands for one kind of error."""
    known = {"PlanrunError": False, "Problem": False}
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while found := {
        node.name: has_code(node) or any(known.get(base, False) for base in bases(node))
        for node in nodes
        if node.name not in known and bases(node) & set(known)
    }:
        known |= found
    return known


def bases(node: ast.ClassDef) -> set[str]:
    return {base.id for base in node.bases if isinstance(base, ast.Name)}


def has_code(node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.Assign) and ast.unparse(one).startswith("CODE = 'PR") for one in node.body)


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node


def test_every_error_has_a_code() -> None:
    classes = classes_of_errors()
    assert {"TargetError", "TemplateFault", "SavedPlanError"} <= set(classes)
    without = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}: {ast.unparse(call.func)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in calls(path)
        if ast.unparse(call.func) in set(classes) - {"PlanError"}  # which has that of its problems
        if not classes[ast.unparse(call.func)] and "code" not in {word.arg for word in call.keywords}
    ]
    assert without == []


def test_every_code_has_an_entry_and_every_entry_is_used() -> None:
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    used = {found for text in texts for found in re.findall(rf'"({CODE.pattern})"', text)}
    assert used == set(error_codes())


@pytest.mark.parametrize("entry", error_codes().values(), ids=lambda entry: entry.code)
def test_an_entry_is_whole(entry: ErrorCode) -> None:
    assert entry.code[:4] in PARTS and not entry.title.endswith(".")
    assert entry.cause.endswith(".") and entry.cure.endswith((".", "`."))
    assert bool(entry.plan) != bool(entry.example)


def test_the_entries_are_in_the_order_of_their_codes() -> None:
    assert list(error_codes()) == sorted(error_codes())


@pytest.mark.parametrize("entry", [one for one in error_codes().values() if one.plan], ids=lambda entry: entry.code)
def test_the_plan_of_an_entry_has_its_error(
    entry: ErrorCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_TOKEN", "a-token-of-16-letters")
    (tmp_path / "p.yml").write_text(entry.plan)
    assert main(["validate", "p.yml"]) == 5
    assert f": {entry.code} " in capsys.readouterr().err


def test_commands_of_the_entries_are_there() -> None:
    texts = " ".join(f"{one.cause} {one.cure}" for one in error_codes().values())
    named = set(re.findall(r"`planrun ([a-z]+)", texts))
    assert len(named) > 5
    assert named <= set(COMMANDS)


def test_an_entry_as_text_and_the_page_hold_all_of_it() -> None:
    entry = error_codes()["PR0301"]
    text = explanation(entry)
    assert all(" ".join(part.split()) in " ".join(text.split()) for part in (entry.title, entry.cause, entry.cure))
    assert entry.plan.strip() in page() and entry.cure in page()
    assert max(map(len, text.splitlines())) <= 80
