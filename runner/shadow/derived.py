"""Build the views and materialized views of replaced tables on the shadow tables, which proves that they still work.

Each is created, checked and recorded in one transaction, under its final name in the shadow schema of its own schema.
A materialized view is filled by REFRESH, which freezes its rows on every version (CREATE ... WITH DATA does not before
17): a snapshot that is older than the swap then finds rows in it, not an empty view.
Sources: PostgreSQL docs, CREATE VIEW, CREATE MATERIALIZED VIEW, REFRESH MATERIALIZED VIEW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from runner import resources
from runner.cancel import Cancel
from runner.database.connections import target_error, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.progress import Report
from runner.refresh import access, ledger, naming, owners
from runner.refresh.catalog import refusals
from runner.refresh.catalog.dependents import Dependents, Derived, Repoint
from runner.refresh.records import MemberRecord
from runner.safesql.renaming import rename
from runner.safesql.templates import Templates
from runner.sqltext import SqlText, ident, idents, literal
from runner.table_name import TableName
from runner.words import shown_name

Conn = psycopg.Connection[dict[str, Any]]


def build(
    conn: Conn,
    dependents: Dependents,
    *,
    refresh: str,
    schemas: Mapping[str, str],
    cancel: Cancel,
    progress: Report = lambda done, total, unit, what: None,
) -> tuple[ledger.Member, ...]:
    """Build them all in order; return them as members, which are recorded already.

    conn: an autocommit connection to the target with an empty search_path, whose role will own them. schemas: live
    schema -> shadow schema, as far as they exist; others are created and recorded as `shadow_schemas` in the
    refresh's record. Raises TargetError naming a view that does not fit the new tables, before anything live is
    touched.
    """
    refusals.refuse(map(refusals.of_lost, dependents.losses_to_refuse))
    work = _Building(conn, dependents, refresh, dict(schemas), cancel)
    members = []
    for number, view in enumerate(dependents.derived):
        progress(0, 0, "", view.what)
        members.append(work.build(view, number))
    work.prove(dependents.repoint)
    return tuple(members)


def rehearse(conn: Conn, dependents: Dependents, *, refresh: str, schemas: Mapping[str, str], cancel: Cancel) -> None:
    """Build the views on empty tables and roll back, so that planrun knows what does not fit before it copies rows.

    The arguments are those of `build`. Raises TargetError that names every view and other object that does not fit.
    """
    work = _Building(conn, dependents, refresh, dict(schemas), cancel)
    with translate_errors("trying the views"), cancellable(conn, cancel), conn.transaction(force_rollback=True):
        found = list(work.unfit())
    if found:
        raise TargetError(
            "\n".join(one.message for one in found), hint="\n".join(one.hint for one in found), code=found[0].code
        )


class _Building:
    """One pass over the views. `names` maps each replaced relation to its name in the shadow, and grows."""

    def __init__(
        self, conn: Conn, dependents: Dependents, refresh: str, schemas: dict[str, str], cancel: Cancel
    ) -> None:
        self._conn, self._dependents, self._refresh, self._cancel = conn, dependents, refresh, cancel
        self._schemas = schemas
        self._templates = Templates((resources.SQL,))
        self._names = self._shadows()
        self._me = self._conn.execute("select current_user::pg_catalog.text as me").fetchall()[0]["me"]
        self._aside = {
            "relations": [*dependents.replaced, *(view.oid for view in dependents.derived)],
            "functions": [one.oid for one in dependents.functions],
        }

    # -------------------------------------------------------------- one view

    def build(self, view: Derived, number: int) -> ledger.Member:
        name = self._place(view)
        with cancellable(self._conn, self._cancel):
            try:
                with self._conn.transaction():
                    member = self._make(view, name, number)
                if view.populated:
                    self._conn.execute(owners.refresh(name.sql))
                with self._conn.transaction():
                    for text in self._finish_sql(view, name):
                        self._conn.execute(text)
                if view.populated:
                    self._conn.execute(f"vacuum (analyze) {name.sql}")
            except psycopg.Error as exc:
                raise _view_error(view.what, exc) from exc
        return member

    def unfit(self) -> Iterator[TargetError]:
        """Create all views in the open transaction; yield what is wrong with each of them."""
        missing: set[str] = set()
        for number, view in enumerate(self._dependents.derived):
            name = self._place(view)
            try:
                with self._conn.transaction():
                    self._make(view, name, number)
                    for text in self._finish_sql(view, name):
                        self._conn.execute(text)
            except (psycopg.Error, TargetError) as exc:
                error = _view_error(view.what, exc) if isinstance(exc, psycopg.Error) else exc
                missing.add(".".join(name))
                if not any(f'"{other}"' in error.message for other in missing - {".".join(name)}):
                    yield error
        for one in self._dependents.repoint:
            try:
                self.prove([one])
            except TargetError as exc:
                yield exc

    def _make(self, view: Derived, name: TableName, number: int) -> ledger.Member:
        for shadow in sorted({name[0], *(self._schemas[schema] for schema, _, _ in view.statistics)}):
            self._schema(shadow)
        for text in _create_sql(view, name, self._rename):
            self._conn.execute(text)
        self._conn.execute(access.close(*name))
        if view.kind == "matview" and view.owner != self._me:
            for text in owners.give(name[0], "materialized view", {name[1]: view.owner}):
                self._conn.execute(text)
        made = f"select {literal(name.sql)}::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8 as oid"
        oid = self._conn.execute(made).fetchall()[0]["oid"]
        self._check(view, oid)
        member = ledger.Member(
            side="new",
            catalog="pg_class",
            oid=oid,
            kind=view.kind,
            schema=view.schema,
            name=view.name,
            record=MemberRecord(populated=view.populated),
            now_schema=name[0],
            now_name=name[1],
        )
        self._conn.execute(ledger.add_members(self._refresh, [member]))
        return member

    def _place(self, view: Derived) -> TableName:
        """Return the place where a view is built, and use it from here on as the name of the view and its
        statistics."""
        shadow = self._schemas.setdefault(view.schema, naming.shadow_schema(view.schema))
        self._names[view.full_name] = TableName(shadow, view.name)
        for schema, name, _ in view.statistics:
            place = self._schemas.setdefault(schema, naming.shadow_schema(schema))
            self._names[TableName(schema, name)] = TableName(place, name)
        return TableName(shadow, view.name)

    def _rename(self, text: str) -> str:
        return rename(text, self._names)

    def _finish_sql(self, view: Derived, name: TableName) -> Iterator[str]:
        """Yield the SQL that follows the rows: indexes, the CLUSTER setting, extended statistics."""
        for index in view.indexes:
            yield f"set local default_tablespace = {literal(index.tablespace)}"
            yield self._rename(index.definition)
            if index.clustered:
                yield f"alter materialized view {name.sql} cluster on {ident(index.name)}"
        for _, _, definition in view.statistics:
            yield self._rename(definition)

    # -------------------------------------------------------------- schemas

    def _schema(self, shadow: str) -> None:
        """Create a shadow schema unless this refresh has created it. Raises TargetError if another one has its name."""
        marker = ledger.marker(self._refresh)
        comment = f"pg_catalog.obj_description(pg_catalog.to_regnamespace({literal(ident(shadow))}), 'pg_namespace')"
        there = f"pg_catalog.to_regnamespace({literal(ident(shadow))}) is not null"
        row = self._conn.execute(f"select {there} as there, {comment} as comment").fetchall()[0]
        if row["there"] and not (row["comment"] or "").startswith(marker):
            hint = "rename the schema if it is yours; planrun status shows what earlier runs left"
            raise TargetError(
                f"schema {shown_name('', shadow)} already exists and does not belong to this refresh",
                hint=hint,
                code="PR0804",
            )
        if not row["there"]:
            self._conn.execute(f"create schema {ident(shadow)}")
            self._conn.execute(access.close(shadow))
            self._conn.execute(f"comment on schema {ident(shadow)} is {literal(f'{marker} views on shadow tables')}")
            self._conn.execute(_record_schema(self._refresh, shadow))

    def _shadows(self) -> dict[TableName, TableName]:
        """Return the name of each replaced relation in the shadow; relations without a new one are left out."""
        live = list(self._dependents.replaced.values())
        new = [TableName(self._schemas.get(schema, naming.shadow_schema(schema)), name) for schema, name in live]
        rows = self._look_up([(*name, "") for name in new])
        return {old: name for old, name, row in zip(live, new, rows, strict=True) if row["there"]}

    # -------------------------------------------------------------- checks

    def _check(self, view: Derived, oid: int) -> None:
        row = self._ask("catalog/dependents_built.sql.j2", oid=oid, **self._aside)[0]
        problems = [f"it would still use {what}, which is not replaced by a new one" for what in row["still"]]
        problems += _differences(view, row["columns"], self._same)
        if problems:
            raise _unfit(view.what, "; ".join(problems))

    def prove(self, repoint: Sequence[Repoint]) -> None:
        """Check that the new tables have everything that texts name which run again after the renames. Raises
        TargetError."""
        uses = [(one, *use) for one in repoint for use in one.uses]
        named = [(TableName(schema, name), column) for _, schema, name, column, _ in uses]
        names = [(*self._names.get(table, table), column) for table, column in named]
        for (one, schema, name, column, type), row in zip(uses, self._look_up(names), strict=True):
            there = (schema, name) in self._names and row["there"] and (row["type"] is not None or not column)
            what = shown_name(schema, name) + (f".{shown_name('', column)}" if column else "")
            if not there:
                raise _unfit(one.what, f"it uses {what}, which is not replaced by a new one")
            if column and not self._same(type, row["type"]):
                raise _unfit(one.what, f"it uses {what}, which is {type} and would be {row['type']}")

    def _same(self, old: str, new: str) -> bool:
        """Return whether two types are the same, if the row types of new tables count as those of the old."""
        if old == new:
            return True
        back = {shadow: live for live, shadow in self._names.items()}
        return rename(new, back) == rename(old, {live: live for live in self._names})

    # -------------------------------------------------------------- asking

    def _look_up(self, names: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
        listed = list(names)
        parts = {key: [name[at] for name in listed] for at, key in enumerate(("schemas", "names", "columns"))}
        return self._ask("catalog/dependents_uses.sql.j2", **parts)

    def _ask(self, template: str, **values: Any) -> list[dict[str, Any]]:
        with translate_errors():
            return self._conn.execute(self._templates.sql(template, **values)).fetchall()


# ------------------------------------------------------------------ texts


def _create_sql(view: Derived, name: TableName, to_shadow: Callable[[str], str]) -> Iterator[str]:
    columns = f" ({idents([column.name for column in view.columns])})" if view.columns else ""
    options = f" with ({', '.join(map(_option, view.options))})" if view.options else ""
    head = f"{name.sql}{columns}"
    if view.kind == "matview":
        # a role or a database may have set another default
        yield "set local default_tablespace = ''"
        tablespace = f" tablespace {ident(view.tablespace)}" if view.tablespace else ""
        head += f" using {ident(view.method)}{options}{tablespace}"
        yield f"create materialized view {head} as\n{to_shadow(view.definition)}\nwith no data"
        return
    yield f"create view {head}{options} as\n{to_shadow(view.definition)}"
    for column in view.columns:
        if column.default:
            default = to_shadow(column.default)
            yield f"alter view {name.sql} alter column {ident(column.name)} set default {default}"


def _option(text: str) -> str:
    name, _, value = text.partition("=")
    return f"{name}={literal(value)}"


def _record_schema(refresh: str, shadow: str) -> SqlText:
    """Return SQL that adds a shadow schema to those of the refresh, by its OID."""
    return SqlText(
        "update planrun.refresh set about = about || pg_catalog.jsonb_build_object('shadow_schemas', "
        "coalesce(about -> 'shadow_schemas', '{}') || pg_catalog.jsonb_build_object("
        f"{literal(shadow)}, {literal(ident(shadow))}::pg_catalog.regnamespace::pg_catalog.oid::pg_catalog.int8)) "
        f"where id = {literal(refresh)}"
    )


# ------------------------------------------------------------------ what does not fit


def _differences(view: Derived, columns: Sequence[Mapping[str, str]], same: Callable[[str, str], bool]) -> list[str]:
    """Return the differences in words. CREATE VIEW gives the names, so only the number of columns can differ."""
    if len(columns) != len(view.columns):
        return [f"it has {len(view.columns)} columns and would have {len(columns)}"]
    return [
        f"column {shown_name('', old.name)} is {_type_text(old.type, old.collation)} and would be "
        f"{_type_text(new['type'], new['collation'])}"
        for old, new in zip(view.columns, columns, strict=True)
        if not same(old.type, new["type"]) or old.collation != new["collation"]
    ]


def _type_text(type: str, collation: str) -> str:
    return f"{type} collate {collation}" if collation else type


def _view_error(what: str, exc: psycopg.Error) -> TargetError:
    """Return the error for SQL that does not fit the new tables; a lost connection and the like stay as they are."""
    error = target_error(exc, what)
    if error.category or error.sqlstate[:2] in ("", "53", "57", "58"):
        return error
    return _unfit(what, error.message)


def _unfit(what: str, problem: str) -> TargetError:
    hint = f"exclude the table, change or drop what does not fit, or list it under `lose:` as '{what}'"
    return TargetError(f"{what} does not fit the new tables: {problem}", hint=hint, code="PR0814")
