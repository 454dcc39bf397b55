"""Make the diff of a plan from a catalog file: the ordinary diff, on databases that are made of the file.

What the file does not hold is unknown until run, with the reason: rows of tables, planrun's ledger, backup folders.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runner.cancel import Cancel
from runner.catalogfile import record
from runner.catalogfile.private import PrivateDatabase, private_database
from runner.catalogfile.record import CatalogFile, DatabaseFacts
from runner.database.connections import Connections
from runner.errors import NotKnownYet, TargetError
from runner.events import Emit, Event, RunBegan
from runner.kinds.base import ServerFacts, StatementFacts
from runner.model import Plan
from runner.result import RunResult, StepResult
from runner.run import plan_run
from runner.run.catalog_reader import LiveCatalogReader
from runner.run.redirection import redirect
from runner.safesql import syntax
from runner.session_facts import SessionFacts
from runner.sqltext import literal
from runner.table_name import TableName
from runner.words import one_line

_OURS = ("pg_catalog", "information_schema", "pg_toast")
_LEDGER = {("planrun", "refresh"), ("planrun", "member")}
_NOTE = (
    "rows and sizes are those of the file; who holds locks now, which transactions, slots and standbys there are, how"
    " long steps took before, what is in backup folders, and what a query of the plan finds in tables is not known"
)

_OLD = f"! the catalog file is more than {record.OLD.days} days old: planrun snapshot writes it anew"


@dataclass(frozen=True)
class CatalogDatabases:
    """The databases that were made of a catalog file, by the connections of plans."""

    file: str
    found: CatalogFile
    made: Mapping[str, PrivateDatabase]
    env: Mapping[str, str]
    cancel: Cancel

    def diff(self, plan: Plan, *, until: str = "", on_event: Emit | None = None) -> RunResult:
        """Return what an apply of a plan would do, as far as the file tells. Raises CatalogFileError, PlanError."""
        default = Connections(plan.connections, {}).default()
        facts = {name: self._facts(name) for name in (*plan.connections, default)}
        to = {name: self.made[one.connection].words for name, one in facts.items()}
        led = redirect(plan, self.env, to)
        there = replace(led.plan, params=plan.params, env=plan.env, passed=(), journal="file")
        lines = self.lines(tuple(plan.connections) or ("",), default)
        reader = partial(CatalogFileReader, facts={**facts, "": facts[default]})
        listen = partial(_tell, on_event, lines) if on_event else None
        with plan_run.open_run(there, led.env, listen, self.cancel, mode="apply", reader=reader) as one:
            result = one.diff(until=until)
        left = [f"not made of the file: {why}" for made in self.made.values() for why in made.left]
        steps = tuple(map(_without_counts, result.steps))
        old = [_OLD] if self.found.is_old(datetime.now(UTC)) else []
        return replace(result, databases=lines, steps=steps, file=plan.file, notes=(*old, _NOTE, *left))

    def _facts(self, name: str) -> DatabaseFacts:
        if facts := self.found.database(name):
            return facts
        known = ", ".join(one.connection or "the default one" for one in self.found.databases)
        raise record.CatalogFileError(
            f"the catalog file has no connection {name or '(the default one)'}; it has {known}",
            where=self.file,
            hint="write it from this plan: planrun snapshot PLAN --out FILE",
            code="PR1045",
        )

    def lines(self, names: Sequence[str], default: str) -> tuple[str, ...]:
        """Return a line for each connection: which file, of which database, how old."""
        age = self.found.age(datetime.now(UTC))
        places = {one.connection: one.place for one in self.found.databases}
        ordered = sorted(names, key=lambda name: name != default)
        return tuple(
            one_line(
                f"{name or 'target'}: the catalog file {self.file}, of {places.get(name, '?')}, "
                f"PostgreSQL {_version(self._facts(name).version)}, taken {self.found.taken[:16].replace('T', ' ')} UTC"
                f" ({age})"
            )
            for name in ordered
        )


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"


@contextlib.contextmanager
def catalog_databases(file: str, plan: Plan, env: Mapping[str, str], cancel: Cancel) -> Iterator[CatalogDatabases]:
    """Yield the databases of a catalog file that a plan needs, each on a private server, and remove them at the end.

    Raises CatalogFileError for a file that cannot be read, TargetError where a database cannot be made here.
    """
    found = record.read(file)
    names = {*plan.connections, Connections(plan.connections, {}).default()}
    made: dict[str, PrivateDatabase] = {}
    databases = CatalogDatabases(file, found, made, env, cancel)
    wanted = {databases._facts(name).connection: databases._facts(name) for name in sorted(names)}
    with contextlib.ExitStack() as stack:
        for name, facts in wanted.items():
            made[name] = stack.enter_context(private_database(facts, env, cancel))
            if (major := int(made[name].version.split(".")[0])) != facts.major:
                made[name].left.append(f"it is of PostgreSQL {facts.major}, and the private server is a {major}")
        yield databases


def _tell(on_event: Emit, lines: tuple[str, ...], event: Event) -> None:
    on_event(replace(event, databases=lines) if isinstance(event, RunBegan) else event)


def _without_counts(step: StepResult) -> StepResult:
    """Return the step with no number of rows given as counted now."""
    preview = step.planned.preview
    if preview is None:
        return step
    objects, coming = (tuple(replace(one, exact=False) for one in some) for some in (preview.objects, preview.coming))
    return replace(step, planned=replace(step.planned, preview=replace(preview, objects=objects, coming=coming)))


# ------------------------------------------------------------------ what a step may ask


class CatalogFileReader(LiveCatalogReader):
    """A CatalogReader over databases that were made of a catalog file. What only rows can answer is not known."""

    def __init__(self, *given: Any, facts: Mapping[str, DatabaseFacts], **more: Any) -> None:
        super().__init__(*given, **more)
        self._facts = facts
        self._asked: set[tuple[str, str, bool]] = set()

    def sql(self, name: str, /, **given: Any) -> str:
        if name == "catalog/rows.sql.j2":
            name = "catalogfile/rows.sql.j2"
        return super().sql(name, **given)

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        self._refuse_rows(text, connection, own_path=True)
        return super().rows(text, connection=connection)

    def ask(self, text: str, *, connection: str = "", limit: int = 1000, detail: bool = False) -> list[dict[str, Any]]:
        syntax.refuse(text, use="query")
        self._refuse_rows(text, connection, own_path=False)
        return super().ask(text, connection=connection, limit=limit, detail=detail)

    def explain(self, text: str, *, connection: str = "") -> tuple[StatementFacts, ...]:
        """Return the relations of each statement; how many rows it touches, no empty table can tell."""
        return tuple(replace(one, touched=None) for one in super().explain(text, connection=connection))

    def server(self, connection: str = "") -> ServerFacts:
        facts = self._facts[connection]
        return replace(super().server(connection), version=facts.version, database=facts.database)

    def pg_dump_for(self, server_major: int) -> str:
        try:
            return super().pg_dump_for(server_major)
        except TargetError as exc:
            raise NotKnownYet(f"pg_dump of the machine that runs it (here: {exc.message})", code="PR1047") from exc

    def held(self, session: str) -> tuple[TableName, ...]:
        raise self._unknown("the backup session of the run")

    def sessions(self, folder: str) -> tuple[SessionFacts, ...]:
        raise self._unknown("the backup folder of the machine that runs it")

    def _unknown(self, what: str) -> NotKnownYet:
        return NotKnownYet(f"{what}, which a catalog file does not hold", code="PR1047")

    def _refuse_rows(self, text: str, connection: str, *, own_path: bool) -> None:
        """Raise NotKnownYet for a query that reads a table of a user: it is empty here, and was not there."""
        key = (text, connection, own_path)
        if key in self._asked:
            return
        if not own_path and (called := self._own_function(text, connection)):
            raise self._unknown(f"what the function {called} finds")
        asked = f"explain (verbose, format json) {text}"
        answer = super().rows(asked, connection=connection) if own_path else self._answer(asked, connection)
        (plan,) = answer[0].values()
        for schema, name in _relations(json.loads(plan) if isinstance(plan, str) else plan):
            if schema not in _OURS and (schema, name) not in _LEDGER:
                raise self._unknown(f"the rows of {TableName(schema, name)}")
        self._asked.add(key)

    def _own_function(self, text: str, connection: str) -> str:
        """Return a function that a query calls and that is not PostgreSQL's own, which may read any table; or ""."""
        called = sorted({name for one in syntax.statements(text) for name in _calls(one.node)})
        if not called:
            return ""
        rows = super().rows(
            f"select pg_catalog.unnest({literal(called)}::pg_catalog.text[]) as name except"
            " select proname::pg_catalog.text from pg_catalog.pg_proc"
            " where pronamespace = 'pg_catalog'::pg_catalog.regnamespace",
            connection=connection,
        )
        return next((str(row["name"]) for row in rows), "")

    def _answer(self, text: str, connection: str) -> list[dict[str, Any]]:
        with self._reader(connection, own_path=False) as conn:
            return conn.execute(text.encode()).fetchall()


def _calls(node: Any) -> Iterator[str]:
    """Yield the name of each function that a statement calls, with its schema where that is not pg_catalog."""
    if isinstance(node, list):
        for each in node:
            yield from _calls(each)
    elif isinstance(node, Mapping):
        if called := node.get("FuncCall"):
            names = [str(part["String"].get("sval", "")) for part in called["funcname"]]
            yield names[-1] if names[:-1] in ([], ["pg_catalog"]) else ".".join(names)
        for each in node.values():
            yield from _calls(each)


def _relations(plan: Any) -> Iterator[tuple[str, str]]:
    """Yield schema and name of each relation and function that a plan of the server reads."""
    if isinstance(plan, list):
        for each in plan:
            yield from _relations(each)
    elif isinstance(plan, Mapping):
        name = plan.get("Relation Name") or plan.get("Function Name")
        if name and plan.get("Schema"):
            yield plan["Schema"], name
        for each in plan.values():
            if isinstance(each, list | Mapping):
                yield from _relations(each)
