"""The objects that cannot be kept when tables are replaced, themselves or because they use something that is lost.

Rows are those of sql/catalog/dependents.sql.j2. A kind of row says what can be done with it: `replaced`, `derived`
and `function` are created again; the text of `routine`, `policy`, `rule` and `default` is run again; `other` is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from runner.record import dataclass
from runner.table_name import TableName
from runner.words import shown_name

Row = Mapping[str, Any]

Key = str
"""catalog/oid"""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """An object that will not work on the new tables. accepted: the plan accepts its loss; may_go: the plan could
    accept it.

    stays: where it will be afterwards, as text for people.
    """

    what: str
    reason: str
    hint: str
    catalog: str
    oid: int
    identity: str = ""
    accepted: bool = False
    may_go: bool = True
    stays: str = ""

    @property
    def line(self) -> str:
        return f"{self.what}: lost{', as the plan says' if self.accepted else ''} ({self.reason}){self.stays}"


class Found:
    """The rows by kind, and which of them are lost, themselves or because of something that they use."""

    def __init__(self, rows: Iterable[Row], lose: frozenset[str]) -> None:
        self._rows = sorted(rows, key=lambda row: (row["schema"], row["name"], row["identity"], row["kind"]))
        self._lose = lose
        self._names = {key_of(row): what_of(row) for row in self._rows if row["kind"] in _USED}
        self._needs = {key_of(row): row["needs"] for row in self.of("derived")}
        self._replaced = {key_of(row): row["oid"] for row in self.of("replaced")}
        self._runs_text = {key_of(row): row["about"]["runs_text"] for row in self.of("derived")}
        self._called = {key_of(row): row["about"]["functions"] for row in self.of("derived")}
        self.lost: dict[tuple[Key, str], Lost] = {}
        for row in self._rows:
            if reason := self._reason(row):
                self._lose_it(row, *reason)
        self._spread()

    def of(self, kind: str) -> list[Row]:
        return [row for row in self._rows if row["kind"] == kind]

    def kept_rows(self, kind: str) -> list[Row]:
        return [row for row in self.of(kind) if _place(row) not in self.lost and not row["temporary"]]

    def given_up_rows(self, kind: str) -> list[Row]:
        """Return the rows of a kind whose loss the plan accepts and which this role may put aside."""
        lost = ((row, self.lost.get(_place(row))) for row in self.of(kind))
        return [row for row, one in lost if one and one.accepted and _may_move(row)]

    def lines_of_untouched(self) -> Iterator[str]:
        for row in self._rows:
            if row["kind"] == "late":
                yield f"{what_of(row)}: left alone, finds tables by name"
            elif row["kind"] == "disabled":
                yield f"foreign key {row['identity']}: its triggers are disabled here, and enabled on the new table"
            elif row["temporary"] and row["kind"] != "replaced":
                yield f"{what_of(row)}: left alone, temporary: uses the old tables until its connection ends"

    def _reason(self, row: Row) -> tuple[str, str] | None:
        """Return why the object of a row cannot be kept and what to do, or None."""
        if row["kind"] == "late" or (row["temporary"] and row["kind"] != "replaced"):
            return None
        if theirs := row["about"].get("theirs"):
            return (
                f"belongs to {shown_name('', theirs)}, and this role is not a member of it"
            ), "connect as a member, drop it,"
        if row["kind"] == "carried":
            return None
        if row["extension"]:
            return f"belongs to the extension {row['extension']}", "exclude the table"
        if row["kind"] in _REASONS:
            return _REASONS[row["kind"]](row, self._uses(row))
        if row["kind"] in (*_SPREADS, "foreign key") and self._is_named(row):
            return "named in `lose:`", ""
        if filtered := [key for key in row["about"].get("filtered", ()) if key in self._below(row)]:
            reason = f"its owner sees only the rows that row security of {self._name_list(filtered)} lets through"
            return reason, "give it an owner who owns the table, drop it,"
        return None

    def _spread(self) -> None:
        """Mark as lost what uses something lost, and views on functions that are created again too late for them."""
        late = {key_of(row) for row in self.kept_rows("function")}
        again = True
        while again:
            again = False
            gone = {key_of(row) for row in self._rows if row["kind"] in _PASSING and _place(row) in self.lost}
            for row in self._rows:
                if _place(row) in self.lost or row["kind"] not in _SPREADS or row["temporary"]:
                    continue
                used = [key for key in row["needs"] if key in gone or (key in late and row["kind"] == "derived")]
                if used:
                    self._lose_it(row, f"uses {self._name_list(used)}, {_is_lost(used, gone)}", "drop it")
                    again = True

    def _lose_it(self, row: Row, reason: str, hint: str) -> None:
        what = what_of(row)
        own = row["kind"] in _ITSELF
        self.lost[_place(row)] = Lost(
            what=what,
            reason=reason,
            hint=hint.rstrip(","),
            catalog=row["catalog"],
            oid=row["oid"],
            identity=row["identity"],
            accepted=not own and self._is_named(row),
            stays=_stays(row) if self._is_named(row) and not own else "",
            may_go=not own,
        )

    def _is_named(self, row: Row) -> bool:
        return bool(self._lose & {what_of(row), row["identity"], f"{row['type']} {row['identity']}"})

    def unknown(self) -> tuple[str, ...]:
        rows = [row for row in self._rows if row["kind"] not in _ITSELF]
        known = {name for row in rows for name in (what_of(row), row["identity"], f"{row['type']} {row['identity']}")}
        return tuple(sorted(self._lose - known))

    def _uses(self, row: Row) -> str:
        return self._name_list(row["needs"])

    def _name_list(self, keys: Iterable[Key]) -> str:
        return ", ".join(sorted(self._names.get(key, key) for key in keys))

    def _below(self, row: Row) -> set[Key]:
        """Return the keys of all that a view reads, also through others."""
        seen: set[Key] = set()
        todo = list(row["needs"])
        while todo:
            if (key := todo.pop()) not in seen:
                seen.add(key)
                todo += self._needs.get(key, ())
        return seen

    def through(self, row: Row) -> tuple[str, ...]:
        """Return the functions that read live tables, or may read them, while a view is filled before the swap."""
        if row["type"] != "materialized view" or not row["about"]["populated"]:
            return ()
        below = {key_of(row), *self._below(row)}
        called = {function for key in below for function in self._called.get(key, ())}
        kinds = ("routine", "late", "opaque")
        known = {key_of(one): what_of(one) for kind in kinds for one in self.of(kind) if key_of(one) in called}
        return (*known.values(), *sorted({name for key in below for name in self._runs_text.get(key, ())}))

    def tables(self, row: Row) -> tuple[int, ...]:
        return tuple(sorted(self._replaced[key] for key in self._below(row) if key in self._replaced))


_USED = ("replaced", "derived", "function")
_ITSELF = ("replaced", "parent", "subscription")
"""Tables of the refresh that cannot be replaced at all, whatever loss the plan accepts."""

_PASSING = ("derived", "function")
_SPREADS = ("derived", "function", "routine", "policy", "rule", "default")


def _is_lost(used: Iterable[Key], gone: Collection[Key]) -> str:
    return "which is lost" if any(key in gone for key in used) else "which is created again because of its row type"


def _may_move(row: Row) -> bool:
    """Return whether this role may rename a view or a function."""
    return not row["about"].get("theirs") and not row["extension"]


def _stays(row: Row) -> str:
    """Return where an object whose loss the plan accepts is after the swap."""
    if row["kind"] in _PASSING and _may_move(row):
        return "; it is put aside with the old tables, and a rollback puts it back"
    return "" if row["kind"] in ("foreign key", "carried") else "; it keeps using the old tables"


def key_of(row: Row) -> Key:
    return f"{row['catalog']}/{row['oid']}"


def _place(row: Row) -> tuple[Key, str]:
    """Return what distinguishes rows of one object: two columns of a table, or a table and its inheritance."""
    return key_of(row), f"{row['kind']} {row['identity']}"


def _other(row: Row, uses: str) -> tuple[str, str]:
    """Return why an object is lost whose class cannot be kept."""
    catalog, about = row["catalog"], row["about"]
    if catalog == "pg_attrdef" or about.get("generated"):  # 14 has it as the column, later ones as its expression
        return f"a generated column that uses {uses}", "exclude the table, drop the expression"
    if catalog == "pg_class" and about.get("part"):
        return f"has the row type of {uses}", "exclude the table, change the column's type"
    if row["type"] in ("table", "foreign table"):
        return f"inherits from {uses}", "exclude the table, end the inheritance with ALTER TABLE ... NO INHERIT"
    if catalog == "pg_trigger":
        return f"a constraint trigger that names {uses}", "exclude the table, drop the trigger"
    return f"uses {uses}, and cannot be changed to use the new one", "exclude the table, drop it"


def _parent(row: Row, uses: str) -> tuple[str, str]:
    word = "a partition of" if row["type"] == "partition" else "inherits from"
    return f"{word} {row['about']['parent']}, which is not replaced", "exclude the table"


def _subscription(row: Row, uses: str) -> tuple[str, str]:
    return f"filled by the subscription {row['about']['subscription']}", "exclude the table"


_REASONS: Mapping[str, Callable[[Row, str], tuple[str, str]]] = {
    "other": _other,
    "parent": _parent,
    "subscription": _subscription,
}


def what_of(row: Row) -> str:
    """Return the name of the object for people."""
    table = str(TableName.of(row))
    match row["kind"]:
        case "foreign key":
            return f"foreign key {shown_name('', row['about']['name'])} of {table}"
        case "default":
            return f"column default of {table}.{shown_name('', row['about']['column'])}"
        case "parent" | "subscription":
            return f"table {row['identity']}"
        case "other" if row["catalog"] == "pg_attrdef":
            return f"table column {row['identity'].removeprefix('for ')}"
    return f"{row['type']} {row['identity']}"
