"""Write text to a stream: remove control characters, and add colours on a terminal, which carry no information."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TextIO

from runner.words import safe, wrap

_STATES = {
    "ok": "32",
    "warned": "33",
    "failed": "1;31",
    "skipped": "2",
    "would run": "36",
    "unknown until run": "35",
    "interrupted": "1;31",
    "declined": "33",
    "refused": "31",
    "paused": "33",
    "cut off": "33",
}
_SIGNS = {"+": "32", "-": "31", "!": "1;31", "?": "33", "$": "36"}
_GROUPS = {"+": "1;32", "-": "1;31", "~": "1;36", "=": "1"}
_WORDS = {"error": "1;31", "hint": "33", "next": "1"}

_ANY_STATE = "|".join(_STATES)
_TAG = re.compile(rf"^(  \S.*\[)({_ANY_STATE})(\])")
_SAID = re.compile(rf"^( {{0,2}}(?:run )?\S+(?: of \S+ \(\w+\))?: )({_ANY_STATE})\b")
_GROUP = re.compile(r"^([-+~=])( \d[^:]*)")
_LOSS = re.compile(r"(! (?:- )?[^~+]*)|^( {4}- .*)$")
_PLAN = re.compile(r"^(Plan)(: .*)$")
_SIGN = re.compile(r"^( {6})([-+!?$])( .*)$")
_FRAME = re.compile(r"^ *\d* \| ")
"""A line of a code frame (report/problems.py), whose mark stands below a column."""
_WORD = re.compile(r"^( *)(error|hint|next)(:)")


def show(text: str, stream: TextIO, *, end: str = "\n", flush: bool = False, whole: bool = False) -> None:
    """Print text with control characters made visible, and with colours if the stream gets any.

    On a terminal, lines are broken between words; whole: not, because SQL or marks below a line would change.
    """
    text = safe(text)
    if stream.isatty() and not whole:
        width = columns(stream)
        lines = ([line] if _FRAME.match(line) else wrap(line, width) for line in text.split("\n"))
        text = "\n".join(part for some in lines for part in some)
    if use_colour(terminal=stream.isatty(), env=os.environ):
        text = colour(text)
    print(text, file=stream, end=end, flush=flush)


def columns(stream: TextIO) -> int:
    """Return the width of a terminal: COLUMNS if it is set, else what the terminal says, else 80."""
    text = os.environ.get("COLUMNS", "")
    if text.isdigit() and int(text):
        return int(text)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def use_colour(*, terminal: bool, env: Mapping[str, str]) -> bool:
    """Return whether to use colours: NO_COLOR forbids them, FORCE_COLOR demands them, else on a terminal that is
    neither dumb nor CI."""
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return terminal and able(env)


def able(env: Mapping[str, str]) -> bool:
    """Return whether the terminal of this environment can be drawn on."""
    ci = env.get("CI", "").lower() not in ("", "0", "false")
    return env.get("TERM", "") not in ("", "dumb", "unknown") and not ci


def colour(text: str) -> str:
    """Return the text with its states, signs and first words coloured; no character of it is changed."""
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    if match := _GROUP.match(line):
        return _in(_GROUPS[match[1]], match[0]) + line[match.end() :]
    if match := _PLAN.match(line):
        return _in("1", line)
    if line.startswith("    - ") or (line.startswith("      ") and "  ! " in line) or line.startswith("    ! "):
        return _LOSS.sub(lambda found: _in("31", found[0]), line)
    if match := _SIGN.match(line):
        return match[1] + _in(_SIGNS[match[2]], match[2] + match[3])
    for pattern, styles in ((_TAG, _STATES), (_SAID, _STATES), (_WORD, _WORDS)):
        if match := pattern.match(line):
            return match[1] + _in(styles[match[2]], match[2]) + line[match.end(2) :]
    return line


def _in(style: str, text: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"
