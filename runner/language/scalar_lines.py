"""Change the indentation of the lines of a YAML scalar without changing its value. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_HEADER = re.compile(r"([|>])([-+0-9]*)[ \t]*(#.*)?")
_SPACES = re.compile(r" *")
_OTHER_BREAKS = re.compile("([\x85\u2028\u2029])")  # line breaks for libyaml, but not for programs that count lines


class Block(NamedTuple):
    """A `|` or `>` scalar: its first line, its trailing comment with the offset in the old text, and its lines.

    blank: blank lines follow that are not part of its value.
    """

    header: str
    comment: str
    offset: int
    lines: list[str]
    blank: bool


def block_scalar(raw: str, level: int, indent: int) -> Block:
    """Return a block scalar whose lines are indented by `indent`, two more than the level that it belongs to.

    raw: its old text, with the break of its last line if that has one. level: the old column of its level.
    """
    first, *lines = raw.split("\n")
    head = _HEADER.match(first)
    assert head, first
    style, signs, comment = head[1], head[2], head[3] or ""
    old = _indentation(lines, level, signs)
    made = [_indent_line(line, old, indent) for line in lines]
    if made and made[-1]:  # the last line has no break; one is added that must not become part of the value
        signs = signs.strip("+-") + "-"
    else:
        made = made[:-1]
    kept = made if "+" in signs else _without_free_lines(made)
    signs = re.sub("[0-9]", "2", signs)
    return Block(style + signs, comment.rstrip(), head.start(3), kept, blank=len(kept) < len(made))


def _without_free_lines(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    return lines[:end]


def _indentation(lines: list[str], level: int, signs: str) -> int:
    """Return the number of spaces before each line of the value, by the rules of libyaml."""
    if digits := signs.strip("+-"):
        return level + int(digits)
    widest = level + 1
    for line in _OTHER_BREAKS.sub("\n", "\n".join(lines)).split("\n"):
        spaces = _width(line)
        widest = max(widest, spaces)
        if len(line) > spaces:
            break
    return max(widest, 1)


def _width(line: str) -> int:
    match = _SPACES.match(line)
    return match.end() if match else 0


def _indent_line(line: str, old: int, indent: int) -> str:
    parts = _OTHER_BREAKS.split(line)
    parts[::2] = (" " * indent + part[old:] if len(part) > old else "" for part in parts[::2])
    return "".join(parts)


def flow_scalar(raw: str, quote: str | None, indent: int) -> str:
    """Return a plain or quoted scalar whose lines after the first one are indented by `indent`.

    White space around its line breaks is not part of the value.
    """
    first, *others = raw.split("\n")
    if not others:
        return raw
    *middle, last = (line.lstrip(" \t") for line in others)
    lines = [_without_blanks(line, quote) for line in (first, *middle)] + [last]
    return "\n".join([lines[0], *(line and " " * indent + line for line in lines[1:])])


def _without_blanks(line: str, quote: str | None) -> str:
    r"""Return a line without trailing blanks; in double quotes, `\ ` is not a blank."""
    made = line.rstrip(" \t")
    backslashes = len(made) - len(made.rstrip("\\"))
    return line[: len(made) + 1] if quote == '"' and backslashes % 2 else made
