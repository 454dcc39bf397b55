"""The library says of a text what postgast's own classes say of it, for every SQL file of this project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgast
import pytest
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2

from runner.errors import PlanrunError
from runner.safesql import pg_query, syntax
from runner.safesql.pg_query import ParserError

ROOT = Path(__file__).parents[2]
FILES = sorted({*(ROOT / "sql").rglob("*.sql"), *(ROOT / "sql").rglob("*.plpgsql"), *(ROOT / "tests").rglob("*.sql")})
CHAINS = tuple("select " + "1+" * length + "1" for length in range(30, 60))
TEXTS = (
    *(
        "",
        ";",
        "-- only a comment",
        "select 1;;select 2",
        "select {",
        "select 'é😀', \"ü\" from t -- é",
        "select 'a\\n\"{'",
    ),
    *("select (1", "select 'open", "/* open", 'select U&"\\0441" uescape', "select $a$ { $a$, E'\\xff'", "selekt 'é'"),
    *CHAINS,
    *("select " + "(select " * depth + "1" + ")" * depth for depth in range(10, 60)),
    *("select * from " + "(select * from " * depth + "t" + ") x" * depth for depth in range(10, 60)),
    *("select " + "array[" * depth + "1" + "]" * depth + ", '{{{{'" for depth in range(30, 60)),
)


def texts() -> Iterator[str]:
    yield from TEXTS
    yield from (path.read_text() for path in FILES)


def result_or_error(call: Any, *values: Any) -> Any:
    """Return what a call gives, or the message and the place of its error."""
    try:
        return call(*values)
    except ParserError as exc:
        return exc.message, exc.position
    except postgast.PgQueryError as exc:
        return exc.message, exc.cursorpos
    except DecodeError:
        return None


def tokens_of_postgast(text: str) -> list[tuple[int, int, str]]:
    names = {value: name for name, value in pg_query_pb2.Token.items()}
    return [(t.start, t.end, names.get(t.token, f"ASCII_{t.token}")) for t in postgast.scan(text).tokens]


def statements_of_postgast(text: str) -> list[tuple[int, str]]:
    return [(one.stmt_location, one.stmt.WhichOneof("node")) for one in postgast.parse(text).stmts]


def statements(raw: bytes) -> list[tuple[int, str]] | None:
    found = pg_query.parse(raw)
    if found is None:
        return None
    return [(one.get("stmt_location", 0), syntax.kind_and_node(one["stmt"])[0]) for one in found]


def test_tokens_statements_and_errors_are_those_of_postgast() -> None:
    every = list(texts())
    assert len(every) > 300
    for text in every:
        raw = text.encode()
        assert result_or_error(pg_query.scan, raw) == result_or_error(tokens_of_postgast, text), text
        assert result_or_error(statements, raw) == result_or_error(statements_of_postgast, text), text
        parts = result_or_error(pg_query.split, raw)
        cut = [raw[start:end].decode() for start, end in parts] if isinstance(parts, list) else parts
        assert cut == result_or_error(postgast.split, text), text


def test_the_limit_of_depth_lies_among_these_texts() -> None:
    assert {pg_query.parse(text.encode()) is None for text in CHAINS} == {False, True}


@pytest.mark.parametrize("inside", ["{", "}", '"{', '{"', '"}"', "\\{", '\\"{', '\\\\"}', "\\", '"', "\n{", "é{"])
def test_what_is_in_a_string_has_no_depth(inside: str) -> None:
    strings = f"select '{inside * 200}', '', '{inside}' || '{inside}', '{inside * 3}'"
    shallow, deep = f"{strings} where {CHAINS[0][7:]} > 0", f"{strings} where {CHAINS[-1][7:]} > 0"
    assert pg_query.parse(strings.encode()) is not None
    assert pg_query.parse(shallow.encode()) is not None
    assert pg_query.parse(deep.encode()) is None


def test_every_node_is_called_as_postgast_calls_it() -> None:
    fields = pg_query_pb2.Node.DESCRIPTOR.fields
    assert len(fields) > 200
    assert [syntax._snake_case(field.json_name) for field in fields] == [field.name for field in fields]


def test_every_token_has_the_name_that_postgast_gives_it() -> None:
    assert pg_query._token_names() == {value: name for name, value in pg_query_pb2.Token.items()}


def test_a_package_without_the_library_is_an_error_with_a_way_out() -> None:
    with pytest.raises(PlanrunError, match=r"no libpg_query\.none") as caught:
        pg_query._file("libpg_query.none")
    assert "pip install" in caught.value.hint
