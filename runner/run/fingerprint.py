"""What the actions of a diff depend on, as hashes by object, and how it differs later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from runner import sqlfile
from runner.engine import Drive
from runner.events import action_json
from runner.fates import Depth, Fate, ObjectFate
from runner.kinds import KINDS
from runner.kinds.base import CatalogReader
from runner.model import Action, Backup, Command, PlannedStep, Restore, Sql, State, Together, Trial, Verify, Write
from runner.record import dataclass
from runner.redact import Redactor
from runner.table_name import TableName
from runner.words import json_text

_IDENTITY = sqlfile.read("server/database_identity.sql")
_SYSTEM = sqlfile.read("server/system_identifier.sql")

Texts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StepBasis:
    """What a step does, without details that change by themselves: numbers of rows, sizes, times, OIDs.

    text: a hash of what the plan's author wrote, with its values. objects: what becomes of each, by kind and name.
    """

    state: str
    text: str
    objects: Texts


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a diff depends on.

    steps: by path. The default connection is "". depths: how much of each relation counts, by connection and name.
    relations: in the same way, the kind and the hash of each aspect; nothing for a relation that does not exist.
    sets: by connection and schema, the state of each refresh by its id.
    """

    steps: Mapping[str, StepBasis]
    depths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    relations: Mapping[str, Mapping[str, Texts]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Texts]] = field(default_factory=dict)


def take(
    done: Drive, reader: CatalogReader, redactor: Redactor, default: str, *, then: Fingerprint | None = None
) -> Fingerprint:
    """Return the fingerprint of a diff, read from the databases now. Secrets are removed before anything is hashed.

    default: the name of the default connection. then: an earlier fingerprint; its relations are read again.
    """
    started = reader.start_time.isoformat()
    planned = list(done.planned_steps.values())
    depths = then.depths if then else _depths(planned, default)
    return Fingerprint(
        steps={
            path: StepBasis(
                state=done.outcomes[path].state.value,
                text=_text(step.actions, redactor, started),
                objects=dict(_objects(step)),
            )
            for path, step in done.planned_steps.items()
        },
        depths=depths,
        relations={connection: _relations(wanted, reader, connection) for connection, wanted in depths.items()},
        sets=_sets(planned, reader, default),
    )


def identity(reader: CatalogReader, connection: str) -> dict[str, str]:
    """Return what distinguishes this database from others of the same name, and the role."""
    [row] = reader.rows(_IDENTITY, connection=connection)
    system = reader.rows(_SYSTEM, connection=connection)[0]["system"] if row["may_ask"] else ""
    return {"database": row["database"], "oid": row["oid"], "role": row["role"], "system": system}


# ------------------------------------------------------------------ steps


def _objects(planned: PlannedStep) -> Iterator[tuple[str, str]]:
    preview = planned.preview
    for one in (*preview.objects, *preview.coming) if preview else ():
        if one.fate is not Fate.LEFT or one.kind == "table":
            yield one.what, _fate(one)


def _fate(one: ObjectFate) -> str:
    """Return the fate with added and lost columns. Whether an empty table is saved depends only on its rows."""
    fate = Fate.SAVED if one.fate is Fate.LEFT else one.fate
    columns = [*(f"+ {column}" for column in one.gains), *(f"- {column}" for column in one.loses)]
    return "; ".join((fate.value, *columns))


def _text(actions: Iterable[Action], redactor: Redactor, started: str) -> str:
    found = redactor.of([data for action in actions for data in _author_texts(action)])
    text = json_text(found).replace(started, "${run.started}")
    return hashlib.sha256(text.encode()).hexdigest() if found else ""


