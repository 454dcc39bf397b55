"""Who gets colours, and that they change no character."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.report.colours import able, colour, show, use_colour
from tests.made import HOSTILE, clean

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.parametrize(
    ("env", "in_pipe", "on_terminal"),
    [
        ({"TERM": "xterm"}, False, True),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
        ({"TERM": "xterm", "CI": "true"}, False, False),
        ({"TERM": "xterm", "CI": "false"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, False, True),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "CI": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "0", "TERM": "xterm"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_who_gets_colours(env: dict[str, str], in_pipe: bool, on_terminal: bool) -> None:
    assert use_colour(terminal=False, env=env) is in_pipe
    assert use_colour(terminal=True, env=env) is on_terminal


def test_a_dumb_terminal_and_ci_are_not_drawn_on() -> None:
    assert able({"TERM": "xterm-256color"})
    assert not any(map(able, ({"TERM": "dumb"}, {"TERM": "unknown"}, {}, {"TERM": "xterm", "CI": "1"})))


@pytest.mark.parametrize(
    "line",
    [
        "  save.dump  pg_dump  [would run]",
        "      - drop the tables",
        "      ! check failed: 2",
        "p: failed in 1.0 s (run r): 1 failed.",
        "run 20250720T122655Z-3f9a of p (apply): cut off; began",
        "  a: skipped: a is failed",
        "error: cannot connect",
        "  hint: planrun doctor",
    ],
)
def test_these_lines_get_one(line: str) -> None:
    assert len(ESCAPE.findall(colour(line))) == 2


@given(st.text(), st.sampled_from(["  a  [failed]", "      + x", "error: y", ""]))
def test_only_colours_are_added(text: str, line: str) -> None:
    text = ESCAPE.sub("", f"{text}\n{line}")
    assert ESCAPE.sub("", colour(text)) == text


def test_what_is_shown_in_a_pipe_is_plain_and_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    show(f"error: {HOSTILE.replace(chr(10), '')}", pipe)
    assert clean(pipe.getvalue()).endswith("<b>\n")
    monkeypatch.setenv("FORCE_COLOR", "1")
    show("error: x", pipe, end="")
    assert pipe.getvalue().endswith("\x1b[1;31merror\x1b[0m: x")
