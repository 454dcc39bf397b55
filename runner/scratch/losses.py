"""What was lost in a scratch copy between two moments: by its catalogs and rows, whatever SQL did it.

A loss is a table, a column, a row or a value that is not there any more. A name is none: a renamed table is told apart.
A value that took the place of NULL, and a new type that can be cast back to the same value, are no losses either. A
table or column that was dropped and made again with the same rows has lost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner import sqlfile
from runner.cancel import Cancel
from runner.database.connections import translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.scratch import contents
from runner.scratch.contents import Column, Contents, Object, SavedRows, Table
from runner.sqltext import SqlText, ident
from runner.table_name import Named, TableName
from runner.words import plural, shown_name


@dataclass(frozen=True, kw_only=True)
class TableLoss(Named):
    """What a table, under its name from before, has lost: `what` is a list of losses in words."""

    schema: str
    name: str
    what: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Renamed(Named):
    """A table, by its name from before, that has another name `now`; or its `column` that has."""

    schema: str
    name: str
    column: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Losses:
    """tables: those that lost something. renamed: tables and columns. others: objects that are gone."""

    tables: tuple[TableLoss, ...]
    renamed: tuple[Renamed, ...]
    others: tuple[Object, ...]


@dataclass(frozen=True)
class _Pair:
    """A table before and after. new: None when there is no such table any more. again: it is another one of that name.

    parts: tables that were partitions of it and are not any more. columns: each old one with the new one, or None.
    """

    old: Table
    new: Table | None
    again: bool = False
    parts: tuple[Table, ...] = ()

    @property
    def columns(self) -> list[tuple[Column, Column | None]]:
        if self.new is None:
            return [(one, None) for one in self.old.columns]
        numbers = {} if self.again else {one.number: one for one in self.new.columns}
        known = {one.number for one in self.old.columns} if not self.again else set[int]()
        names = {one.name: one for one in self.new.columns if one.number not in known}
        return [(one, numbers.get(one.number) or names.get(one.name)) for one in self.old.columns]


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """How the rows compare. changed, filled, left: of each column, as in sql/scratch/compare_by_key.sql."""

    had: int
    gone: int
    now: int
    changed: Sequence[int]
    filled: Sequence[int]
    left: Sequence[int]
    by_key: bool


def find(conn: DeadlineConnection, before: Contents, cancel: Cancel, *, sampled: bool = False) -> Losses:
    """Compare the database with what it was. sampled: its rows are a part of the original's. Raises TargetError."""
    after = contents.read(conn)
    named = {one.full_name: one for one in after.tables.values()}
    found = []
    for old in before.tables.values():
        if not old.root and (what := _losses_of(conn, before, _pair(old, before, after, named), cancel, sampled)):
            found.append(TableLoss(schema=old.schema, name=old.name, what=tuple(what)))
    return Losses(
        tables=tuple(found), renamed=tuple(_new_names(before, after)), others=tuple(_gone_objects(before, after))
    )


def _pair(old: Table, before: Contents, after: Contents, named: Mapping[TableName, Table]) -> _Pair:
    same = after.tables.get(old.oid)
    new = same or named.get(old.full_name)
    parts = (
        one
        for one in after.tables.values()
        if one.oid in before.tables and before.tables[one.oid].root == old.oid and one.kind == "r"
    )
    outside = tuple(one for one in parts if new is None or one.root != new.oid)
    return _Pair(old, new, again=same is None and new is not None, parts=outside)


def _new_names(before: Contents, after: Contents) -> Iterator[Renamed]:
    for oid, old in before.tables.items():
        new = after.tables.get(oid)
        if new is None:
            continue
        if new.full_name != old.full_name:
            yield Renamed(schema=old.schema, name=old.name, column="", now=str(new.full_name))
        if not old.root:  # a partition follows its table
            names = {one.number: one.name for one in new.columns}
            for one in old.columns:
                if names.get(one.number, one.name) != one.name:
                    now = shown_name("", names[one.number])
                    yield Renamed(schema=old.schema, name=old.name, column=one.name, now=now)


def _gone_objects(before: Contents, after: Contents) -> Iterator[Object]:
    there = set(after.objects.values())
    yield from (one for key, one in before.objects.items() if key not in after.objects and one not in there)


# ------------------------------------------------------------------ one table


def _losses_of(conn: DeadlineConnection, before: Contents, pair: _Pair, cancel: Cancel, sampled: bool) -> list[str]:
    if pair.new is None:
        return ["dropped"]
    saved = before.rows[pair.old.oid]
    if saved.trouble:
        return [f"its rows cannot be compared: {saved.trouble}"]
    if _is_as_it_was(conn, pair, saved, cancel):
        return []
    counts = _compare(conn, pair, saved, cancel)
    if isinstance(counts, str):
        return [f"its rows cannot be compared: {counts}"]
    found = [*_row_losses(counts, sampled), *_column_losses(pair, counts)]
    return ["dropped and made again", *found] if found and pair.again else found


def _is_as_it_was(conn: DeadlineConnection, pair: _Pair, saved: SavedRows, cancel: Cancel) -> bool:
    """Return whether COPY sends the same as before, in the same order: true of most tables, and fast."""
    if pair.new is None or pair.parts or any(new is None or new.type != old.type for old, new in pair.columns):
        return False
    columns = [new for _, new in pair.columns if new]
    now = contents.save(conn, contents.rows_query(pair.new.source, columns), None, cancel)
    return not now.trouble and now.digest == saved.digest


