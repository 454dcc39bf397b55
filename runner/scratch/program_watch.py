"""See what a program does to a scratch copy: every statement that it sends, and the locks that these take.

The program's transactions are not ours to ask. On a private server the server tells it in its log: the statements by
log_min_duration_statement, the locks by an event trigger that is there only while the program runs. An event trigger
does not fire for TRUNCATE and LOCK TABLE; what takes long is also seen from outside (run/held_locks.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from runner import sqlfile
from runner.errors import TargetError
from runner.scratch.place import Place
from runner.sqltext import ident

_LINE = re.compile(r"(\d+\.\d+)\|(\d+)\|([^|]*)\|([^|]*)\|(?:LOG|DETAIL|STATEMENT|CONTEXT):  (.*)", re.DOTALL)
_STATEMENT = re.compile(r"duration: ([\d.]+) ms  (?:statement|execute [^:]*): (.*)", re.DOTALL)
_LOCKS = "planrun_locks "
_BEGINS = re.compile(r"\s*(?:begin|start\s+transaction)\b", re.IGNORECASE)
_ENDS = re.compile(r"(?:^|;)\s*(?:commit|end|rollback|abort)\b[^;]*;?\s*$", re.IGNORECASE)
_TO_SAVEPOINT = re.compile(r"\s*rollback\s+(?:work\s+|transaction\s+)?to\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ProgramStatement:
    """One statement of a program, and how long it took."""

    text: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class ProgramLock:
    """One lock of a program's transaction. oid: the relation. milliseconds: from the statement to the COMMIT."""

    oid: int
    mode: str
    statement: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a program did."""

    statements: tuple[ProgramStatement, ...]
    locks: tuple[ProgramLock, ...]


NOTHING = Seen(statements=(), locks=())


class ProgramWatch:
    """Watches the programs that connect to one scratch database of a private server."""

    def __init__(self, place: Place, database: str) -> None:
        self._place, self._database, self._log = place, database, place.log
        self._words = {**place.words, "dbname": database}
        self._offset = 0

    def begin(self) -> None:
        """Let the server tell from now on what connections do that are opened from now on."""
        self._place.run(self._words, sqlfile.fill("scratch/note_locks.plpgsql", database=ident(self._database)))
        self._offset = self._log.stat().st_size

    def end(self) -> Seen:
        """Let the server be silent, and return what it told. Raises TargetError when the server is gone."""
        self._place.run(self._words, sqlfile.fill("scratch/forget_locks.sql", database=ident(self._database)))
        try:
            with self._log.open("rb") as file:
                file.seek(self._offset)
                text = file.read().decode(errors="replace")
        except OSError as exc:
            raise TargetError(f"cannot read the log of the scratch server: {exc.strerror}", code="PR0904") from exc
        return read(text, self._database)


@dataclass
class _Session:
    """One connection of the program. open: the locks of its transaction, with the time of their statement."""

    inside: bool = False
    fresh: list[tuple[int, str]] = field(default_factory=list)
    open: dict[tuple[int, str], tuple[float, str]] = field(default_factory=dict)


def read(text: str, database: str) -> Seen:
    """Return what the log of a server tells of a database, without planrun's own connections."""
    sessions: dict[str, _Session] = {}
    statements, locks = list[ProgramStatement](), list[ProgramLock]()
    for line in _entries(text.splitlines()):
        found = _LINE.match(line)
        if not found or found[3] != database or found[4].startswith("planrun"):
            continue
        at, session = float(found[1]), sessions.setdefault(found[2], _Session())
        if found[5].startswith(_LOCKS):
            session.fresh += [(int(oid), mode) for oid, mode in json.loads(found[5].removeprefix(_LOCKS))]
        elif statement := _STATEMENT.match(found[5]):
            took, sql = float(statement[1]), statement[2].strip()
            statements.append(ProgramStatement(text=sql, milliseconds=took))
            locks += _after(session, sql, at, took)
    return Seen(statements=tuple(statements), locks=tuple(locks))


def _entries(lines: Iterable[str]) -> Iterator[str]:
    """Join the lines of one entry: a tab begins those that go on."""
    entry = ""
    for line in lines:
        if line.startswith("\t"):
            entry += "\n" + line[1:]
            continue
        if entry:
            yield entry
        entry = line
    if entry:
        yield entry


def _after(session: _Session, sql: str, at: float, took: float) -> Iterator[ProgramLock]:
    """Take a statement in; yield the locks that end with it."""
    for one in session.fresh:
        session.open.setdefault(one, (at - took / 1000, sql))
    session.fresh.clear()
    ends = bool(_ENDS.search(sql)) and not _TO_SAVEPOINT.match(sql)
    session.inside = not ends and (session.inside or bool(_BEGINS.match(sql)))
    if session.inside:
        return
    for (oid, mode), (began, statement) in session.open.items():
        yield ProgramLock(oid=oid, mode=mode, statement=statement, milliseconds=(at - began) * 1000)
    session.open.clear()
