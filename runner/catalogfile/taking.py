"""Take the structure and the sizes of a plan's databases for a catalog file. It only reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runner import __version__, sqlfile, tools
from runner.backup import toc
from runner.cancel import Cancel
from runner.catalogfile import ledger
from runner.catalogfile.definitions import definitions
from runner.catalogfile.record import CatalogFile, DatabaseFacts, Definition, Extension, Role, Size
from runner.database.connections import Connections
from runner.errors import PlanrunError, TargetError
from runner.model import Plan
from runner.planfile import templates_of
from runner.redact import Redactor
from runner.run.catalog_reader import LiveCatalogReader

SMALL = 8 << 20
"""Bytes of a table up to which its rows are counted, as a diff does; of larger ones the server's estimate is kept."""
_AT_ONCE = 200

_OPTIONS = (
    *("--schema-only", "--format=custom", "--no-subscriptions", "--no-security-labels", "--no-tablespaces"),
    *("--lock-wait-timeout=10000", "--no-password"),
)

_DATABASE = sqlfile.read("catalogfile/database.sql")
_ROLES = sqlfile.read("catalogfile/roles.sql")
_EXTENSIONS = sqlfile.read("catalogfile/extensions.sql")
_SIZES = sqlfile.read("catalogfile/sizes.sql")


def take(plan: Plan, env: Mapping[str, str], cancel: Cancel) -> CatalogFile:
    """Return the catalog file of all connections of a plan. Raises ConnectError, TargetError, PlanrunError."""
    connections = Connections(plan.connections, env, cancel=cancel)
    redactor = Redactor(plan.env, env)
    connections.learn = redactor.learn
    connections.refuse_unused()
    names = sorted(plan.connections, key=lambda name: (name != connections.default(), name)) or [""]
    found: list[DatabaseFacts] = []
    met: dict[tuple[str, str], str] = {}
    with contextlib.closing(LiveCatalogReader(plan, connections, templates_of(plan.root))) as reader:
        for name in names:
            (facts,) = reader.rows(_DATABASE, connection=name)
            place = connections.line(name).partition(": ")[2].rpartition(", from ")[0]
            same = met.setdefault((place, facts["oid"]), name)
            if same != name:
                found.append(DatabaseFacts(connection=name, place=place, same_as=same))
            else:
                found.append(_Taking(reader, connections, name, env, cancel).database(facts, place))
    _refuse_secrets(found, redactor)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return CatalogFile(planrun=__version__, taken=now, plan=plan.name, databases=tuple(found))


def _refuse_secrets(found: Iterable[DatabaseFacts], redactor: Redactor) -> None:
    """Raise PlanrunError when a definition holds a secret of the environment: the file is made to be shown."""
    for one in (each for database in found for each in database.definitions):
        if redactor.holds(one.sql):
            name = f"{one.schema}.{one.name}" if one.schema else one.name
            raise PlanrunError(
                f"the definition of {one.kind.lower()} {name} holds a secret of the environment",
                hint="take the secret out of the definition: everybody who may connect can read it in the catalog",
                code="PR1049",
            )


class _Taking:
    """Reads one database."""

    def __init__(
        self, reader: LiveCatalogReader, connections: Connections, name: str, env: Mapping[str, str], cancel: Cancel
    ) -> None:
        self._reader, self._connections, self._name = reader, connections, name
        self._env, self._cancel = env, cancel

    def database(self, facts: Mapping[str, Any], place: str) -> DatabaseFacts:
        (path,) = self._reader.ask("select pg_catalog.current_setting('search_path') as p", connection=self._name)
        return DatabaseFacts(
            connection=self._name,
            place=place,
            database=facts["database"],
            version=facts["version"],
            owner=facts["owner"],
            public_owner=facts["public_owner"] or "",
            user=facts["user"],
            may_create=facts["may_create"],
            encoding=facts["encoding"],
            search_path=path["p"],
            roles=tuple(Role(**row | {"member_of": tuple(row["member_of"])}) for row in self._rows(_ROLES)),
            extensions=tuple(Extension(**row) for row in self._rows(_EXTENSIONS)),
            definitions=tuple(self._definitions(facts["version"] // 10000)),
            sizes=tuple(self._sizes()),
            ledger=tuple(ledger.take(self._rows)) if facts["ledger"] else (),
        )

    def _rows(self, text: str) -> list[dict[str, Any]]:
        return self._reader.rows(text, connection=self._name)

    def _definitions(self, major: int) -> Iterator[Definition]:
        pg_dump = self._reader.pg_dump_for(major)
        with tools.access(self._connections.words(self._name), self._env) as door:
            argv = (pg_dump, *_OPTIONS, f"--dbname={door.conninfo}")
            with tools.Child(argv, env=door.env, cancel=self._cancel, pass_fds=door.pass_fds, hide=door.hide) as child:
                try:
                    data = b"".join(child.chunks())
                except TargetError as exc:
                    if "permission denied" in exc.message:
                        exc.hint = "pg_dump reads the structure only of what the role may read: grant pg_read_all_data"
                    raise
        yield from definitions(toc.read(data))

    def _sizes(self) -> Iterator[Size]:
        every = self._rows(_SIZES)
        counted: dict[int, int] = {}
        small = [{**row, "at": at, "parts": False} for at, row in enumerate(every) if _is_small(row)]
        for start in range(0, len(small), _AT_ONCE):
            counted |= self._count(small[start : start + _AT_ONCE])
        for at, row in enumerate(every):
            yield Size(
                schema=row["schema"],
                name=row["name"],
                rows=counted.get(at, row["estimate"]),
                counted=at in counted,
                bytes=row["bytes"],
                table_bytes=row["table_bytes"],
                main_bytes=row["main_bytes"],
            )

    def _count(self, some: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        text = self._reader.sql("catalog/rows.sql.j2", small=some, large=[])
        return {row["at"]: row["rows"] for row in self._rows(text)}


def _is_small(row: Mapping[str, Any]) -> bool:
    return bool(row["readable"]) and int(row["main_bytes"]) <= SMALL
