"""YAML text to a Document: types, places, limits, and nothing but a PlanError for what is refused."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
import yamlcore
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import Mark, PlanError
from runner.language.source import MAX_BYTES, MAX_DEPTH, Document, parse, plain, read


def problems(source: str | bytes) -> list[str]:
    with pytest.raises(PlanError) as caught:
        parse(source, "p.yml")
    return [f"{p.where.line}:{p.where.column} {p.message}" for p in caught.value.problems]


# ------------------------------------------------------------------ types


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("22:22:22", "22:22:22"),
        ("5432:5432", "5432:5432"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-7", -7),
        ("+7", 7),
        ("=", "="),
        ("2025-07-20", "2025-07-20"),
        ("~", None),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("1_000", "1_000"),
        ("- ", "- "),
        ("1.2.3", "1.2.3"),
    ],
)
def test_plain_scalars_have_the_types_of_yaml_1_2(text: str, value: Any) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_quoted_and_block_scalars_are_texts() -> None:
    data = parse("a: '5'\nb: \"true\"\nc: |\n  1\nd: !!str 7\ne: ! 8\nf: !!int '9'\n", "p").data
    assert data == {"a": "5", "b": "true", "c": "1\n", "d": "7", "e": "8", "f": 9}


def test_aliases_share_their_value_and_its_place() -> None:
    document = parse("a: &x {k: [1, 2]}\nb: *x\n", "p")
    assert document.data == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}
    assert document.at(("b", "k", 1)) == Mark("p", 1, 15)


# ------------------------------------------------------------------ places

TEXT = """\
name: x
steps:
  - id: one
    text: |
      select 1;
        select 2
    quoted: "abc"
    folded: >-

      more
