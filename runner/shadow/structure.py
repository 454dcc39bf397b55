"""Turn the structure of source tables into SQL for the shadow schema: sort and rename what pg_dump writes.

What stays as it is in the target (owner, grants, row security, policies, replica identity) is left out; for tables
that the target does not have yet, it is kept separately with their future names. Foreign keys are created elsewhere.
Sources: PostgreSQL docs, pg_dump (--schema-only, --snapshot); pg_dump.c (which statements an entry has).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner import tools
from runner.backup.plaintext import entries
from runner.cancel import Cancel
from runner.errors import TargetError
from runner.names import literally, patterns
from runner.safesql.renaming import relations, rename, statements
from runner.shadow.round_trip import Key, key_of
from runner.sqltext import ident, literal, qualified
from runner.table_name import TableName
from runner.words import shown_name

Row = Mapping[str, Any]

_OPTIONS = (
    *("--schema-only", "--no-publications", "--no-subscriptions", "--no-security-labels", "--no-tablespaces"),
    *("--strict-names", "--lock-wait-timeout=10000", "--no-password"),
)
_WORD = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
_PROTECTION = re.compile(
    rf"ALTER (?:TABLE|SEQUENCE)(?: ONLY)? {_WORD}\.{_WORD} "
    r"(?:OWNER TO|FORCE ROW LEVEL SECURITY|ENABLE ROW LEVEL SECURITY|REPLICA IDENTITY)\b"
)
_METHOD = re.compile(r"^SET default_table_access_method = .*?(?=;$)", re.MULTILINE)
_STATE = re.compile(rf"ALTER TABLE(?: ONLY)? {_WORD}\.{_WORD} (?:ENABLE|DISABLE) ")
_CONSTRAINT = re.compile(rf"COMMENT ON CONSTRAINT ({_WORD}) ON ")
_CREATE_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX ({_WORD}) ON ")
_ROLES = re.compile(rf" (?:TO|FROM) ((?:{_WORD}(?:, )?)+)(?: WITH GRANT OPTION| USING .*| WITH CHECK .*)?\Z", re.DOTALL)

_FEW = 200
"""Tables that pg_dump finds by their names in a tenth of a second."""

_BEFORE = frozenset(("TABLE", "TABLE ATTACH", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT"))
_OF_TABLE = frozenset(("CONSTRAINT", "CHECK CONSTRAINT", "INDEX"))
_KEPT_BESIDE = frozenset(("ACL", "POLICY", "ROW SECURITY"))
_ELSEWHERE = frozenset(("FK CONSTRAINT", "STATISTICS"))
_COMMENT_BEFORE = re.compile(r"COMMENT ON (?:TABLE|COLUMN|SEQUENCE) ")


@dataclass
class Structure:
    """SQL statements with the names of the shadow schema. of_table: indexes and constraints, after the rows.

    protection: (live table or sequence, statement with live names), of everything; the roles of each by `roles_of`.
    """

    before: list[str] = field(default_factory=list)
    of_table: dict[str, list[str]] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    protection: list[tuple[str, str]] = field(default_factory=list)


def dump(
    pg_dump: str,
    tables: Collection[TableName],
    others: Collection[TableName],
    snapshot: str,
    door: tools.Access,
    cancel: Cancel,
) -> str:
    """Return what pg_dump writes about tables in a snapshot, and perhaps about views and sequences beside them.

    others: the other tables of their schemas. Raises TargetError when it fails.
    """
    argv = (pg_dump, *_OPTIONS, f"--snapshot={snapshot}", *_choose(tables, others), f"--dbname={door.conninfo}")
    with tools.Child(argv, env=door.env, cancel=cancel, pass_fds=door.pass_fds, hide=door.hide) as child:
        return b"".join(child.chunks()).decode()


def _choose(tables: Collection[TableName], others: Collection[TableName]) -> Iterator[str]:
    """Yield the options that name the tables, or their schemas without the other tables if that takes less time.

    pg_dump compares each relation of the database with every name: with 4,000 tables that took 16 s.
    """
    if len(tables) <= _FEW or len(others) > len(tables):
        yield from (f"--table={one}" for one in patterns(tables))
        return
    yield from (f"--table={literally(schema)}.*" for schema in sorted({table.schema for table in tables}))
    yield from (f"--exclude-table={one}" for one in patterns(others))


def sort_out(text: str, facts: Sequence[Row], schema: str, shadow: str) -> Structure:
    """Sort the statements of a dump. Raises TargetError for an unknown kind of entry.

    Entries that belong to none of the tables, such as views, are left out. Invalid indexes are left out, too: pg_dump
    writes one of a partitioned table if not every partition has its index.
    """
    invalid = frozenset(TableName(schema, name) for row in facts for name in row["invalid"])
    sorter = _Sorter(mapping(facts, schema, shadow), schema, invalid)
    head = text.partition("\n-- Name: ")[0]
    sorter.made.before += _METHOD.findall(head)
    for entry in entries(text.encode()):
        sorter.take(entry.kind, entry.text)
    return sorter.made


def mapping(facts: Sequence[Row], schema: str, shadow: str) -> dict[TableName, TableName]:
    """Return relation of the tables -> its name in the shadow."""
    names = {name for row in facts for name in (row["name"], *row["indexes"], *row["sequences"])}
    return {TableName(schema, name): TableName(shadow, name) for name in names}


class _Sorter:
    def __init__(self, names: Mapping[TableName, TableName], schema: str, invalid: Collection[TableName]) -> None:
        self._names, self._schema, self._invalid, self.made = names, schema, invalid, Structure()

    def take(self, kind: str, text: str) -> None:
        every = statements(text)
        if self._invalid and self._is_of_invalid(kind, every):
            return
        # pg_dump grants as the original grantor by SET SESSION AUTHORIZATION and RESET, which only a superuser can do
        found = [one for one in every if not one.startswith(("SET ", "RESET "))]
        if found and kind not in _ELSEWHERE and _first(found[0]) not in self._names:
            return
        self._sort(kind, found)
        # it precedes the entry that it is for
        self.made.before += [one for one in every if one.startswith("SET default_table_access_method")]

    def _is_of_invalid(self, kind: str, found: Sequence[str]) -> bool:
        """Return whether an entry creates, attaches or comments on an invalid index."""
        if kind == "INDEX":
            named = next((match for one in found if (match := _CREATE_INDEX.match(one))), None)
            return named is not None and (self._schema, _unquote(named[1])) in self._invalid
        about_index = kind == "INDEX ATTACH" or (kind == "COMMENT" and found[0].startswith("COMMENT ON INDEX "))
        return about_index and _first(found[0]) in self._invalid

    def _sort(self, kind: str, found: Sequence[str]) -> None:
        if kind in _KEPT_BESIDE:
            self.made.protection += [(_first(one)[1], one) for one in found]
        elif kind == "COMMENT":
            self._comments(found)
        elif kind not in _ELSEWHERE:
            self._place(kind, [one for one in found if not self._protects(one)])

    def _protects(self, one: str) -> bool:
        if not _PROTECTION.match(one):
            return False
        self.made.protection.append((_first(one)[1], one))
        return True

    def _place(self, kind: str, found: Sequence[str]) -> None:
        new = [rename(one, self._names) for one in found]
        if kind in _BEFORE:
            self.made.before += new
        elif kind in _OF_TABLE:
            self.made.of_table.setdefault(_first(found[0])[1], []).extend(new)
        elif kind == "INDEX ATTACH":
            self.made.attached += new
        elif kind in ("TRIGGER", "RULE"):
            place = self.made.triggers if kind == "TRIGGER" else self.made.rules
            place += [one for one in new if not _STATE.match(one)]
        else:
            raise TargetError(f"pg_dump wrote something of a kind that is not known here: {kind}", code="PR0814")

    def _comments(self, found: Iterable[str]) -> None:
        for one in found:
            if one.startswith("COMMENT ON POLICY "):
                self.made.protection.append((_first(one)[1], one))
            elif _COMMENT_BEFORE.match(one):
                self.made.before.append(rename(one, self._names))
            elif not one.startswith("COMMENT ON STATISTICS "):
                self.made.comments.append(rename(one, self._names))


def _first(one: str) -> TableName:
    """Return the first relation that a statement names, which it is about."""
    found = relations(one)
    if not found:
        raise TargetError(f"pg_dump wrote a statement that names no relation: {one[:80]}", code="PR0814")
    return found[0]


# ------------------------------------------------------------------ statistics, comments, what new tables keep


def statistics(facts: Iterable[Row], names: Mapping[TableName, TableName], shadow: str) -> Iterator[str]:
    """Yield the SQL of extended statistics. Not every pg_dump writes them with -t."""
    for row in facts:
        for one in row["statistics"]:
            new = qualified(shadow, one["name"])
            mine = {**names, TableName.of(one): TableName(shadow, one["name"])}
            yield rename(one["definition"], mine)
            if one["target"] >= 0:
                yield f"ALTER STATISTICS {new} SET STATISTICS {one['target']}"
            if one["comment"] is not None:
                yield f"COMMENT ON STATISTICS {new} IS {literal(one['comment'])}"


def comments(made: Structure, foreign_keys: Collection[tuple[str, str]]) -> Iterator[str]:
    """Yield the comments on indexes, constraints and triggers; those on foreign keys (table, name) are handled with
    these."""
    keys = {(table, str(ident(name))) for table, name in foreign_keys}
    for one in made.comments:
        match = _CONSTRAINT.match(one)
        if match and (_first(one)[1], _quote(match[1])) in keys:
            continue
        yield one


def _quote(name: str) -> str:
    return name if name.startswith('"') else f'"{name}"'


def protection(made: Structure, new: Collection[str], roles: Collection[str]) -> list[str]:
    """Return the statements that protect new tables in the source, with live names, unless they name a role not in
    `roles`."""
    kept = [one for name, one in made.protection if name in new and roles_of(one) <= set(roles)]
    return sorted(kept, key=lambda one: " OWNER TO " not in one)


def roles_of(one: str) -> set[str]:
    """Return the roles that an ALTER OWNER, a GRANT, a REVOKE or a CREATE POLICY names."""
    match = _ROLES.search(one) if one.startswith(("ALTER ", "GRANT ", "REVOKE ", "CREATE POLICY ")) else None
    found = re.findall(_WORD, match[1]) if match else []
    names = {name.rstrip(",") for name in found}
    return set(map(_unquote, names)) - {"PUBLIC", "DEFAULT"}


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[0] == '"' else name


# ------------------------------------------------------------------ proofs


def unlike(source: Iterable[Row], target: Iterable[Row]) -> list[Key]:
    """Return the keys whose rows of shape.sql.j2 differ."""
    have, want = ({key_of(row): row["text"] for row in rows} for rows in (target, source))
    return sorted(key for key in have.keys() | want.keys() if have.get(key) != want.get(key))


def differences(keys: Iterable[Key], source: Iterable[Row], target: Iterable[Row]) -> list[str]:
    """Return the differences between two results of shape.sql.j2, as text for people."""
    have, want = ({key_of(row): row["text"] for row in rows} for rows in (target, source))
    told = []
    for key in keys:
        table, what, part = key
        where = (
            f"{what} {shown_name('', part)} of {shown_name('', table)}"
            if part
            else f"{what} of {shown_name('', table)}"
        )
        told.append(f"{where}: {want.get(key, 'not there')} in the source, {have.get(key, 'not there')} here")
    return told
