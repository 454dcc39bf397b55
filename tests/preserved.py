"""What the tests of preserved tables share: shadows made by hand in place of a load's, writers, and comparisons."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from runner import resources
from runner.database.connections import Connections
from runner.refresh import ledger, naming, planrun_schema
from runner.refresh.ledger import Member
from runner.refresh.records import Key, RefreshRecord, Watched
from runner.safesql.templates import Templates
from runner.sqltext import literal, qualified
from runner.table_name import TableName

REFRESH = "20260131T000000Z-0001"
render = Templates((resources.SQL,)).sql
Conn = psycopg.Connection[Any]


class Live:
    """A database with live tables and shadows of some of them."""

    def __init__(self, dsn: str, schema: str = "public") -> None:
        self.dsn, self.schema, self.shadow = dsn, schema, naming.shadow_schema(schema)
        self.connections = Connections({}, {"DATABASE_URL": dsn})
        self.conn: Conn = psycopg.connect(dsn, autocommit=True)

    def close(self) -> None:
        self.conn.close()

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        cursor = self.conn.execute(text.encode())
        return cursor.fetchall() if cursor.description else []

    def ask(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts."""
        with closing(self.connections.open()) as conn:
            return conn.execute(text.encode()).fetchall()

    def load(
        self, *names: str, plan: str = "nightly", about: Mapping[str, Any] | None = None, make: bool = True
    ) -> None:
        """Do what a load does, without rows: create shadow tables with markers, and the ledger."""
        self.sql(f"create schema if not exists {qualified(self.shadow, 'x').partition('.')[0]}")
        self.sql(planrun_schema.create("ledger"))
        self.sql(ledger.begin(REFRESH, plan, self.schema, self.shadow, "source"))
        for name in names:
            shadow = qualified(self.shadow, name)
            if make:
                self.sql(f"create table {shadow} (like {qualified(self.schema, name)} including all)")
            self.sql(f"comment on table {shadow} is {literal(ledger.marker(REFRESH))}")
            self.sql(ledger.add_members(REFRESH, [self.member(name)]))
        self.sql(f"{ledger.set_state(REFRESH, 'loaded')}; {ledger.note(REFRESH, **(about or {}))}")

    def member(self, name: str, kind: str = "table") -> Member:
        oid = self.oid(self.shadow, name)
        return Member(side="new", catalog="pg_class", oid=oid, kind=kind, schema=self.schema, name=name)

    def oid(self, schema: str, name: str) -> int:
        return int(self.sql(f"select {literal(qualified(schema, name))}::regclass::oid::int8")[0][0])

    def capture_of(self, name: str, **more: Any) -> Watched:
        """Return the captured table as the kind describes it, by the same query."""
        schemas, names = [self.schema], [name]
        there = self.sql(f"select coalesce(to_regclass({literal(qualified(self.shadow, name))})::oid::int8, 0)")[0][0]
        text = render("refresh/watchable_tables.sql.j2", schemas=schemas, names=names, shadows=[there], strict=True)
        [row] = self.ask(text)
        assert not row["reason"], row["reason"]
        given = {
            "refresh": REFRESH, "oid": row["oid"], "schema": self.schema, "name": name,
            "key": tuple(Key(*key) for key in row["key"]), "columns": tuple(row["columns"]),
            "truncate_on": tuple(TableName(*one) for one in row["truncate_on"]),
        }  # fmt: skip
        return Watched(**{**given, **more})

    def record(self) -> RefreshRecord:
        return RefreshRecord.from_json(self.sql("select about from planrun.refresh")[0][0])

    def rows_of(self, name: str) -> Any:
        oid = self.oid(self.shadow, name)
        return self.sql(f"select (about ->> 'rows')::int8 from planrun.member where oid = {oid}")[0][0]

    def differing_tables(self, name: str, columns: Iterable[str] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that are on one side only, compared by their bytes."""
        live, shadow = (
            f"select {', '.join(columns) or '*'} from {qualified(schema, name)}"
            for schema in (self.schema, self.shadow)
        )
        a, b = (f"select t::text, count(*) from ({text}) as t group by 1" for text in (live, shadow))
        return self.sql(f"({a} except {b}) union all ({b} except {a})")


# ------------------------------------------------------------------ writers


@contextmanager
def keep_writing(
    dsn: str, *jobs: Callable[[Conn, random.Random], None], seed: int = 0
) -> Iterator[list[BaseException]]:
    """Let each job write repeatedly in a thread of its own; yield the list of their errors."""
    stop, errors, done = threading.Event(), list[BaseException](), [0] * len(jobs)

    def write(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        with psycopg.connect(dsn, autocommit=True, application_name="writer") as conn:
            conn.execute("set lock_timeout = '30s'")
            while not stop.is_set():
                try:
                    jobs[number](conn, chance)
                    done[number] += 1
                except BaseException as exc:
                    errors.append(exc)
                    return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        assert all(done) or errors, "a writer did nothing"
