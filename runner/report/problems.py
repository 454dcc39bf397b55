"""Format problems of a plan as text with a code frame, or as JSON data. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from runner import resources
from runner.errors import Problem, with_code
from runner.language.compose import leads_out
from runner.report.envelope import envelope
from runner.words import one_line, plural

WIDTH = 100
"""Characters of a source line that a code frame shows; a longer line is cut around the place."""

_URL = re.compile(r"://.*@")
_SECRET = re.compile(r"((?!passfile)\b\w*(?:pas+w|pwd|secret|token)\w*[\"']?\s*[:=])\s*\S.*", re.IGNORECASE)
_SECRET_BELOW = re.compile(r"(?:pas+w|pwd|secret|token)\w*[\"']?\s*:\s*[|>]?[-+\d]*\s*$", re.IGNORECASE)

Source = Callable[[str], str | None]
"""Returns the text of a file by the name in a mark, or None if there is none (for a `--set`, for example)."""


def from_disk(file: str) -> str | None:
    """Return the current content of a file for a code frame; None if it is not readable text, or must not be shown."""
    path = resources.PLANS / "steps" / Path(file).name if file.startswith("planrun:") else Path(file)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() and not leads_out(path) else None
    except (OSError, ValueError):
        return None


def text(problems: Iterable[Problem], source: Source = from_disk) -> str:
    """Return one paragraph for each problem: place and message, the line with a caret, and the hint."""
    return "\n".join(paragraph(problem, source) for problem in problems)


def count_text(problems: Sequence[Problem]) -> str:
    """Return the number of problems, and the command that explains the first one."""
    code = problems[0].code
    return f"{plural(len(problems), 'problem')}; what {code} means: planrun explain {code}"


def paragraph(problem: Problem, source: Source) -> str:
    """Return `file:line:col: code message` with its code frame and hint; ends with a line break."""
    where = problem.where
    frame = code_frame(source(where.file), where.line, where.column)
    hint = f"  hint: {_indent(problem.hint)}\n" if problem.hint else ""
    return f"{one_line(place(problem))}: {_indent(with_code(problem.code, problem.message))}\n{frame}{hint}"


def _indent(text: str) -> str:
    """Indent all lines but the first, so that no name in the text looks like another problem."""
    return text.replace("\n", "\n    ")


def place(problem: Problem) -> str:
    """Return `file:line:col`; a problem in a `--set` has no line."""
    return problem.where.file if problem.where.file.startswith("--") else str(problem.where)


def code_frame(text: str | None, line: int, column: int) -> str:
    """Return the line, the one before and the one after it, with a caret under `column`; "" without that line."""
    lines = (text or "").split("\n")
    if not 1 <= line <= len(lines) or not text:
        return ""
    start = max(0, column - WIDTH * 2 // 3) if len(lines[line - 1]) > WIDTH else 0
    gutter = len(str(min(line + 1, len(lines))))
    rows = []
    for number in range(max(1, line - 1), min(len(lines), line + 1) + 1):
        below = number > 1 and _SECRET_BELOW.search(lines[number - 2])
        shown = "***" if below else _excerpt_line(lines[number - 1], start)
        if number == line or shown.strip():
            rows.append(f"  {number:>{gutter}} | {shown}".rstrip())
        if number == line:
            pad = _width(_plain(lines[number - 1])[start : column - 1])
            rows.append(f"  {'':>{gutter}} | {' ' * (pad + (1 if start else 0))}^")
    return "\n".join(rows) + "\n"


def _excerpt_line(line: str, start: int) -> str:
    safe = redact(_plain(line))
    cut = safe[start : start + WIDTH]
    return ("…" if start and safe else "") + cut + ("…" if len(safe) > start + WIDTH else "")


def redact(text: str) -> str:
    """Return a line without anything that looks like a password: a plan with a password is refused, but shown here."""
    return _SECRET.sub(r"\1 ***", _RECIPIENT.sub(r"\1***", _URL.sub("://***@", text)))


_RECIPIENT = re.compile(r"""\b((?:webhook|ping|url):\s*["']?)[A-Za-z][\w+.-]*://[^\s"'},]+""")
"""The address of a recipient, which is a secret as a whole: its path is a token."""


def _plain(line: str) -> str:
    """Replace characters that a terminal does not simply draw: tabs, escapes, changes of direction."""
    return "".join(char if char.isprintable() else " " for char in line)


def _width(text: str) -> int:
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def as_json(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return JSON data: `{"format_version": 1, "state": "invalid", ..., "valid": false, "problems": [...]}`."""
    found = rows(problems)
    return {**envelope(state="invalid" if found else "ok"), "valid": not found, "problems": found}


def rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return each problem as JSON data."""
    return [
        {
            "file": one.where.file,
            "line": one.where.line,
            "column": one.where.column,
            "message": one.message,
            "hint": one.hint,
            "code": one.code,
        }
        for one in problems
    ]
