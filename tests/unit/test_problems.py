"""Problems as text with a frame, and as JSON data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Mark, Problem
from runner.report.problems import as_json, code_frame, count_text, from_disk, redact
from runner.report.problems import text as text_of

TEXT = "name: x\nsteps:\n  - id: a\n    uses: sqll\n"


def problem(line: int, column: int, message: str = "wrong", hint: str = "", file: str = "p.yml") -> Problem:
    return Problem(Mark(file, line, column), message, hint, code="PR0110")


def source(file: str) -> str | None:
    return TEXT if file == "p.yml" else None


def test_a_problem_with_its_frame_and_hint() -> None:
    told = text_of([problem(4, 11, "there is no kind 'sqll'", "did you mean 'sql'?")], source)
    assert told == (
        "p.yml:4:11: PR0110 there is no kind 'sqll'\n"
        "  3 |   - id: a\n"
        "  4 |     uses: sqll\n"
        "    |           ^\n"
        "  hint: did you mean 'sql'?\n"
    )


def test_a_name_with_a_line_break_looks_like_no_other_problem() -> None:
    told = text_of([problem(9, 1, "no 'x\np.yml:1:1: faked'", "do\nthis", file="a\nb.yml")], source)
    assert told == "a | b.yml:9:1: PR0110 no 'x\n    p.yml:1:1: faked'\n  hint: do\n    this\n"


def test_what_comes_from_a_setting_has_no_line() -> None:
    assert text_of([problem(1, 1, file="--set a.b")], source) == "--set a.b: PR0110 wrong\n"


def test_no_frame_shows_the_address_of_a_recipient() -> None:
    for line in (
        "  - {webhook: https://h.example.com/tok9, on: [exit]}",
        "    url: 'slack://tok9/b/c'",
        "ping: http://h/tok9",
    ):
        found = code_frame(line, 1, 3)
        assert "tok9" not in found and "***" in found, found
    assert "${env.HOOK}" in code_frame('  - {webhook: "${env.HOOK}"}', 1, 3)


def test_no_frame_without_the_line() -> None:
    assert code_frame(TEXT, 99, 1) == code_frame(None, 1, 1) == code_frame("", 1, 1) == ""


def test_the_caret_stands_under_wide_and_odd_characters() -> None:
    rows = code_frame("a:\t表e\u0301x: 1\n", 1, 7).split("\n")
    assert rows[0] == "  1 | a: 表e\u0301x: 1"
    assert rows[1] == "    |       ^".replace("      ^", "       ^") or rows[1].endswith("^")
    assert code_frame("a\x1b[31m: 1", 1, 1).count("\x1b") == 0
    assert "\u202e" not in code_frame("a: \u202eevil", 1, 1)


def test_a_long_line_is_cut_around_the_place() -> None:
    frame = code_frame("x" * 500 + "HERE" + "y" * 500, 1, 501)
    line, caret = frame.split("\n")[:2]
    assert len(line) < 120
    assert line[caret.index("^")] == "H"


@pytest.mark.parametrize(
    "line",
    [
        "  password: canary",
        '  password: "a canary, and more"',
        "  x: {sslpassword: canary}",
        "  url: postgresql://joe:canary@db/app",
        "  url: postgresql://joe:top canary@x@db/app",
        "  dsn: host=db password=canary",
        "  API_TOKEN: canary",
        "  pasword: canary",
    ],
)
def test_a_secret_is_never_shown(line: str) -> None:
    assert "canary" not in redact(line)
    assert "canary" not in code_frame(f"a: 1\n{line}\nb: 2\n", 3, 1)


@pytest.mark.parametrize("head", ["password:", "password: |", "  'password': >-"])
def test_a_secret_on_the_line_below_is_never_shown(head: str) -> None:
    assert "canary" not in code_frame(f"{head}\n  canary\nx: 1\n", 1, 1)


def test_what_is_no_secret_is_shown() -> None:
    assert redact("passfile: ~/.pgpass") == "passfile: ~/.pgpass"
    assert redact("  service: prod") == "  service: prod"


def test_the_text_of_a_file_on_disk(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(TEXT)
    (tmp_path / "bad.yml").write_bytes(b"\xff")
    assert from_disk(str(tmp_path / "p.yml")) == TEXT
    assert "inputs:" in (from_disk("planrun:plans/steps/backup.yml") or "")
    for name in ("bad.yml", "none.yml", ".", "a\0b"):
        assert from_disk(str(tmp_path / name)) is None


def test_as_json() -> None:
    data = as_json([problem(4, 11, "wrong", "do")])
    assert json.loads(json.dumps(data)) == {
        "format_version": 1,
        "state": "invalid",
        "plan": None,
        "run": None,
        "target": None,
        "databases": [],
        "valid": False,
        "problems": [{"file": "p.yml", "line": 4, "column": 11, "message": "wrong", "hint": "do", "code": "PR0110"}],
    }
    assert as_json([])["valid"] is True


@given(st.text(), st.integers(1, 5), st.integers(1, 80))
def test_frames_never_fail(text: str, line: int, column: int) -> None:
    frame = code_frame(text, line, column)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", frame)


def test_problems_are_counted_with_where_to_read_more() -> None:
    assert count_text([problem(1, 1), problem(2, 1)]) == "2 problems; what PR0110 means: planrun explain PR0110"
