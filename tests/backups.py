"""What the backup tests share: a CatalogReader on one database, and a backup from the kind to its session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from runner import resources
from runner.backup import dumping, sessions
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.kinds import pg_dump
from runner.kinds.base import ServerFacts, StatementFacts, build
from runner.model import Backup, Check, Note
from runner.progress import Report
from runner.safesql.templates import Templates
from runner.server import programs
from runner.session_facts import SessionFacts
from runner.table_name import TableName

render = Templates((resources.SQL,)).sql


class CatalogReader:
    """A runner.kinds.base.CatalogReader on a conninfo."""

    start_time = datetime(2026, 1, 31, tzinfo=UTC)
    plan, run, stale = "nightly", "20260131T000000Z-0000", False

    def __init__(self, dsn: str, folder: Path) -> None:
        self.connections = Connections({}, {"DATABASE_URL": dsn, "PATH": "/usr/bin:/bin"})
        self.folder = self.root = folder

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        with self.connections.open(connection, read_only=True) as conn:
            return conn.execute(text).fetchall()

    def ask(self, text: str, *, connection: str = "", limit: int = 1000, detail: bool = False) -> list[dict[str, Any]]:
        return self.rows(text, connection=connection)[:limit]

    def file(self, path: str) -> str:
        return path

    def explain(self, text: str, *, connection: str = "") -> tuple[StatementFacts, ...]:
        raise AssertionError("no kind tested here explains SQL")

    def sql(self, name: str, /, **values: Any) -> str:
        return render(name, **values)

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        raise AssertionError("no kind tested here writes a text")

    def server(self, connection: str = "") -> ServerFacts:
        with self.connections.open(connection) as conn:
            info = conn.info
            return ServerFacts(version=info.server_version, database=info.dbname, user=info.user)

    def pg_dump_for(self, server_major: int) -> str:
        return programs.client_for(server_major).tool("pg_dump")

    def tables_of(self, session: str) -> tuple[TableName, ...]:
        return tuple(table.full_name for table in sessions.read(Path(session)).tables)

    def sessions(self, folder: str) -> tuple[SessionFacts, ...]:
        return sessions.facts(Path(folder))

    def others(self, kind: str) -> tuple[Mapping[str, Any], ...]:
        return ()

    def command(self, verb: str, *options: str) -> str:
        return " ".join(("planrun", verb, "p.yml", *options))


class Backups:
    """Backups of one database into one folder."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder, self.reader = dsn, folder, CatalogReader(dsn, folder)

    def sql(self, text: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(text)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return conn.execute(text).fetchall()

    def actions(self, **params: Any) -> tuple[Any, ...]:
        made = build(pg_dump.Params, {"to": str(self.folder), **params}, self.folder)
        return pg_dump.render(made, pg_dump.look(made, self.reader), render)

    def action(self, **params: Any) -> Backup:
        check, action = self.actions(**params)
        assert isinstance(check, Check) and isinstance(action, Backup)
        return action

    def problems(self, **params: Any) -> list[str]:
        """Return the rows of the check before the backup."""
        return [row["problem"] for row in self.reader.rows(self.actions(**params)[0].text)]

    def note(self, **params: Any) -> str:
        (note,) = self.actions(**params)
        assert isinstance(note, Note)
        return note.text

    def make(self, *, cancel: Cancel | None = None, progress: Report | None = None, **params: Any) -> Made:
        return self.run(self.action(**params), cancel=cancel, progress=progress)

    def run(self, action: Backup, *, cancel: Cancel | None = None, progress: Report | None = None) -> Made:
        result = dumping.backup(
            action, self.reader.connections, run="r1", plan="nightly", cancel=cancel, progress=progress
        )
        return Made(result)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


class Made:
    """The result of a backup."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result, self.path = result, Path(result["session"])

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "manifest.json").read_text()))

    @property
    def reasons(self) -> dict[str, str]:
        return {left["name"]: left["reason"] for left in self.result["left_out"]}
