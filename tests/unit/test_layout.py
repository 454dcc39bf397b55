"""The one form of a plan's text: a table of texts before and after, and what holds for every text."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import PlanError
from runner.language.layout import LayoutBug, layout
from runner.language.page import Page
from runner.language.source import MAX_DEPTH, parse

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "plans").rglob("*.yml"))
CASES = sorted((ROOT / "tests" / "cases").rglob("*.yml"))


def format_twice(text: str) -> str:
    """Return the new text, which must be final, and have the same nodes in the same style."""
    made = layout(text, "p.yml")
    assert layout(made, "p.yml") == made
    assert nodes(made) == nodes(text)
    return made


def nodes(text: str) -> list[tuple[Any, ...]]:
    """Return all that the parser tells of a text but the places: values, quotes, styles, anchors and tags."""
    names = ("value", "style", "anchor", "tag", "implicit", "flow_style", "explicit")
    return [
        (type(event).__name__, *(getattr(event, name, None) for name in names))
        for event in yaml.parse(text, Loader=yaml.CBaseLoader)
    ]


TABLE = {
    "mappings are indented by two": ("a:\n    b:\n        c: 1\n    d: 2\n", "a:\n  b:\n    c: 1\n  d: 2\n"),
    "so are sequences under their key": ("a:\n- b\n- c\nd: 1\n", "a:\n  - b\n  - c\nd: 1\n"),
    "and what was indented too far": ("a:\n      - b\n      - c: 1\n        d: 2\n", "a:\n  - b\n  - c: 1\n    d: 2\n"),
    "the root begins at the margin": ("  a: 1\n  b: 2\n", "a: 1\nb: 2\n"),
    "a list at the root, too": ("-   a\n-   b: 1\n    c: 2\n", "- a\n- b: 1\n  c: 2\n"),
    "lists in lists": ("a:\n- - b\n  - c\n-   - d\n", "a:\n  - - b\n    - c\n  - - d\n"),
    "a dash takes its item up": ("a:\n  -\n    b: 1\n  -\n\n    c\n  -\n  -\n", "a:\n  - b: 1\n  - c\n  -\n  -\n"),
    "a dash with a comment does not": ("a:\n  -  # why\n     b: 1\n", "a:\n  -  # why\n    b: 1\n"),
    "a value on the next line stays there": ("a:\n      long text\nb:\n   {c: 1}\n", "a:\n  long text\nb:\n  {c: 1}\n"),
    "one space after a colon": ("a:   1\nbcd : 2\n", "a: 1\nbcd: 2\n"),
    "tabs between tokens": ("a:\t1\t# c\n", "a: 1  # c\n"),
    "explicit keys": ("?   a\n:   1\n? b\n", "? a\n: 1\n? b\n"),
    "flow on one line": ("{ id : a,uses:  b , c: [ 1,2 ], d: { }}\n", "{id: a, uses: b, c: [1, 2], d: {}}\n"),
    "JSON": ('{"a":1,"b":[true,null]}', '{"a": 1, "b": [true, null]}\n'),
    "flow without a value": ("{a: , b, c: }\n", "{a: , b, c: }\n"),
    "a comma at the end": ("[a, b, ]\n", "[a, b,]\n"),
    "flow over lines": ("a: [\n b,\n      c\n    ]\n", "a: [\n  b,\n  c\n]\n"),
    "flow over lines in a list": ("a:\n- b: {\n  c: 1,\n  }\n", "a:\n  - b: {\n      c: 1,\n    }\n"),
    "flow that begins behind its bracket": ("ab: [c,\n d, {e: 1,\n f: 2}]\n",
                                            "ab: [c,\n     d, {e: 1,\n         f: 2}]\n"),
    "flow with comments": (
        "a: [  # all\n b, # first\n # before c\n c\n # the end\n]\n",
        "a: [  # all\n  b,  # first\n  # before c\n  c\n  # the end\n]\n",
    ),
    "nothing but a comment in flow": ("a: {# x\n   }\nb: [\n\n\n]\n", "a: {  # x\n}\nb: [\n\n]\n"),
    "quotes stay": ("a: 'it''s'\nb: \"\\x41\\u263a\"\nc: ''\n", "a: 'it''s'\nb: \"\\x41\\u263a\"\nc: ''\n"),
    "as numbers and words do": ("a: ~\nb: Null\nc: +1\nd: 0x1F\ne: 1.50\nf: 1e5\n", None),
    "dates are texts": ("a: 2001-01-01 10:00:00Z\n", None),
    "anchors": ("a:   &x   # why\n   b: 1\nc:   *x\n", "a: &x  # why\n  b: 1\nc: *x\n"),
    "anchors of keys and lists": ("&k a: &l\n- &i b\n- *i\n", "&k a: &l\n  - &i b\n  - *i\n"),
    "an alias as a key": ("a: &x b\n*x : 1\n", "a: &x b\n*x : 1\n"),
    "tags that are allowed": ("a: !!str   1\nb: !  2\nc: [!!str ,!!str ]\n",
                              "a: !!str 1\nb: ! 2\nc: [!!str , !!str ]\n"),
    "the document's own marks": ("%YAML 1.1\n---   # c\na: 1\n...\n# end", "%YAML 1.1\n---  # c\na: 1\n...\n# end\n"),
    "blank lines": ("\n\na: 1\n\n\n\nb:\n\n\n  c: 1\n\n\n", "a: 1\n\nb:\n\n  c: 1\n"),
    "blanks at the end of lines": ("a: 1  \n   \nb: 'x' \t\n# c  \n", "a: 1\n\nb: 'x'\n# c\n"),
    "the last line break": ("a: 1", "a: 1\n"),
    "Windows": ("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n", "a: 1\nb: |\n  x\n  y\n"),
    "byte order marks of files put together": ("a:\n\ufeff # x\n\ufeff b: 1\n", "a:\n  # x\n  b: 1\n"),
    "an old Mac": ("a: 1\rb: 2\r", "a: 1\nb: 2\n"),
    "a literal text": ("a:\n    b: |   # why\n        x\n          y  \n\n\n        z\n\n\n    c: 1\n",
                       "a:\n  b: |  # why\n    x\n      y  \n\n\n    z\n\n  c: 1\n"),
    "a folded text": ("a:\n- >-\n      x\n      y\n\n        z\n", "a:\n  - >-\n    x\n    y\n\n      z\n"),
    "a text that begins with blanks": ("a:\n -  |4-\n       x\n      y\n", "a:\n  - |2-\n      x\n     y\n"),
    "blank lines that a text keeps": ("a: |+\n   x\n\n\nb: 1\n", "a: |+\n  x\n\n\nb: 1\n"),
    "also at the end": ("a: |+\n   x\n\n\n", "a: |+\n  x\n\n\n"),
    "line breaks of libyaml": ("a: |\n    x\u2028    y\x85     z\n", "a: |\n  x\u2028  y\x85   z\n"),
    "a text of blanks": ("a: |\n   \n \n   x\n     \n", "a: |\n\n\n  x\n    \n"),
    "an empty text": ("a: |\nb: >-\n\n\nc: |+\n\n", "a: |\nb: >-\n\nc: |+\n\n"),
    "a comment that is text": ("a: |\n    # x\n# y\nb: 1\n", "a: |\n  # x\n# y\nb: 1\n"),
    "folded lines stay": ("a: one\n      two\n\n\n      three\n", "a: one\n  two\n\n\n  three\n"),
    "also in quotes": ("a: 'one  \n  two'\nb: \"one \\\n       two\\ \n   \\  three\"\n",
                       "a: 'one\n  two'\nb: \"one \\\n  two\\ \n  \\  three\"\n"),
    "long lines are not folded": (f"a:  {'word ' * 100}end\n", f"a: {'word ' * 100}end\n"),
    "comments go with what is below": ("a:\n# x\n    # y\n    b: 1\n      # z\n    c: 1\n",
                                       "a:\n  # x\n  # y\n  b: 1\n  # z\n  c: 1\n"),
    "or with what they end": (
        "a:\n    b:\n        - c\n        # of the list\n    # of b\n\n# of d\nd: 1\n  # the end\n",
        "a:\n  b:\n    - c\n    # of the list\n  # of b\n\n# of d\nd: 1\n# the end\n",
    ),
    "or are in an empty place": ("a:\n    # b: 1\nc:\n- d:\n      # e\n-\n  # f\n",
                                 "a:\n  # b: 1\nc:\n  - d:\n      # e\n  -\n    # f\n"),
    "a comment of a step": ("steps:\n- id: a\n  # with: 1\n- id: b\n", "steps:\n  - id: a\n    # with: 1\n  - id: b\n"),
    "two spaces before a comment": ("a: 1 # x\nb:    # y\n  - c        # z\n", "a: 1  # x\nb:  # y\n  - c  # z\n"),
    "comments in one column stay in it": ("a: 1       # x\nbcd: 2     # y\n", "a: 1       # x\nbcd: 2     # y\n"),
    "or in one that has room": ("a: [1,2,3] # x\nb: 2       # y\n", "a: [1, 2, 3]  # x\nb: 2          # y\n"),
    "only comments that are neighbours": ("a: 1    # x\nb: 2 # y\nc: 3    # z\n", "a: 1  # x\nb: 2  # y\nc: 3  # z\n"),
    "other alphabets": ("ä:   'é'   # ü\n\u6f22:  \U0001f600\n", "ä: 'é'  # ü\n\u6f22: \U0001f600\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_before_and_after(name: str) -> None:
    before, after = TABLE[name]
    assert format_twice(before) == (before if after is None else after)


@pytest.mark.parametrize(
    ("before", "after"),
    [("a: |\n  x", "a: |-\n  x\n"), ("a: >+\n  x\n  y", "a: >-\n  x\n  y\n"), ("a: |\n  x\n   ", "a: |-\n  x\n   \n")],
)
def test_a_text_at_the_end_does_not_get_the_line_break_of_the_file(before: str, after: str) -> None:
    assert layout(before, "p.yml") == after
    assert parse(after, "p.yml").data == parse(before, "p.yml").data


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_plans_are_formatted(path: Path) -> None:
    assert layout(path.read_bytes(), path.name) == path.read_text()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.relative_to(ROOT / "tests" / "cases").as_posix())
def test_plans_of_the_cases_are_formatted_or_refused_as_the_reader_does(path: Path) -> None:
    try:
        parse(path.read_bytes(), path.name)
    except PlanError as exc:
        with pytest.raises(PlanError) as told:
            layout(path.read_bytes(), path.name)
        assert told.value.problems == exc.problems
    else:
        assert format_twice(path.read_text()) == path.read_text()


# ------------------------------------------------------------------ hostile texts


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n\tb: 2\n", "a: 1\na: 2\n", "<<: {a: 1}\n", "a: &x {b: 1}\nc:\n  <<: *x\n", "a: !ruby/object 1\n",
        "--- {a: 1}\n--- {b: 2}\n", "a: \0\n", 'a: "\\0"\n', "", "# nothing\n", "a: [1\n", "a: *b\n", b"a: \xff\n",
        "[" * 100_000, "a:\n" + "".join(" " * n + "- b:\n" for n in range(1, 200)), "? [a]\n: 1\n", "1: 2\n",
    ],
)  # fmt: skip
def test_what_the_reader_refuses_is_refused_with_its_words(text: str | bytes) -> None:
    with pytest.raises(PlanError) as read:
        parse(text, "p.yml")
    with pytest.raises(PlanError) as told:
        layout(text, "p.yml")
    assert told.value.problems == read.value.problems


def test_the_deepest_plan() -> None:
    keys = "".join(" " * level + "k:\n" for level in range(MAX_DEPTH - 1))
    assert format_twice(f"{keys}{' ' * MAX_DEPTH}k: 1\n").endswith(f"{'  ' * (MAX_DEPTH - 1)}k: 1\n")
    assert format_twice("[ " * MAX_DEPTH + "]" * MAX_DEPTH) == "[" * MAX_DEPTH + "]" * MAX_DEPTH + "\n"
    chain = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 600))
    assert format_twice(chain + "b:  1\n") == chain + "b: 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "[" + "{a:  1}," * 15_000 + "]\n",
        "a: [" + "x ,\n" * 40_000 + "]\n",
        "a:\n" + " - x   # c\n" * 25_000,
        "a: |\n" + "   x\n" * 200_000,
        "# c\n" * 250_000 + "a:   1\n",
        "a:  'x" + "\n\n y" * 200_000 + "'\n",
    ],
    ids=["one line", "flow", "comments behind", "block", "comments", "quotes"],
)
def test_a_large_file_takes_seconds(text: str) -> None:
    began = time.process_time()
    assert layout(text, "p.yml") != text
    assert time.process_time() - began < 8


# ------------------------------------------------------------------ every text


GAPS = (
    *(" ", "   ", "\t", "\n", "\n\n\n", " # c\n", "\n# own\n", "\n      # deep\n", "\r\n", "\u2028"),
    *("- ", ", ", "\\"),
)
Edits = list[tuple[float, int, int, str]]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([path.read_text() for path in SHIPPED]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1), st.integers(0, 2), st.sampled_from(GAPS)), max_size=4),
)
def test_a_mangled_plan_is_refused_or_means_the_same(text: str, edits: Edits) -> None:
    for place, before, after, new in edits:
        spots = [number for number, char in enumerate(text) if char in " \n,:[]{}"]
        at = spots[int(place * (len(spots) - 1))]
        text = text[: at + before] + new + text[at + after :]
    try:
        data = parse(text, "p.yml").data
    except PlanError:
        return
    made = format_twice(text)
    assert repr(parse(made, "p.yml").data) == repr(data)


WORDS = st.sampled_from(
    ["a", "two words", "it's", "#no", "- x", "a: b", "", " x ", "1", "true", "${steps.a.b}", "ä\u6f22", "[", "x\ny\n"]
)
KEYS = st.sampled_from(["id", "uses", "with", "when", "two words", "a-b", "_x"])
TREES = st.recursive(
    WORDS | st.integers(-5, 5) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=14,
)  # fmt: skip


class Writer:
    """Writes data as YAML in any of the ways that a person might, and notes the comments."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.comments: list[str] = []

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(1, 100)) > 100 - percent)

    def spaces(self, least: int = 0) -> str:
        return " " * (least + (self.draw(st.integers(0, 5)) if self.chance(30) else 0))

    def comment(self) -> str:
        self.comments.append(f"# {len(self.comments)}{self.draw(st.sampled_from(['', ' # x', ': [', ' é']))}")
        return self.comments[-1]

    def end(self) -> str:
        """Return the end of a line, and lines of comments and nothing."""
        made = f"{self.spaces(1)}{self.comment()}\n" if self.chance(20) else f"{self.spaces()}\n"
        for _ in range(self.draw(st.integers(1, 3)) if self.chance(20) else 0):
            made += f"{self.spaces()}{self.comment() if self.chance(50) else ''}\n"
        return made

    def scalar(self, value: Any) -> str:
        if not isinstance(value, str):
            return json.dumps(value)
        ways = [yaml.safe_dump(value, default_style=style, width=10**6).rstrip("\n") for style in ("'", '"')]
        one_line = [way for way in ways if "\n" not in way]
        return str(self.draw(st.sampled_from(one_line)))

    def flow(self, value: Any) -> str:
        if not isinstance(value, (dict, list)):
            return self.scalar(value)
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        made = opening
        for number, key in enumerate(value if isinstance(value, dict) else range(len(value))):
            made += (f"{self.spaces()}," if number else "") + self.gap()
            made += f"{key}{self.spaces()}:{self.spaces(1)}" if isinstance(value, dict) else ""
            made += self.flow(value[key])
        return made + self.gap() + closing

    def gap(self) -> str:
        return f"{self.end()} " if self.chance(15) else self.spaces()

    def block(self, value: Any, indent: int) -> str:
        """Return what is behind a colon or a dash, to the end of the line and below."""
        if not isinstance(value, (dict, list)) or not value or self.chance(25):
            return f" {self.spaces()}{self.flow(value)}{self.end()}"
        return self.end() + self.lines(value, indent)

    def lines(self, value: Any, indent: int) -> str:
        made = ""
        step = self.draw(st.integers(1, 5))
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            head = f"{key}{self.spaces()}:" if isinstance(value, dict) else "-"
            bare = isinstance(value, dict) and isinstance(one, list) and self.chance(40)
            made += " " * indent + head + self.block(one, indent + (0 if bare else step))
        return made


