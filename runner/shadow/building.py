"""One load, phase by phase: what it reads in the source's snapshot and what it makes of it in the shadow schema."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from runner import tools
from runner.backup import needs
from runner.backup.snapshot import Snapshot
from runner.connection import cancellable
from runner.db import translate_errors
from runner.errors import TargetError
from runner.refresh import access, dependents, ledger, owners, refusals, requirements
from runner.refresh.ledger import Member
from runner.refresh.records import MemberRecord
from runner.refresh.refusals import Refusal
from runner.refresh.relations import ForeignKey, foreign_key
from runner.safesql.renaming import Name
from runner.shadow import derived, foreign_keys, structure
from runner.shadow.copying import Copying
from runner.shadow.round_trip import RoundTrip, key_of
from runner.shadow.work import BATCH, Conn, Row
from runner.sqltext import idents, literal, qualified
from runner.words import plural, shown_name
from runner.worker_pool import WorkerPool


class Building(Copying):
    """All of a load: structure, rows, foreign keys, triggers, views, and the record of it in the ledger."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._recorded = set[int]()

    def all(self) -> dict[str, Any]:
        """Do it and return what Load gives. Raises TargetError; what was made is then still there."""
        live = self._live()
        self._dependents()
        names = [table.name for table in self._action.tables]
        # before all else: an ALTER of a live table from now on is one that the new tables do not know of
        then = self._ask(self._sql("structure_of", schema=self._schema, names=names))
        query = self._sql("source", schema=self._schema, names=names)
        with Snapshot(self._connections, self._action.source, query, self._cancel) as snapshot:
            self._facts = sorted(snapshot.facts.values(), key=lambda row: int(row["oid"]))
            self._check_source(snapshot)
            made = self._structure(snapshot)
            keys = self._foreign_keys(snapshot)
            shape = snapshot.ask(self._shape(self._schema), "reading the structure of the source")
            self._before(made)
            self._try(shape)
            self._give(made)
            self._fill(snapshot, made)
            self._sequences(snapshot)
        self._after(made, keys)
        self._prove(shape)
        self._say("views")
        self._views()
        self._vacuum()
        self._run(self._conn, list(owners.shut_out(self._shadow, self._owners.values())), "rights")
        return self._finish(made, keys, live, then)

    # -------------------------------------------------------------- what is there

    def _live(self) -> set[str]:
        """Return the tables of the live schema, partitions too."""
        rows = self._ask(
            "select c.relname::text as name from pg_catalog.pg_class as c "
            "join pg_catalog.pg_namespace as n on n.oid = c.relnamespace "
            f"where n.nspname = {literal(self._schema)} and c.relkind in ('r', 'p')"
        )
        return {row["name"] for row in rows}

    def _dependents(self) -> dependents.Dependents:
        """Return what depends on the live tables. Raises TargetError when something would be lost."""
        names = [table.name for table in self._action.tables if table.live]
        ours = ledger.leftover_oids(ledger.read(self._ask))
        text = self._templates.sql(dependents.QUERY, schema=self._schema, names=names, ours=ours)
        found = dependents.from_rows(self._ask(text), lose=self._action.lose)
        refusals.refuse(map(refusals.of_lost, found.refused))
        return found

    def _check_source(self, snapshot: Snapshot) -> None:
        """Raise TargetError when a table is gone, or when the target lacks what the tables need."""
        here = {row["name"] for row in self._facts if row["root"]}
        if gone := [one.name for one in self._action.tables if one.name not in here]:
            raise TargetError(f"gone from the source: {', '.join(sorted(gone))}", hint="run again")
        own = {(row["schema"], row["name"]) for row in self._facts}
        required = requirements.wanted(snapshot.ask(needs.query(sorted(own)), "looking for what the tables need"), own)
        text = self._sql("things", **requirements.values(required))
        there = snapshot.ask(text, "looking at what the tables need")
        self._shared = [(row["schema"], row["name"]) for row in required if row["kind"] == "sequence"]
        refusals.refuse([*requirements.lacking(required, there, self._ask(text)), *self._not_to_be_set()])

    def _not_to_be_set(self) -> Iterator[Refusal]:
        """Yield the sequences of no loaded table that this role may not move to where the source's stand."""
        schemas, names = [schema for schema, _ in self._shared], [name for _, name in self._shared]
        rows = self._ask(
            f"select n.nspname::text as schema, c.relname::text as name from pg_catalog.pg_class as c "
            "join pg_catalog.pg_namespace as n on n.oid = c.relnamespace "
            f"join unnest({literal(schemas)}::text[], {literal(names)}::text[]) as w (schema, name) "
            "on n.nspname = w.schema and c.relname = w.name and c.relkind = 'S' "
            # the planner may ask for the right before it looks at the kind, and then it is an error of a table
            "where case when c.relkind = 'S' then not pg_catalog.has_sequence_privilege(c.oid, 'UPDATE') end "
            "order by 1, 2"
        )
        for row in rows:
            name = shown_name(row["schema"], row["name"])
            way = f"its owner types: grant update on sequence {name} to the role that connects"
            yield Refusal(what=f"sequence {name}", reason="no right to set it (UPDATE)", way=way)

    def _foreign_keys(self, snapshot: Snapshot) -> list[ForeignKey]:
        own = {int(row["oid"]) for row in self._facts}
        text = self._templates.sql("swap_tables/foreign_keys.sql.j2", oids=sorted(own))
        keys = [foreign_key(row) for row in snapshot.ask(text, "reading foreign keys") if row["oid"] in own]
        if wrong := foreign_keys.refusals(keys):
            raise TargetError("; ".join(wrong), hint="exclude the table, or drop the foreign key in the source")
        return keys

    # -------------------------------------------------------------- structure

    def _structure(self, snapshot: Snapshot) -> structure.Structure:
        self._say("structure")
        names = [(row["schema"], row["name"]) for row in self._facts]
        words = self._connections.words(self._action.source)
        with tools.access(words, self._connections.env, snapshot.encoding) as door:
            text = structure.dump(self._action.pg_dump, names, snapshot.id, door, self._cancel)
        return structure.sort_out(text, self._facts, self._schema, self._shadow)

    def _shape(self, schema: str, names: Sequence[str] = ()) -> str:
        names = names or [row["name"] for row in self._facts]
        return self._sql("shape", schema=schema, instead=self._schema, also=self._shadow, names=list(names))

    def _before(self, made: structure.Structure) -> None:
        """Make the tables and record them, some at a time, each time in one transaction."""
        for start in range(0, len(made.before), BATCH):
            with self._name_event_triggers(), translate_errors("making the tables"), self._transaction():
                for text in made.before[start : start + BATCH]:
                    self._conn.execute(text)
                self._conn.execute(access.close(self._shadow))
                self._record()
        self._tablespaces()

    def _give(self, made: structure.Structure) -> None:
        """Give the tables to whom the live ones belong, new ones to whom they belong in the source where he is here.

        What builds and fills them from here on runs code of theirs, with their rights.
        """
        names = [row["name"] for row in self._facts]
        source = {name: role for name, one in made.protection for role in structure.roles_of(one) if _is_owner(one)}
        text = self._sql("owners", schema=self._schema, names=names, owners=[source.get(name, "") for name in names])
        self._owners = {row["name"]: row["owner"] for row in self._ask(text)}
        every = list(self._owners.items())
        for start in range(0, len(every), BATCH):
            some = dict(every[start : start + BATCH])
            self._run(self._conn, [";\n".join(owners.give(self._shadow, "table", some))], "owners")
        self._run(self._conn, list(owners.let_in(self._shadow, self._owners.values())), "rights")

    @contextlib.contextmanager
    def _name_event_triggers(self) -> Iterator[None]:
        """Name in an error the event triggers of the target, whose code ran and may have changed what was made."""
        try:
            yield
        except TargetError as exc:
            rows = self._ask(
                "select evtname::text as name from pg_catalog.pg_event_trigger where evtenabled <> 'D' order by 1"
            )
            if rows:
                names = ", ".join(shown_name("", row["name"]) for row in rows)
                exc.hint = exc.hint or (
                    f"event trigger {names} of this database may be the reason: let it leave out schemas planrun and "
                    "planrun_*, or disable it for the run"
                )
            raise

    def _tablespaces(self) -> None:
        """Put what has no rows yet, or is done, into the tablespace of its live counterpart."""
        rows = self._ask(self._sql("tablespaces", schema=self._schema, shadow=self._shadow))
        texts = [
            f"alter {r['kind']} {qualified(self._shadow, r['name'])} set tablespace {idents([r['tablespace']])}"
            for r in rows
        ]
        self._run(self._conn, texts, "tablespaces")

    def _record(self) -> None:
        """Record what is in the shadow schema, in the transaction that made it."""
        rows = self._conn.execute(self._sql("members", shadow=self._shadow)).fetchall()
        members = [
            Member(side="new", schema=self._schema, **{k: row[k] for k in ("catalog", "oid", "kind", "name")})
            for row in rows
            if row["kind"] in ("table", "sequence") and row["oid"] not in self._recorded
        ]
        self._recorded.update(member.oid for member in members)
        if members:
            self._conn.execute(ledger.add_members(self._refresh.id, members))

    # -------------------------------------------------------------- behind the rows

    def _after(self, made: structure.Structure, keys: Sequence[ForeignKey]) -> None:
        self._run(self._conn, list(structure.statistics(self._facts, self._names(), self._shadow)), "statistics")
        self._tablespaces()
        self._keys(keys)
        self._run(self._conn, made.triggers, "triggers")
        self._run(self._conn, made.rules, "rules")
        self._run(self._conn, list(self._disable_triggers()), "triggers and rules")
        self._run(self._conn, list(structure.comments(made, {(k.table, k.name) for k in keys})), "comments")

    def _keys(self, keys: Sequence[ForeignKey]) -> None:
        tables = {row["name"]: row["top"] for row in self._facts}
        mine = list(foreign_keys.between(keys, tables, self._empty, self._schema, self._shadow))
        for number, key in enumerate(mine, 1):
            self._progress(number, len(mine), "foreign keys", str(key))
            self._run(self._conn, foreign_keys.create_sql(key), f"foreign key {key}")
        groups = foreign_keys.validate_sql(mine)
        tasks = [partial(self._on, texts, f"foreign keys of {table}") for table, texts in groups.items()]
        WorkerPool(self._action.jobs, self._opened, self._cancel).work_off(tasks)

    def _on(self, texts: Iterable[str], what: str, conn: Conn) -> None:
        self._run(conn, texts, what)

    def _disable_triggers(self) -> Iterator[str]:
        """Yield the SQL that puts triggers and rules to sleep until the swap; how they are enabled is noted."""
        for row in self._facts:
            table = qualified(self._shadow, row["name"])
            yield from (f"alter table {table} disable trigger {idents([name])}" for name in sorted(row["triggers"]))
            yield from (f"alter table {table} disable rule {idents([name])}" for name in sorted(row["rules"]))

    def _prove(self, shape: Sequence[Row]) -> None:
        """Raise TargetError when the structure is not the source's, or depends on live tables."""
        differs = self._differences(shape)
        names = [row["name"] for row in self._facts]
        text = self._sql("strays", schema=self._schema, shadow=self._shadow, names=names)
        wrong = [*self._miscounted(), *differs, *(str(row["what"]) for row in self._ask(text))]
        if wrong:
            more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
            raise TargetError(f"the new tables are not as those of the source: {'; '.join(wrong[:10])}{more}")

    def _try(self, shape: Sequence[Row]) -> None:
        """Raise TargetError when the empty tables do not take an expression of the source's, or a view of the target.

        What else could be wrong with them is known by the catalogs. So nothing but the rows themselves is left to fail.
        """
        self._say("expressions and views")
        with translate_errors("trying the expressions"), cancellable(self._conn, self._cancel):
            found = list(self._round_trip().failures(shape, self._names()))
        refusals.refuse(
            refusals.of_table(row["name"], f"its {row['what']} {shown_name('', row['part'])}: {why}")
            for row, why in found
        )
        derived.rehearse(
            self._conn,
            self._dependents(),
            refresh=self._refresh.id,
            schemas={self._schema: self._shadow},
            cancel=self._cancel,
        )

    def _names(self) -> dict[Name, Name]:
        """Return what each relation of the tables is called in the shadow."""
        return structure.mapping(self._facts, self._schema, self._shadow)

    def _round_trip(self) -> RoundTrip:
        place = f"planrun_again_{self._refresh.id}"
        return RoundTrip(self._conn, schema=self._schema, shadow=self._shadow, place=place, shape=self._shape)

    def _differences(self, shape: Sequence[Row]) -> list[str]:
        """Return what is not as in the source, when the texts of expressions have been through this server."""
        here = self._ask(self._shape(self._shadow))
        if not (keys := set(structure.unlike(shape, here))):
            return []
        trip = self._round_trip()
        with translate_errors("comparing the structure"), cancellable(self._conn, self._cancel):
            wanted, made = (
                trip.settle([r for r in rows if key_of(r) in keys], self._names()) for rows in (shape, here)
            )
        alike = {key for key in keys if key in wanted and wanted[key] == made.get(key)}
        return structure.differences(sorted(keys - alike), shape, here)

    def _views(self) -> None:
        derived.build(
            self._conn,
            self._dependents(),
            refresh=self._refresh.id,
            schemas={self._schema: self._shadow},
            cancel=self._cancel,
            progress=self._progress,
        )

    def _vacuum(self) -> None:
        """Make the statistics and the visibility map, so that the first minutes after the swap are as fast as ever."""
        roots = [row for row in self._facts if row["root"] and row["name"] not in self._empty]
        tasks = [partial(self._vacuum_table, row) for row in sorted(roots, key=lambda row: -int(row["bytes"]))]
        self._finished, self._total = 0, len(tasks)
        WorkerPool(self._action.jobs, self._opened, self._cancel).work_off(tasks)

    def _vacuum_table(self, row: Row, conn: Conn) -> None:
        with translate_errors(f"vacuum {self._shown(row)}"), cancellable(conn, self._cancel):
            conn.execute(f"vacuum (analyze) {qualified(self._shadow, row['name'])}")
        self._done(f"vacuum {self._shown(row)}")

    # -------------------------------------------------------------- the end

    def _finish(
        self, made: structure.Structure, keys: Sequence[ForeignKey], live: set[str], then: Sequence[Row]
    ) -> dict[str, Any]:
        roles = {row["rolname"] for row in self._ask("select rolname::text from pg_catalog.pg_roles")}
        new = {name for row in self._facts for name in (row["name"], *row["sequences"]) if row["name"] not in live}
        note = ledger.note(
            self._refresh.id,
            foreign_keys=tuple(keys),
            structure={row["what"]: row["hash"] for row in then},
            xids=tuple(self._xids),
            trigger_states={row["name"]: row["triggers"] for row in self._facts if row["triggers"]},
            rule_states={row["name"]: row["rules"] for row in self._facts if row["rules"]},
            sequences=tuple(self._stand),
            columns=self._columns(),
            new_protection=tuple(structure.protection(made, new, roles)),
            empty=tuple(sorted(self._empty)),
        )
        tables = list(self._tables())
        with translate_errors("recording"), self._transaction():
            found = self._conn.execute(self._sql("members", shadow=self._shadow)).fetchall()
            self._conn.execute(ledger.add_members(self._refresh.id, self._members_with_counts(found)))
            self._conn.execute(note)
            self._conn.execute(ledger.set_state(self._refresh.id, "loaded"))
        total = sum(int(row["bytes"]) for row in self._sizes())
        rows = sum(table["rows"] for table in tables)
        given = {"set": self._refresh.id, "schema": self._schema, "tables": tables, "count": len(tables)}
        return {**given, "rows": rows, "bytes": total}

    def _columns(self) -> dict[str, tuple[str, ...]]:
        """Return the columns of the new tables, so that a rollback knows those that came after the swap."""
        rows = self._ask(
            "select c.relname::text as name, "
            "pg_catalog.array_agg(a.attname::text order by a.attnum) as columns "
            "from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace "
            "join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
            f"where n.nspname = {literal(self._shadow)} and c.relkind in ('r', 'p') group by c.oid, c.relname"
        )
        return {row["name"]: tuple(row["columns"]) for row in rows}

    def _members_with_counts(self, found: Sequence[Row]) -> Iterator[Member]:
        rows = {table["name"]: table["rows"] for table in self._tables()} | self._rows
        for row in found:
            if row["kind"] in ("table", "sequence"):
                counted = row["kind"] == "table" and row["name"] not in self._empty
                record = MemberRecord(
                    rows=rows.get(row["name"]) if counted else None, checksum=self._sums.get(row["name"])
                )
                given = {k: row[k] for k in ("catalog", "oid", "kind", "name")}
                yield Member(side="new", schema=self._schema, record=record, **given)

    def _sizes(self) -> list[dict[str, Any]]:
        return self._ask(
            "select pg_catalog.pg_total_relation_size(c.oid) as bytes from pg_catalog.pg_class as c "
            "join pg_catalog.pg_namespace as n on n.oid = c.relnamespace "
            f"where n.nspname = {literal(self._shadow)} and c.relkind in ('r', 'm')"
        )

    def _say(self, what: str) -> None:
        self._progress(0, 0, "", f"{what} of {plural(len(self._action.tables), 'table')}")


def _is_owner(one: str) -> bool:
    return one.startswith("ALTER ") and " OWNER TO " in one