def _author_texts(action: Action) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of an action that the author wrote, without what planrun found out."""
    match action:
        case Together(branches=branches):
            yield from (text for branch in branches for one in branch for text in _author_texts(one))
        case Backup(to=to):
            yield {"to": to}
        case Command():
            yield {**action_json(action), "surveys": []}
        case Trial():
            yield {**action_json(action), "rows": None, "size": 0, "see": ""}
        case Sql(theirs=True) | Write() | Restore() | Verify():
            yield action_json(action)


# ------------------------------------------------------------------ the catalog


def _depths(planned: Iterable[PlannedStep], default: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for basis in (one for step in planned if step.preview for one in step.preview.basis):
        known = found.setdefault(_key(basis.connection, default), {})
        known |= {str(name): max(basis.depth, known.get(str(name), 0)) for name in basis.names}
    return found


def _key(connection: str, default: str) -> str:
    return "" if connection == default else connection


_SHAPE = {"kind", "columns", "constraints", "indexes", "inheritance", "partitioning", "definition"}


def _relations(wanted: Mapping[str, int], reader: CatalogReader, connection: str) -> dict[str, dict[str, str]]:
    names = [TableName.parse(name) for name in wanted]
    text = reader.sql(
        "catalog/fingerprint.sql.j2",
        schemas=[name.schema for name in names],
        names=[name.name for name in names],
        deep=[depth == Depth.DEPENDENTS for depth in wanted.values()],
    )
    found: dict[str, dict[str, str]] = {name: {} for name in wanted}
    for row in reader.rows(text, connection=connection):
        name = str(TableName.of(row))
        if wanted[name] != Depth.SHAPE or row["aspect"] in _SHAPE:
            found[name][row["aspect"]] = f"{row['kind']}:{row['hash']}"
    return found


def _sets(planned: Iterable[PlannedStep], reader: CatalogReader, default: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return the states of the refreshes of the schemas that the steps work on."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for one in planned:
        refreshes = one.step.kind and getattr(KINDS[one.step.kind], "REFRESHES", False)
        if not (refreshes and one.preview and one.preview.place and one.preview.basis):
            continue
        connection, place = _key(one.preview.basis[-1].connection, default), one.preview.place
        from runner.refresh import ledger

        every = ledger.read(partial(reader.rows, connection=connection), looking=True)
        found.setdefault(connection, {})[place] = {each.id: each.state for each in every if each.schema == place}
    return found


# ------------------------------------------------------------------ what is otherwise


def differences(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    """Yield a line for each thing that a diff depended on and that has changed."""
    yield from _relation_lines(then, now)
    yield from _set_lines(then, now)
    for path in dict.fromkeys((*then.steps, *now.steps)):
        yield from _step_lines(path, then.steps.get(path), now.steps.get(path))


def _relation_lines(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    for connection, relations in then.relations.items():
        for name, old in relations.items():
            new = now.relations.get(connection, {}).get(name, {})
            what = f"{_kind(new or old)} {name}" + (f" ({connection})" if connection else "")
            if bool(old) != bool(new):
                yield f"{what}: {'is gone' if old else 'is there'} since the diff"
                continue
            for aspect in sorted(set(old) | set(new)):
                if old.get(aspect) != new.get(aspect):
                    yield f"{what}: {aspect} changed since the diff"


def _kind(aspects: Texts) -> str:
    return next(iter(aspects.values()), "relation:").partition(":")[0]


def _set_lines(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    for connection, places in then.sets.items():
        for place, old in places.items():
            new = now.sets.get(connection, {}).get(place, {})
            for run in dict.fromkeys((*old, *new)):
                if old.get(run) != new.get(run):
                    states = f"{old.get(run, 'not there')} at the diff, {new.get(run, 'gone')} now"
                    yield f"tables of schema {place} that run {run} made: {states}"


def _step_lines(path: str, old: StepBasis | None, new: StepBasis | None) -> Iterator[str]:
    if old is None or new is None:
        yield f"step {path}: {'is part of it now' if old is None else 'is no longer part of it'}"
        return
    if old.state != new.state:
        yield f"step {path}: {old.state} at the diff, {new.state} now"
    if new.state == State.FAILED:
        return  # nothing else is known about it
    if old.text != new.text:
        yield f"step {path}: its text has other values than at the diff"
    for what in dict.fromkeys((*old.objects, *new.objects)):
        before, after = old.objects.get(what), new.objects.get(what)
        if before != after:
            yield f"step {path}: {what}: {before or 'not mentioned'} at the diff, {after or 'not mentioned'} now"


# ------------------------------------------------------------------ JSON


def to_json(found: Fingerprint) -> dict[str, Any]:
    steps = {path: {"state": s.state, "text": s.text, "objects": dict(s.objects)} for path, s in found.steps.items()}
    return {"steps": steps, "depths": found.depths, "relations": found.relations, "sets": found.sets}


def from_json(data: Mapping[str, Any]) -> Fingerprint:
    """Return what `to_json` gave. Raises KeyError, TypeError or AttributeError for anything else."""
    steps = {path: StepBasis(**one) for path, one in data["steps"].items()}
    return Fingerprint(steps=steps, depths=data["depths"], relations=data["relations"], sets=data["sets"])