@st.composite
def plans(draw: st.DrawFn) -> tuple[Any, str, list[str]]:
    """Draw data, a text of it, and the comments in the text."""
    data = draw(st.dictionaries(KEYS, TREES, min_size=1, max_size=4) | st.lists(TREES, min_size=1, max_size=3))
    writer = Writer(draw)
    head = writer.end() if draw(st.booleans()) else ""
    return data, head + writer.lines(data, draw(st.integers(0, 3))), writer.comments


@settings(max_examples=150, deadline=None)
@given(plans())
def test_any_way_to_write_a_plan_keeps_its_meaning_and_its_comments(drawn: tuple[Any, str, list[str]]) -> None:
    data, text, comments = drawn
    assert repr(parse(text, "p.yml").data) == repr(data), "the writer of this test is wrong"
    made = format_twice(text)
    assert repr(parse(made, "p.yml").data) == repr(data)
    assert re.findall(r"# [0-9].*", made) == [comment.rstrip() for comment in comments]
    assert all(line == line.rstrip() for line in made.split("\n"))
    assert "\n\n\n" not in made and made.endswith("\n") and not made.endswith("\n\n")


# ------------------------------------------------------------------ the checks of the result


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda made: made.replace("true", "1"), "the meaning would change"),
        (lambda made: made.replace("1", "1.0"), "the meaning would change"),
        (lambda made: made.replace("a: true\nb: 1", "b: 1\na: true"), "the meaning would change"),
        (lambda made: made.replace("  # c", ""), "a comment would change"),
        (lambda made: made.replace("a: ", "a: ]"), "the result would be invalid"),
    ],
)
def test_a_result_that_is_not_the_same_is_a_bug(broken: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Page.text
    monkeypatch.setattr(Page, "text", lambda page: broken(text(page)))
    with pytest.raises(LayoutBug, match=told):
        layout("a:   true\nb: 1  # c\n", "p.yml")


def test_a_result_that_is_not_final_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    text, more = Page.text, iter(("\n", ""))
    monkeypatch.setattr(Page, "text", lambda page: text(page) + next(more))
    with pytest.raises(LayoutBug, match="formatting twice would change it again"):
        layout("a: 1\n", "p.yml")
