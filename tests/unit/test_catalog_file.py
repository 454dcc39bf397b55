"""Catalog files: what is in one, what is not, and that a bad one says why. No database is needed here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.catalogfile import record
from runner.catalogfile.definitions import without_body
from runner.catalogfile.record import (
    CatalogFile,
    CatalogFileError,
    DatabaseFacts,
    Definition,
    Extension,
    LedgerRow,
    Role,
    Size,
)
from runner.errors import UsageError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
COUNT = st.integers(0, 1 << 50)
FACTS = st.builds(
    DatabaseFacts,
    connection=TEXT,
    place=TEXT,
    database=TEXT,
    version=COUNT,
    owner=TEXT,
    public_owner=TEXT,
    user=TEXT,
    may_create=st.booleans(),
    search_path=TEXT,
    roles=st.lists(
        st.builds(Role, name=TEXT, superuser=st.booleans(), member_of=st.lists(TEXT).map(tuple)), max_size=2
    ).map(tuple),
    extensions=st.lists(st.builds(Extension, name=TEXT, schema=TEXT, version=TEXT), max_size=2).map(tuple),
    definitions=st.lists(st.builds(Definition, kind=TEXT, schema=TEXT, name=TEXT, sql=TEXT), max_size=3).map(tuple),
    sizes=st.lists(
        st.builds(
            Size,
            schema=TEXT,
            name=TEXT,
            rows=st.none() | COUNT,
            counted=st.booleans(),
            bytes=COUNT,
            table_bytes=COUNT,
            main_bytes=COUNT,
        ),
        max_size=2,
    ).map(tuple),
    ledger=st.lists(
        st.builds(
            LedgerRow, part=st.sampled_from(["refresh", "member"]), identity=TEXT, row=st.dictionaries(TEXT, TEXT)
        ),
        max_size=2,
    ).map(tuple),
)
FILES = st.lists(FACTS, min_size=1, max_size=2, unique_by=lambda one: one.connection).map(
    lambda some: CatalogFile(planrun="1", taken="2026-11-28T00:00:00+00:00", plan="p", databases=tuple(some))
)
ONE = CatalogFile(
    planrun="0.1.0",
    taken="2026-11-20T10:00:00+00:00",
    plan="p",
    databases=(
        DatabaseFacts(
            connection="target",
            place="prod at db1:5432 as app",
            database="prod",
            version=180006,
            user="app",
            owner="app",
            public_owner="app",
            definitions=(
                Definition(kind="TABLE", schema="public", name="t", sql="CREATE TABLE public.t (\n    id int\n);"),
            ),
            sizes=(
                Size(schema="public", name="t", rows=1, counted=True, bytes=8192, table_bytes=8192, main_bytes=8192),
            ),
        ),
        DatabaseFacts(connection="copy", place="prod at db1:5432 as app", same_as="target"),
    ),
)


@settings(max_examples=30)
@given(FILES)
def test_a_file_is_read_as_it_was_written(found: CatalogFile) -> None:
    text = "".join(record._lines(record.to_json(found)))
    again = record.from_json(json.loads(text))
    assert again == found
    assert "".join(record._lines(record.to_json(again))) == text


def test_a_file_is_made_to_be_reviewed(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    record.write(ONE, str(file))
    assert record.read(str(file)) == ONE
    lines = file.read_text().splitlines()
    assert '      "    id int",' in lines, "a line of a definition is a line of the file"
    (size,) = [line for line in lines if '"main_bytes"' in line]
    assert size.strip().startswith('{"schema": "public", "name": "t", "rows": 1,'), "sizes of a table are one line"
    record.write(ONE, str(file))


def test_connections_that_lead_to_one_database_share_it() -> None:
    assert ONE.database("copy") == ONE.database("target") == ONE.databases[0]
    assert ONE.database("other") is None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-20T10:20:00+00:00", "new"),
        ("2026-11-20T15:00:00+00:00", "5 hours old"),
        ("2026-11-28T10:00:00+00:00", "8 days old"),
        ("2026-11-19T10:00:00+00:00", "its date is in the future"),
    ],
)
def test_a_file_says_how_old_it_is(now: str, said: str) -> None:
    assert ONE.age(datetime.fromisoformat(now).astimezone(UTC)) == said


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"format_version": 2}, "PR1044", "has format 2, and this planrun reads format 1"),
        ({"format_version": None}, "PR1044", "has format None"),
        ({"catalog_file": "x"}, "PR1043", "this is not a catalog file"),
        ({"taken": "yesterday"}, "PR1043", "lacks what a catalog file has"),
        ({"databases": None}, "PR1043", "lacks what a catalog file has"),
        ({"databases": [{}]}, "PR1043", "lacks what a catalog file has"),
        ({"databases": [{"connection": "a", "place": "", "same_as": "b"}]}, "PR1043", "same_as names a connection"),
        ({"plan": "a\0b"}, "PR1043", "lacks what a catalog file has"),
    ],
)
def test_a_file_that_is_none_says_why(change: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(CatalogFileError) as caught:
        record.from_json({**record.to_json(ONE), **change})
    assert caught.value.code == code and said in caught.value.message


@settings(max_examples=30)
@given(st.data())
def test_a_file_with_anything_in_a_field_is_read_or_refused(data: st.DataObject) -> None:
    whole = json.loads(json.dumps(record.to_json(ONE)))
    at: Any = whole
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(
                st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})
            )
            break
        at = at[key]
    try:
        record.from_json(whole)
    except CatalogFileError as exc:
        assert exc.code in ("PR1043", "PR1044")


def test_a_file_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    for name, text in (("cut.json", '{"catalog_file": '), ("none.json", None), ("deep.json", "[" * 100_000)):
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        with pytest.raises(CatalogFileError) as caught:
            record.read(str(file))
        assert str(caught.value).startswith(f"{file}: PR1043") and "planrun snapshot" in caught.value.hint


def test_no_other_file_is_replaced(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious.json", tmp_path / "link.json"
    precious.write_text("precious")
    record.write(ONE, str(tmp_path / "catalog.json"))
    link.symlink_to(tmp_path / "catalog.json")
    for file in (precious, link, tmp_path):
        with pytest.raises(UsageError, match="is no catalog file"):
            record.write(ONE, str(file))
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$s3cret$$;", True),
        ("CREATE PROCEDURE f(a text DEFAULT 'AS') LANGUAGE plpgsql AS $_$begin perform 's3cret'; end$_$;", True),
        ("CREATE FUNCTION f(a text) RETURNS text LANGUAGE plpgsql SET search_path TO 'x' AS 's3cret';", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 's3cret', 'symbol';", False),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 's3cret'; END;", False),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ not closed s3cret", False),
    ],
)
def test_the_body_of_a_function_is_left_out(text: str, wanted: bool) -> None:
    made = without_body(text)
    assert ("s3cret" not in made) == wanted
    assert made == text or "'-- left out, sha256 " in made
