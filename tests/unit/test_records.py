"""The records of the ledger: read back as they were written, upgraded from 0.1, refused when they are newer."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.refresh.catalog.relations import ForeignKey
from runner.refresh.records import (
    VERSION,
    Key,
    MemberRecord,
    NewerRecordError,
    RecordError,
    RefreshRecord,
    SequencePosition,
    Watched,
    Window,
)
from runner.table_name import TableName

OLD = json.loads(Path(__file__).with_name("records_0_1.json").read_text())
"""What 0.1 recorded of a refresh of four tables with two views and a rollback window."""

TEXTS = st.lists(st.text(max_size=5), max_size=3).map(tuple)
NAMES = st.builds(TableName, st.text(max_size=5), st.text(max_size=5))
WATCHED = st.builds(
    Watched,
    key=st.lists(st.builds(Key, st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple),
    columns=TEXTS,
    truncate_on=st.lists(NAMES, max_size=2).map(tuple),
    window=st.booleans(),
)
KEYS = st.lists(st.builds(ForeignKey, columns=TEXTS, ref_columns=TEXTS, oid=st.just(0), ref_oid=st.just(0)), max_size=2)
STATES = st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=5), st.sampled_from("ODRA")), max_size=2)
XIDS = st.lists(st.integers(3, 2**63).map(str), max_size=3).map(tuple)
RECORDS = st.builds(
    RefreshRecord,
    version=st.just(VERSION),
    shadow_oid=st.integers(0, 2**32 - 1),
    shadow_schemas=st.dictionaries(st.text(max_size=5), st.integers(0, 2**32 - 1), max_size=2),
    lose=TEXTS,
    foreign_keys=KEYS.map(tuple),
    structure=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    xids=XIDS,
    trigger_states=STATES,
    rule_states=STATES,
    sequences=st.lists(st.builds(SequencePosition), max_size=2).map(tuple),
    columns=st.dictionaries(st.text(max_size=5), TEXTS, max_size=2),
    new_protection=TEXTS,
    empty=TEXTS,
    preserved=TEXTS,
    keys=st.lists(WATCHED, max_size=2).map(tuple),
    dropped_keys=KEYS.map(tuple),
    window=st.none() | st.builds(Window, tables=st.lists(WATCHED, max_size=2).map(tuple)),
    belongings=st.dictionaries(st.text(max_size=5), TEXTS, max_size=2),
    afterwards=TEXTS,
    undone=st.text(max_size=5),
    adopted=st.booleans(),
)
MEMBERS = st.builds(MemberRecord, xids=XIDS, aside=st.none() | NAMES)


@given(RECORDS)
def test_a_record_is_read_back_as_it_was(record: RefreshRecord) -> None:
    assert RefreshRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@given(MEMBERS)
def test_a_member_is_read_back_as_it_was(record: MemberRecord) -> None:
    assert MemberRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_what_a_member_does_not_have_is_not_written() -> None:
    assert MemberRecord().to_json() == {}
    assert MemberRecord(rows=0, aside=TableName("s", "n")).to_json() == {"rows": 0, "aside": ["s", "n"]}


def test_every_field_that_0_1_wrote_is_read() -> None:
    record = RefreshRecord.from_json(OLD["refresh"])
    assert OLD["refresh"].keys() < {one.name for one in fields(RefreshRecord)}
    written = json.loads(json.dumps(record.to_json()))
    assert written.pop("version") == VERSION
    assert record.window and [one.name for one in record.window.tables] == ["users", "sessions"]
    for key in OLD["refresh"]["dropped_keys"]:
        key["plain"] = True  # only such keys were taken off
    for name, value in OLD["refresh"].items():
        if name != "window":
            assert written[name] == value, name
    for keys in (written["window"]["keys"], OLD["refresh"]["window"]["keys"]):
        for one in keys:
            one.pop("triggers", None)
    assert written["window"] == OLD["refresh"]["window"]


def test_every_member_that_0_1_wrote_is_read() -> None:
    members = {name: MemberRecord.from_json(about) for name, about in OLD["members"].items()}
    assert members["new table users"] == MemberRecord(rows=20, checksum="-17519514223469354188")
    assert members["old view big_orders"] == MemberRecord(aside=TableName("public", "backup_big_orders"))
    assert not members["new view big_orders"].populated and members["new matview totals"].populated


def test_the_record_of_a_newer_version_is_refused() -> None:
    with pytest.raises(NewerRecordError, match=str(VERSION + 1)):
        RefreshRecord.from_json({"version": VERSION + 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "2"),
        ("xids", 1),
        ("xids", ["x"]),
        ("lose", "view v"),
        ("foreign_keys", [{}]),
        ("keys", [{"oid": 1}]),
        ("window", {"until": 1, "keys": []}),
        ("columns", {"t": [1]}),
        ("shadow_oid", True),
        ("adopted", "yes"),
        ("trigger_states", {"t": "O"}),
    ],
)
def test_the_field_that_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(RecordError, match=f"^{name}$"):
        RefreshRecord.from_json({name: value})


@pytest.mark.parametrize(("name", "value"), [("rows", "1"), ("aside", ["s"]), ("aside", "sn"), ("comment", 1)])
def test_the_field_of_a_member_that_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(RecordError, match=f"^{name}$"):
        MemberRecord.from_json({name: value})


@pytest.mark.parametrize("read", [RefreshRecord.from_json, MemberRecord.from_json])
def test_what_is_no_object_is_refused(read: Any) -> None:
    with pytest.raises(RecordError):
        read([])