"""


def test_every_value_and_key_has_a_place() -> None:
    document = parse(TEXT, "p")
    assert document.at(("steps", 0, "id")) == Mark("p", 3, 9)
    assert document.key_at(("steps", 0, "id")) == Mark("p", 3, 5)
    assert document.at(("steps", 0)) == Mark("p", 3, 5)
    assert document.at(("steps", 0, "missing", "deeper")) == Mark("p", 3, 5)
    assert document.key_at(("steps", 0, "missing")) == Mark("p", 3, 5)
    assert document.at(("steps", 7)) == Mark("p", 3, 3)


def test_places_inside_a_text() -> None:
    document = parse(TEXT, "p")
    text = document.data["steps"][0]["text"]
    place = document.find(("steps", 0, "text"))
    assert place.inside(text, 0) == Mark("p", 5, 7)
    assert place.inside(text, text.index("select 2")) == Mark("p", 6, 9)
    folded = parse("a: >-\n   one\n   two three\n", "p")
    assert folded.find(("a",)).inside("one two three", 8) == Mark("p", 3, 8)
    assert document.find(("steps", 0, "quoted")).inside("abc", 1) == Mark("p", 7, 15)
    assert document.find(("name",)).inside("x", 0) == Mark("p", 1, 7)


def test_windows_line_ends() -> None:
    document = parse("a: |\r\n  one\r\n  two\r\nb: 1\r\n", "p")
    assert document.data == {"a": "one\ntwo\n", "b": 1}
    assert document.find(("a",)).inside("one\ntwo\n", 5) == Mark("p", 3, 4)
    assert document.at(("b",)) == Mark("p", 4, 4)


def test_columns_count_characters_not_bytes() -> None:
    assert parse("{é: ä, k: v}", "p").at(("k",)) == Mark("p", 1, 11)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", ["3:1 key 'a' is given twice; first on line 1"]),
        ("1: a", ["1:1 the key 1 is not a text"]),
        ("true: b\n~: c", ["1:1 the key true is not a text", "2:1 the key null is not a text"]),
        ("<<: {a: 1}", ["1:1 merge keys (<<) are not in YAML 1.2"]),
        ("a: !!python/name:os.system x", ["1:4 the tag !!python/name:os.system is not allowed"]),
        ("a: !env X", ["1:4 the tag !env is not allowed"]),
        ("a: !!binary aGk=", ["1:4 the tag !!binary is not allowed"]),
        ("a: !!set {x}", ["1:4 the tag !!set is not allowed"]),
        ("a: !!int x", ["1:4 'x' is not !!int"]),
        ("a: .inf", ["1:4 infinity and NaN are not allowed"]),
        ("a: -.INF\nb: .nan", ["1:4 infinity and NaN are not allowed", "2:4 infinity and NaN are not allowed"]),
        ("a: 1e999", ["1:4 this number is too large"]),
        ("a: 9223372036854775808", ["1:4 this integer does not fit in 64 bits"]),
        ("a: " + "9" * 5000, ["1:4 this integer does not fit in 64 bits"]),
        ("a: 0x" + "f" * 5000, ["1:4 this integer does not fit in 64 bits"]),
        ("a: &a [*a]", ["1:8 alias *a contains itself"]),
        ("a: *nope", ["1:4 alias *nope has no anchor before it"]),
        ("a: 1\n---\nb: 2", ["2:1 a file holds one document"]),
        ("", ["1:1 the file is empty"]),
        ("# only a comment\n", ["1:1 the file is empty"]),
        ("a: \0", ["1:4 a NUL character is not allowed"]),
        ('a: "x\\0"', ["1:4 a NUL character is not allowed"]),
        ("a: \x07", ["1:4 not YAML: control characters are not allowed"]),
        ("[a, b]: 1", ["1:1 a key must be a text, not a mapping or a list"]),
        ("a:\n\t- x", ["2:1 not YAML: found character that cannot start any token"]),
    ],
)  # fmt: skip
def test_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_a_file_that_is_not_utf8() -> None:
    assert problems(b"a: 1\nb: \xff\n") == ["2:4 byte 0xff is not UTF-8"]
    assert problems("a: 1\n".encode("utf-16")) == ["1:1 byte 0xff is not UTF-8"]
    assert problems("a: \ud800") == ["1:4 byte 0xed is not UTF-8"]
    assert parse(b"\xef\xbb\xbfa: 1", "p").data == {"a": 1}


def test_all_problems_up_to_the_syntax_error() -> None:
    assert [line.split()[0] for line in problems("a: 1\na: 2\n5: x\nb: 'open")] == ["2:1", "3:1", "4:9"]


def test_no_more_problems_than_a_person_can_read() -> None:
    assert len(problems("".join("a: 1\n" for _ in range(1000)))) == 50


def test_hints() -> None:
    with pytest.raises(PlanError, match="indent with spaces"):
        parse("a:\n\t- x", "p")
    with pytest.raises(PlanError, match="starts with '@'"):
        parse("a: @x", "p")


# ------------------------------------------------------------------ hostile input

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "a: [" * 50_000,
        BOMB,
        "x: &x\n  y: &y\n    z: *x\n",
        "&a " * 100_000,
        "!" * 100_000,
        "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "k: " + "a" * MAX_BYTES,
    ],
    ids=["brackets", "braces", "dashes", "questions", "mixed", "bomb", "self", "anchors", "tags", "depth", "size"],
)
def test_hostile_input_is_an_error_with_a_line_in_under_a_second(text: str) -> None:
    began = time.process_time()
    assert problems(text)
    assert time.process_time() - began < 1


def test_too_many_values() -> None:
    found = problems("[" + "1," * 200_001 + "]")
    assert found[0].endswith(" more than 200,000 values after aliases are filled in")


def test_as_deep_as_allowed() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(text, "p").data


def test_a_large_plan_is_read_fast() -> None:
    step = "  - id: s{0}\n    uses: sql\n    when: s0.ok\n    with: {{text: select {0}, connection: target}}\n"
    text = "name: big\nsteps:\n" + "".join(step.format(i) for i in range(3000))
    began = time.process_time()
    assert len(parse(text, "p").data["steps"]) == 3000
    assert time.process_time() - began < 1


def test_read_tells_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"x\.yml:1:1: PR0102 cannot read this file: No such file"):
        read(tmp_path / "x.yml", "x.yml")
    (tmp_path / "x.yml").write_text("a: 1")
    document, raw = read(tmp_path / "x.yml", "x.yml")
    assert (document.data, raw) == ({"a": 1}, b"a: 1")


# ------------------------------------------------------------------ properties

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text("abc<d\"':\n é", max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


def places(document: Document, data: Any, path: tuple[str | int, ...] = ()) -> None:
    assert document.at(path).line >= 1
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        places(document, value, (*path, key))


def escape(text: str) -> str:
    """Write what YAML does not print as an escape that JSON and YAML share, or YAML's own above U+FFFF."""
    return "".join(
        c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" if ord(c) < 65536 else f"\\U{ord(c):08x}"
        for c in text
    )


@settings(max_examples=200, deadline=None)
@given(JSON.filter(lambda data: data is not None and "<<" not in json.dumps(data)))
def test_json_comes_back_as_it_was(data: Any) -> None:
    document = parse(escape(json.dumps(data, ensure_ascii=False)), "p")
    assert document.data == data
    places(document, data)


@settings(max_examples=400, deadline=None)
@given(st.text("ab:-[]{}&*!|>'\"%@#,? \n\t01.", max_size=60) | st.text(max_size=40) | st.binary(max_size=40))
def test_never_anything_but_a_document_or_a_plan_error(source: str | bytes) -> None:
    try:
        document = parse(source, "p")
    except PlanError as exc:
        assert all(p.where.line >= 1 and p.where.column >= 1 for p in exc.problems)
    else:
        places(document, document.data)
        json.dumps(document.data, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.eE+-_xoabfnulTRtrueFalsINFinf~", max_size=8))
def test_plain_scalars_agree_with_a_core_schema_loader(text: str) -> None:
    try:
        mine = plain(text)
    except ValueError:
        return
    node = yaml.ScalarNode("", text)
    resolver = yamlcore.CoreLoader("")
    node.tag = resolver.resolve(yaml.ScalarNode, text, (True, False))
    other = resolver.construct_object(node)
    assert mine == other or (isinstance(other, float) and math.isnan(other))
