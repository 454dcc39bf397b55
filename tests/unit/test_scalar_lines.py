"""The lines of scalars, indented anew: libyaml reads the same value."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.language.scalar_lines import block_scalar, flow_scalar


def read(text: str) -> object:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize(
    ("raw", "level", "header", "lines", "blank"),
    [
        ("|\n   x\n    y\n", 0, "|", ["  x", "   y"], False),
        (">-  # c\n   x\n\n   y\n\n\n", 0, ">-", ["  x", "", "  y"], True),
        ("|+\n   x\n\n\n", 0, "|+", ["  x", "", ""], False),
        ("|4\n       x\n      y\n", 2, "|2", ["   x", "  y"], False),
        ("|\n x", 0, "|-", ["  x"], False),
        ("|2+\n   x", 0, "|2-", ["   x"], False),
        ("|\n", 0, "|", [], False),
        ("|", 0, "|", [], False),
        ("|+\n  \n", 0, "|+", [""], False),
        ("|\n\n  x\n     \n", 0, "|", ["", "  x", "     "], False),
    ],
)
def test_blocks(raw: str, level: int, header: str, lines: list[str], blank: bool) -> None:
    made = block_scalar(raw, level, 2)
    assert (made.header, made.lines, made.blank) == (header, lines, blank)


def test_the_comment_of_a_block_and_where_it_was() -> None:
    made = block_scalar("|-   # why  \n  x\n", 0, 2)
    assert (made.header, made.comment, made.offset) == ("|-", "# why", 5)
    assert block_scalar("|-\n  x\n", 0, 2).comment == ""


@settings(max_examples=150)
@given(
    st.sampled_from(["|", "|-", "|+", ">", ">-", ">+"]),
    st.integers(1, 7),
    st.lists(st.sampled_from(["", " ", "   ", "x", "  y", "x  ", "# no", "\u6f22: [", "\tz"]), max_size=6),
    st.booleans(),
)
def test_the_value_of_a_block_is_the_same(style: str, indent: int, body: list[str], ends: bool) -> None:
    style = style[0] + str(indent) + style[1:]
    raw = "\n".join([style, *(" " * indent + line for line in body)]) + ("\n" if ends else "")
    made = block_scalar(raw, 0, 2)
    again = "".join(f"{line}\n" for line in (made.header, *made.lines))
    assert read("k: " + again) == read("k: " + raw)


@settings(max_examples=150)
@given(
    st.sampled_from(["'", '"']),
    st.lists(st.sampled_from(["", "x", " x ", "\tx\t", "''", "\\\\", "\\ ", "\\", "#"]), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_the_value_of_a_quoted_text_is_the_same(quote: str, lines: list[str], indent: int) -> None:
    if quote == '"':
        lines = [line.replace("''", "") for line in lines]
        lines[-1] = lines[-1].replace("\\", "")
    raw = quote + "\n ".join(lines) + quote
    made = flow_scalar(raw, quote, indent)
    assert read(f"k: {made}\n") == read(f"k: {raw}\n")
    assert all(not line or line.startswith(" " * indent) for line in made.split("\n")[1:])
    assert all(line == line.rstrip() or line.endswith("\\ ") for line in made.split("\n"))