def _compare(conn: DeadlineConnection, pair: _Pair, saved: SavedRows, cancel: Cancel) -> _Counts | str:
    """Compare the rows, with each new type cast back to the old one, or as text where that does not work."""
    trouble = ""
    with translate_errors():
        contents.load(conn, saved, len(pair.old.columns))
    for back in (True, False):
        try:
            with translate_errors():
                row = conn.execute(_comparison(pair, back=back).encode()).fetchall()[0]
            return _Counts(**row, by_key=_same_key(pair))
        except TargetError as exc:
            cancel.check()
            if exc.category == "connection":
                raise
            trouble = exc.message
    return trouble


def _same_key(pair: _Pair) -> bool:
    """Return whether the old primary key is the new one as well, by its columns."""
    by_number = {old.number: new for old, new in pair.columns}
    kept = [by_number.get(number) for number in pair.old.key]
    numbers = {one.number for one in kept if one}
    return bool(kept) and None not in kept and pair.new is not None and numbers == set(pair.new.key) and not pair.parts


def _comparison(pair: _Pair, *, back: bool) -> SqlText:
    places = range(len(pair.old.columns))
    kept = [place for place, (_, new) in enumerate(pair.columns) if new]
    filled = ", ".join(f"count(o.c{place})" for place in places)
    if _same_key(pair):
        key = [place for place in places if pair.old.columns[place].number in pair.old.key]
        return sqlfile.fill(
            "scratch/compare_by_key.sql",
            source=_source(pair, back),
            same=SqlText(" and ".join(f"n.c{place} = o.c{place}" for place in key)),
            changed=SqlText(", ".join(_changed_by_key(place) if place in kept else "0" for place in places)),
            filled=SqlText(filled),
            left=SqlText(", ".join(_left(place) if place in kept else "0" for place in places)),
        )
    old = "(select count({}) from pg_temp.planrun_old as o)"
    return sqlfile.fill(
        "scratch/compare_all.sql",
        source=_source(pair, back),
        columns=SqlText(", ".join(f"c{place}" for place in kept) or "1"),
        changed=SqlText(", ".join(_changed(place) if place in kept else "0" for place in places)),
        filled=SqlText(", ".join(old.format(f"o.c{place}") for place in places)),
        left=SqlText(", ".join(_left(place) if place in kept else "0" for place in places)),
    )


def _changed_by_key(place: int) -> str:
    return f"count(*) filter (where n.there and o.c{place} is not null and o.c{place} is distinct from n.c{place})"


def _changed(place: int) -> str:
    old = f"select c{place} from pg_temp.planrun_old where c{place} is not null"
    return f"(select count(*) from ({old} except all select c{place} from n) as d)"


def _left(place: int) -> str:
    return f"(select count(c{place}) from n)"


def _source(pair: _Pair, back: bool) -> SqlText:
    """Return the query for the rows that are there now, as columns c0, c1 ... like those of before, and `there`."""
    assert pair.new is not None
    values = list[str]()
    for place, (old, new) in enumerate(pair.columns):
        if new:
            cast = f"::{old.type}" if back and new.type != old.type else ""
            values.append(f"{contents.text_of(f't.{ident(new.name)}{cast}')} as c{place}")
    parts = [f"select {', '.join([*_by_name(pair), 'true as there'])} from {one.source} as t" for one in pair.parts]
    return SqlText(
        " union all ".join([f"select {', '.join([*values, 'true as there'])} from {pair.new.source} as t", *parts])
    )


def _by_name(pair: _Pair) -> list[str]:
    kept = [(place, old) for place, (old, new) in enumerate(pair.columns) if new]
    return [f"{contents.text_of(f't.{ident(old.name)}')} as c{place}" for place, old in kept]


# ------------------------------------------------------------------ in words


def _row_losses(counts: _Counts, sampled: bool) -> Iterator[str]:
    verb = "deleted" if counts.by_key or not counts.now else "deleted or changed"
    of = " of the sample" if sampled else ""
    if counts.gone and counts.gone == counts.had:
        yield f"all {plural(counts.had, 'row')}{of} {verb}" if counts.had > 1 else f"its one row{of} {verb}"
    elif counts.gone:
        yield f"{counts.gone:,} of {plural(counts.had, 'row')}{of} {verb}"


def _column_losses(pair: _Pair, counts: _Counts) -> Iterator[str]:
    """Yield what columns lost. Without a key, the values of deleted rows count as changed, so they are not told."""
    tells = counts.by_key or counts.now >= counts.had
    for place, (old, new) in enumerate(pair.columns):
        name, filled = shown_name("", old.name), counts.filled[place]
        changed = counts.changed[place] if tells else 0
        if new is None:
            yield f"column {name} dropped ({plural(filled, 'value')})"
        elif filled and counts.now and not counts.left[place]:
            yield f"column {name} is null in every row ({plural(filled, 'value')} before)"
        elif changed and new.type != old.type:
            yield f"column {name} made {new.type}, was {old.type} ({plural(changed, 'value')} changed)"
        elif changed:
            yield f"column {name}: {plural(changed, 'value')} changed"
