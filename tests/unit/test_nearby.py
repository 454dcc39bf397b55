"""The hint of a command that found no plan: what to type instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli import main
from runner.nearby import plan_hint, plans_here

PLAN = "steps:\n  - {id: a, uses: sql, with: {text: select 1}}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "nightly.yml").write_text(PLAN)
    (tmp_path / "plans" / "my prod.yaml").write_text("extends: nightly.yml\n")
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "file", "hint"),
    [
        (".", "nightly.yml", "did you mean plans/nightly.yml?"),
        (".", "plans/nigthly.yml", "did you mean plans/nightly.yml?"),
        (".", "my_prod.yml", "did you mean 'plans/my prod.yaml'?"),
        ("plans", "plans/nightly.yml", "did you mean nightly.yml?"),
        ("empty/deep", "plans/nightly.yml", "from this folder it is ../../plans/nightly.yml"),
        (".", "other.yml", "plans here: plans/nightly.yml, 'plans/my prod.yaml'"),
        (".", "plans", "plans here: plans/nightly.yml, 'plans/my prod.yaml'"),
        (".", "empty", "there is no plan in empty; planrun init writes one"),
        ("empty", "other.yml", "planrun init writes a first plan"),
        ("empty", "/none/plan.yml", "planrun init writes a first plan"),
    ],
)
def test_it_names_a_plan_that_is_there(
    folder: str, file: str, hint: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home / folder)
    assert plan_hint(file) == hint


def test_a_long_list_is_cut(home: Path) -> None:
    for number in range(7):
        (home / f"p{number}.yml").write_text(PLAN)
    assert plans_here() == "plans here: p0.yml, p1.yml, p2.yml, p3.yml and 5 more"


def test_a_pipe_or_a_file_that_cannot_be_read_is_no_plan(home: Path) -> None:
    os.mkfifo(home / "pipe.yml")
    (home / "dangling.yml").symlink_to("nowhere")
    assert plans_here() == "plans here: plans/nightly.yml, 'plans/my prod.yaml'"


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["diff"], 64, "plans here: "),
        (["apply", "plans"], 64, "plans here: "),
        (["validate"], 64, "plans here: "),
        (["validate", "plans"], 5, "plans here: "),
        (["diff", "nightly.yml"], 5, "did you mean plans/nightly.yml?"),
    ],
)
def test_a_command_without_its_plan_says_so(
    words: list[str], code: int, hint: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    assert f"  hint: {hint}" in capsys.readouterr().err
