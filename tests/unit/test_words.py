"""Numbers and names as people read them."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import PlanrunError
from runner.words import (
    PLAN,
    json_text,
    one_line,
    plain,
    plural,
    printable,
    safe,
    seconds,
    shown_name,
    size,
    span,
    typeable,
    width_of,
    wrap,
)
from tests.made import HOSTILE, RAW


def test_plural() -> None:
    assert [plural(n, "table") for n in (0, 1, 1200)] == ["0 tables", "1 table", "1,200 tables"]
    assert plural(2, "branch", "branches") == "2 branches"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (10239, "10,239 bytes"),
        (10240, "10 kB"),
        (5 << 20, "5,120 kB"),
        (1 << 30, "1,024 MB"),
        (9 << 40, "9,216 GB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.045, "45 ms"), (1.23, "1.2 s"), (59.99, "60.0 s"), (200, "3 min 20 s"),
     (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_seconds(amount: float, text: str) -> None:
    assert seconds(amount) == text


def test_a_name_is_quoted_only_where_it_must_be() -> None:
    assert shown_name("public", "_cdc_users") == "public._cdc_users"
    assert shown_name("", "Roles") == '"Roles"'
    assert shown_name("a b", 'x"y') == '"a b"."x""y"'
    assert shown_name("public", "two\nlines") == r'public."two\x0alines"'


def test_lines_and_tabs_stay_only_where_they_may() -> None:
    assert one_line(" a\nb\tc\x1b ") == r"a | b\x09c\x1b"
    assert printable("a\tb\nc") == "a\tb\\x0ac"
    assert safe("a\tb\nc\r") == "a\tb\nc\\x0d"
    assert one_line("\u202eabc") == r"\u202eabc"
    assert one_line("naïve 表 🐘") == "naïve 表 🐘"


@given(st.text())
def test_nothing_that_drives_a_terminal_is_left(text: str) -> None:
    for shown in (one_line(text), printable(text), safe(text), shown_name("s", text), one_line(text + HOSTILE)):
        assert not RAW.search(shown)
        shown.encode()  # no half of a character either
    assert "\n" not in one_line(text) + printable(text) + shown_name(text, "n")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_json_says_the_same_and_drives_nothing(data: object) -> None:
    for indent in (None, 2):
        text = json_text({"a": data, HOSTILE: HOSTILE}, indent=indent)
        assert json.loads(text) == {"a": data, HOSTILE: HOSTILE}
        assert not RAW.search(text)


def test_times_in_json_are_rfc_3339() -> None:
    assert json_text([datetime(2025, 7, 20, 12, 26, 55, tzinfo=UTC)]) == '["2025-07-20T12:26:55+00:00"]'


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0 s"), (0.25, "250 ms"), (2.5, "2.5 s"), (3, "3 s"), (90, "1 min 30 s"), (600, "10 min"),
     (5400, "1 h 30 min"), (86400, "1 d"), (90061, "1 d 1 h 1 min 1 s")],
)  # fmt: skip
def test_a_duration_as_a_plan_says_it(amount: float, shown: str) -> None:
    assert span(amount) == shown


def test_only_the_mark_of_the_plan_is_filled_in() -> None:
    """A table, a file or a column of the user may be called PLAN."""
    hint = f'drop table public."PLAN", see PLAN.md; then: planrun apply {PLAN}'
    assert (
        typeable(hint, "'my plan.yml'") == "drop table public.\"PLAN\", see PLAN.md; then: planrun apply 'my plan.yml'"
    )
    assert typeable(hint).endswith("planrun apply PLAN") and typeable("no command") == "no command"
    assert str(PlanrunError("m", hint=f"planrun status {PLAN}")) == "m\n  hint: planrun status PLAN"


SEQUENCES = ["\x1b", "]52;c;aGk=", "\x07", "[2J", "[31m", "\x1b\\", "\x9b1m", "\x9d0;t", "\x9c", "P1$r"]
PIECES = st.sampled_from([*SEQUENCES, "\u202e", "a", "é", "\r", "\n"])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_nothing_of_what_a_program_printed_controls_a_terminal(text: str) -> None:
    made = plain(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", made)
    assert plain(made) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("\x1b]52;c;aGk=\x07paid", "paid"),
        ("\x1b]52;c;aGk=\x1b\\paid", "paid"),
        ("\x1b]0;never ended", ""),
        ("a\x1b[10A\x1b[2Kb\x1b7\x1b(B", "ab"),
        ("50 %\r100 %\r\nok\r\n", "100 %\nok\n"),
        ("\x1bP1$r0m\x1b\\x\x1b_app\x1b\\y", "xy"),
        ("invoice \u202egnp.exe", "invoice gnp.exe"),
        ("tab\tand größe 表 ✓", "tab\tand größe 表 ✓"),
    ],
)
def test_what_a_program_printed_keeps_its_text(text: str, made: str) -> None:
    assert plain(text) == made


@given(st.text("ab 表é ", max_size=200), st.integers(20, 90))
def test_lines_are_broken_between_words_only(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(width_of(line) <= width or max(map(width_of, line.split()), default=0) > width - 30 for line in lines)


def test_a_command_that_is_broken_is_still_a_command() -> None:
    command = "planrun apply plans/production/refresh.yml --set schema=public --resume --accept 0123456789ab"
    lines = wrap(f"next: {command}", 40)
    assert len(lines) > 1 and all(width_of(line) <= 40 for line in lines)
    typed = "\n".join(lines).removeprefix("next: ").replace("\\\n", "")  # as a shell joins lines (POSIX, XCU 2.2.1)
    assert shlex.split(typed) == shlex.split(command)
