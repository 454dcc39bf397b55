"""Targets: stored data that planrun reads back: manifests, session folders, the journal, the ledger."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from runner.backup import manifest, sessions
from runner.backup.manifest import File, Left, Manifest, Need, Server, Table
from runner.catalogfile import ledger as catalog_ledger
from runner.catalogfile import record as catalog_file
from runner.catalogfile.record import CatalogFile, DatabaseFacts, Definition, Extension, LedgerRow, Role, Size
from runner.events import ActionDone, RunBegan, RunEnded, StepEnded, StepPlanned
from runner.journal.file import FileJournal
from runner.journal.history import fold, last_unfinished
from runner.journal.records import record_of
from runner.model import Outcome, Plan, Sql, State
from runner.redact import Redactor
from runner.refresh import ledger, planrun_schema, schema_ownership
from runner.report import runs, text
from runner.run import resumption
from runner.table_name import TableName
from runner.words import size
from tests.fuzz import mutating
from tests.fuzz.running import Target
from tests.made import planned_step

SESSION = "backup_2025-07-20T12-26-55-178Z"
_SHA = "0" * 64
_TABLE = Table(
    schema="public", name="a", file="a.dump", rows=1, checksum="1", bytes=3, sha256=_SHA, post_data_at=2,
    columns=("id",), references=(TableName("public", "b"),), seconds=0.5,
)  # fmt: skip
GOOD = Manifest(
    made_by="planrun 1", state="complete", session=SESSION, id="x", run="r", plan="p",
    started=datetime(2025, 7, 20, 12, 26, 55, 178000, tzinfo=UTC), finished=datetime(2025, 7, 20, 12, 27, tzinfo=UTC),
    server=Server(version="18.0", version_num=180000, database="d", system_identifier="7"), format="custom",
    tables=(_TABLE,), left_out=(Left(schema="s", name="n", reason="r"),), files={"a.dump": File(bytes=3, sha256=_SHA)},
    needs=(Need(kind="type", schema="public", name="t", identity="public.t", ddl="create type"),), rows=1, bytes=3,
)  # fmt: skip


@cache
def _manifest_json() -> Any:
    return json.loads(manifest.to_json(GOOD))


def _manifest(rng: Random) -> bytes:
    data = mutating.tree(rng, _manifest_json()) if rng.random() < 0.7 else _manifest_json()
    if rng.random() < 0.2 and isinstance(data, dict):
        data = {**data, "files": {mutating.text(rng): {"bytes": 3, "sha256": _SHA}}}
    made = json.dumps(data)
    return mutating.raw(rng, made.encode()) if rng.random() < 0.3 else made.encode("utf-8", "surrogatepass")


def _read_manifest(data: bytes) -> None:
    found = manifest.from_json(data, "m.json")
    text = manifest.to_json(found)
    assert manifest.to_json(manifest.from_json(text)) == text
    assert all(size(number) for number in (found.rows, found.bytes, *(table.rows for table in found.tables)))


# ------------------------------------------------------------------ folders


def _session(rng: Random) -> dict[str, tuple[str, bytes]]:
    """Return what a backup folder holds: name -> how it is made, with what manifest."""
    names = (SESSION, SESSION + ".partial", "backup_2025-07-20T12-26-55-178Zx", ".planrun-" + "0" * 16, "other", "é\n")
    ways = ("plain", "plain", "plain", "verified", "folder", "link", "pipe", "nothing", "file")
    return {rng.choice(names): (rng.choice(ways), _manifest(rng)) for _ in range(rng.randrange(1, 3))}


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="planrun-fuzz-")


def _read_folder(case: Mapping[str, tuple[str, bytes]]) -> None:
    folder = Path(_folder().name, "sessions")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, (way, data) in case.items():
        _put(folder / name, way, data)
    for one in sessions.facts(folder):
        assert one.state in ("complete", "partial", "damaged", "foreign", "writing")
        assert 0 <= sessions.verified_level(folder / one.name) <= 3
    for name in case:
        sessions.remove(folder, name)
        assert not (folder / name).exists()


def _put(path: Path, way: str, data: bytes) -> None:
    if way == "file":
        path.write_bytes(data)
        return
    path.mkdir()
    (path / "a.dump").write_bytes(b"abc")
    inside = path / sessions.MANIFEST
    match way:
        case "folder":
            inside.mkdir()
        case "link":
            inside.symlink_to(path / "a.dump")
        case "pipe":
            os.mkfifo(inside)
        case "verified":
            inside.write_text(manifest.to_json(GOOD))
            (path / sessions.VERIFIED).write_bytes(data)
        case "plain":
            inside.write_bytes(data)


# ------------------------------------------------------------------ the journal


_PLAN = Plan(name="p", file="p.yml", folder=Path(), root=Path(), digest="e", steps=(), content={"p.yml": "name: q\n"})
_REDACTOR = Redactor({})


@cache
def _records() -> list[dict[str, Any]]:
    """Return the records of a run as they are written."""
    events = (
        RunBegan(
            run="r1",
            plan="p",
            file="p.yml",
            mode="apply",
            digest="d",
            total=2,
            host="h",
            pid=1,
            user="u",
            version="0",
            content={"p.yml": "name: p\nsteps: []\n", "params": "n: 1\n"},
            sets=("n=1",),
        ),
        StepPlanned(planned=planned_step("a", Sql(text="select 1"))),
        ActionDone(path="a", key="k.0", result={"count": 1}),
        StepEnded(outcome=Outcome(path="a", state=State.OK, outputs={"count": 1})),
        StepPlanned(planned=planned_step("b", Sql(text="select 2"))),
        StepEnded(outcome=Outcome(path="b", state=State.FAILED, message="no")),
        RunEnded(run="r1", state="failed", exit_code=1, seconds=1.0),
    )
    found = [json.loads(json.dumps(record_of("r1", event))) for event in events]
    together = {"action": "together", "branches": [[{"action": "sql", "text": "x"}], []]}
    known = {"path": "a", "key": "k", "connection": "", "xid": "7", "result": {}}
    found.insert(2, {"run": "r1", "event": "committing", **known})
    found.insert(2, {**found[1], "actions": [together]})
    return found


def _journal(rng: Random) -> bytes:
    records = mutating.tree(rng, _records())
    lines = [json.dumps(record).encode() for record in (records if isinstance(records, list) else [records])]
    data = b"\n".join([*lines, *rng.sample(lines, rng.randrange(len(lines) + 1))])
    return mutating.raw(rng, data) if rng.random() < 0.2 else data


def _fold(data: bytes) -> None:
    path = Path(_folder().name, "p.jsonl")
    path.write_bytes(data)
    found = fold(FileJournal(path).records())
    last_unfinished(FileJournal(path).records(), "p")
    for run in found:
        run.recorded_outcomes(), run.not_kept(), run.paths_at_work()
        assert run.is_unfinished in (True, False)
        assert runs.explain(run, "") and json.dumps(runs.explain_json(run, "a")) and runs.status_json(run, _PLAN, "")
        assert text.resume_lines(resumption.describe(run)) and resumption.differences(run, _PLAN, _REDACTOR)
    assert runs.history(found)


# ------------------------------------------------------------------ the ledger

_MEMBER: dict[str, Any] = {
    "side": "new", "catalog": "pg_class", "oid": 16400, "kind": "table", "schema": "public", "name": "a",
    "about": {"xids": ["7"], "rows": 1, "aside": ["s", "n"]}, "now_schema": "planrun_shadow_public", "now_name": "a",
    "arguments": None, "bytes": 8192, "marked": True,
}  # fmt: skip
_REFRESH: dict[str, Any] = {
    "id": "r1", "plan": "p", "schema": "public", "shadow": "planrun_shadow_public", "state": "loaded", "swapped": None,
    "source": {"connection": "d"}, "about": {"xids": ["1"], "lose": ["view public.v"]}, "members": [_MEMBER, _MEMBER],
}  # fmt: skip


def _jsonb(rng: Random, given: Any) -> Any:
    return mutating.tree(rng, given) if rng.random() < 0.5 else given


def _ledger(rng: Random) -> list[dict[str, Any]]:
    """Rows whose columns have the types of the table, and whose jsonb columns hold anything."""
    return [_ledger_row(rng) for _ in range(rng.randrange(1, 4))]


def _ledger_row(rng: Random) -> dict[str, Any]:
    members = []
    for member in _REFRESH["members"]:
        made = mutating.change_values(rng, {key: value for key, value in member.items() if key != "about"})
        gone = {"now_schema": None, "now_name": None, "bytes": None, "marked": None} if rng.random() < 0.2 else {}
        members.append({**made, **gone, "about": _jsonb(rng, member["about"])})
    plain = {key: _REFRESH[key] for key in ("id", "plan", "schema", "shadow", "state")}
    documents = {key: _jsonb(rng, _REFRESH[key]) for key in ("source", "about")}
    return {
        **mutating.change_values(rng, plain),
        **documents,
        "members": members,
        "made": GOOD.started,
        "swapped": None,
    }


def _read_ledger(rows: list[dict[str, Any]]) -> None:
    there = {"schema": True, "journal": True, "ledger": True, "format": 2}
    others: dict[str, list[dict[str, Any]]] = {planrun_schema.THERE: [there], schema_ownership.QUERY: []}
    found = ledger.read(lambda text: others.get(text, rows))
    assert len(found) == len(rows)
    for one in found:
        assert {field.name for field in fields(one)} >= set(rows[0]) - {"about"}
        assert len(one.side("new")) <= len(one.members)
        assert ledger.begin(one.id, one.plan, one.schema, one.shadow, one.source)
        assert ledger.note(one.id, **vars(one.record)) and ledger.add_members(one.id, one.members)
    ledger.find(found, schema=found[0].schema, states=("loaded",))


# ------------------------------------------------------------------ catalog files

_CATALOG = CatalogFile(
    planrun="1", taken="2026-11-20T10:00:00+00:00", plan="p",
    databases=(
        DatabaseFacts(
            connection="target", place="d at h:1 as u", database="d", version=180000, user="u", owner="u",
            roles=(Role(name="u", superuser=True, member_of=("g",)),),
            extensions=(Extension(name="e", schema="s", version="1"),),
            definitions=(Definition(kind="TABLE", schema="s", name="t", sql="create table t (\n);"),),
            sizes=(Size(schema="s", name="t", rows=None, counted=False, bytes=1, table_bytes=1, main_bytes=1),),
            ledger=(LedgerRow(part="member", identity="s.t", row={"about": {"keys": [{"oid": 7}]}}),),
        ),
        DatabaseFacts(connection="other", place="d at h:1 as u", same_as="target"),
    ),
)  # fmt: skip


def _catalog_file(rng: Random) -> bytes:
    made = json.dumps(mutating.tree(rng, json.loads(json.dumps(catalog_file.to_json(_CATALOG))))).encode()
    return mutating.raw(rng, made) if rng.random() < 0.2 else made


def _read_catalog_file(data: bytes) -> None:
    path = Path(_folder().name, "c.json")
    path.write_bytes(data)
    found = catalog_file.read(str(path))
    text = "".join(catalog_file._lines(catalog_file.to_json(found)))
    assert catalog_file.from_json(json.loads(text)) == found
    assert found.age(GOOD.started) and all(found.database(one.connection) for one in found.databases)
    for one in found.databases:
        noted = sum(len(list(catalog_ledger._captured_tables(row.row))) for row in one.ledger)
        list(catalog_ledger.fill(one.ledger, partial(_answer, [{"oid": 9}] * noted)))


def _answer(there: list[dict[str, Any]], query: str) -> list[dict[str, Any]]:
    return there if "to_regclass" in query else []


CATALOG_FILE = Target("catalog file", _catalog_file, _read_catalog_file, weight=3)
MANIFEST = Target("manifest", _manifest, _read_manifest, weight=12)
SESSIONS = Target("sessions", _session, _read_folder, weight=5)
JOURNAL = Target("journal", _journal, _fold, weight=10)
LEDGER = Target("ledger", _ledger, _read_ledger, weight=8)
