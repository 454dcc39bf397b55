"""Shadow tables and backup sets made by hand, as a load and a swap leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from runner.cli import main
from runner.refresh import ledger, planrun_schema
from runner.refresh.ledger import Member, Refresh
from runner.refresh.naming import shadow_schema
from runner.refresh.records import MemberRecord
from runner.sqltext import ident, literal, qualified
from runner.table_name import TableName

KINDS = {"r": "table", "p": "table", "v": "view", "m": "matview", "S": "sequence"}
WORDS = {"table": "table", "view": "view", "matview": "materialized view", "sequence": "sequence"}


class Sets:
    """A database with a plan in a folder, and a ledger that is written by hand."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder, self.plan = dsn, folder, folder / "plan.yml"
        self.conn = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.conn.execute(planrun_schema.create("ledger").encode())

    def close(self) -> None:
        self.conn.close()

    def write(self, text: str) -> None:
        self.plan.write_text(text)

    def planrun(self, *words: str) -> int:
        """Run a command; the word `plan` in it stands for the plan's file."""
        return main([str(self.plan) if word == "plan" else word for word in words])

    def sql(self, text: str) -> list[dict[str, Any]]:
        cursor = self.conn.execute(text.encode())
        return cursor.fetchall() if cursor.description else []

    def there(self, *names: str) -> list[str]:
        """Return those of the relations that exist."""
        found = self.sql(f"select n from unnest({literal(list(names))}::text[]) as n where to_regclass(n) is not null")
        return [row["n"] for row in found]

    def oid(self, schema: str, name: str) -> tuple[int, str]:
        query = (
            "select c.oid::bigint as oid, c.relkind::text as kind from pg_class as c join pg_namespace as n "
            f"on n.oid = c.relnamespace where n.nspname = {literal(schema)} and c.relname = {literal(name)}"
        )
        row = self.sql(query)[0]
        return row["oid"], KINDS[row["kind"]]

    def refresh(self, id: str) -> Refresh | None:
        return next((one for one in ledger.read(self.sql) if one.id == id), None)

    def put_aside(
        self,
        id: str,
        names: Mapping[str, str],
        *,
        plan: str = "prod",
        schema: str = "public",
        state: str = "swapped",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Turn existing relations into a backup set: names maps the current name of a relation to its live name."""
        side = "old" if state == "swapped" else "new"
        members = []
        for now, live in names.items():
            oid, kind = self.oid(schema, now)
            kept = MemberRecord(aside=TableName(schema, now))
            members.append(
                Member(side=side, catalog="pg_class", oid=oid, kind=kind, schema=schema, name=live, record=kept)
            )
            told = literal(f"{ledger.marker(id)} {live}")
            self.sql(f"comment on {WORDS[kind]} {qualified(schema, now)} is {told}")
        self.sql(ledger.begin(id, plan, schema, shadow_schema(schema), "source"))
        self.sql(ledger.add_members(id, members))
        self.sql(ledger.note(id, **(about or {})))
        self.sql(ledger.set_state(id, state))

    def shadow(
        self,
        id: str,
        tables: Mapping[str, Mapping[str, Any]],
        *,
        plan: str = "prod",
        schema: str = "public",
        state: str = "loaded",
        about: Mapping[str, Any] | None = None,
        ddl: Sequence[str] = (),
    ) -> None:
        """Create shadow tables: ddl runs in their schema, tables maps each new table to its record."""
        made = shadow_schema(schema)
        self.sql(f"create schema if not exists {ident(made)}")
        self.sql(f"comment on schema {ident(made)} is {literal(ledger.marker(id) + ' shadow')}")
        self.sql(f"set search_path = {ident(made)}")
        for text in ddl:
            self.sql(text)
        self.sql("reset search_path")
        members = []
        for name, more in tables.items():
            oid, kind = self.oid(made, name)
            members.append(
                Member(
                    side="new",
                    catalog="pg_class",
                    oid=oid,
                    kind=kind,
                    schema=schema,
                    name=name,
                    record=MemberRecord(**more),
                )
            )
            if kind in ("table", "view", "matview"):
                self.sql(f"comment on {WORDS[kind]} {qualified(made, name)} is {literal(ledger.marker(id))}")
        self.sql(ledger.begin(id, plan, schema, made, "source"))
        self.sql(ledger.add_members(id, members))
        self.sql(ledger.note(id, **(about or {})))
        self.sql(ledger.set_state(id, state))
