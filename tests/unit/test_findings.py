"""Problems for other tools: paths from the working directory, each once, with a fingerprint that stays."""

from __future__ import annotations

from pathlib import Path

from runner.errors import Mark, Problem
from runner.report.findings import findings, path_from, with_fingerprints
from runner.words import PLAN
from tests.made import HOSTILE, RAW

HOME = Path("/srv/repo")


def problem(file: str, line: int = 3, message: str = "wrong", hint: str = "") -> Problem:
    return Problem(Mark(file, line, 2), message, hint, code="PR0110")


def test_paths_begin_in_the_working_directory() -> None:
    for file in ("plans/p.yml", "./plans//p.yml", "/srv/repo/plans/p.yml", "plans/../plans/p.yml"):
        assert path_from(file, HOME) == "plans/p.yml"
    assert path_from("/srv/other/p.yml", HOME) == "../other/p.yml"
    assert path_from("", HOME) == ""


def test_what_is_in_no_file_is_told_at_the_plan() -> None:
    some = [problem("--set a.b", 1), problem("planrun:plans/steps/backup.yml", 40), problem("/srv/repo/steps/s.yml", 7)]
    every = findings({"plans/p.yml": some}, HOME)
    assert [(one.file, one.line, one.message) for one in every] == [
        ("plans/p.yml", 1, "--set a.b: wrong"),
        ("plans/p.yml", 1, "planrun:plans/steps/backup.yml: wrong"),
        ("steps/s.yml", 7, "wrong"),
    ]


def test_a_hint_names_the_plan_and_no_control_character_is_left() -> None:
    (one,) = findings({"p.yml": [problem("p.yml", message=HOSTILE, hint=f"planrun diff {PLAN}")]}, HOME)
    assert one.message.endswith("\nhint: planrun diff p.yml") and not RAW.search(one.message)


def test_a_problem_of_a_template_that_two_plans_use_is_told_once() -> None:
    assert len(findings({"a.yml": [problem("t.yml")], "b.yml": [problem("t.yml")]}, HOME)) == 1


def test_a_fingerprint_is_unique_and_stays_when_lines_move() -> None:
    def prints(*lines: int) -> list[str]:
        some = [*(problem("p.yml", line) for line in lines), problem("q.yml"), problem("p.yml", message="other")]
        return [each for _, each in with_fingerprints(findings({"p.yml": some}, HOME))]

    assert prints(3, 4) == prints(10, 20) and len(set(prints(3, 4))) == 4
