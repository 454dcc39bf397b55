"""Compare what came of a case with what it expects; each thing that does not hold is a Failure with its place."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import sqlfile
from runner.backup import sessions
from runner.cases.case import Case, Move, default_connection
from runner.cases.databases import Words, as_superuser
from runner.cases.result import Failure, RunEnd, StepEnd
from runner.database.connections import Connections
from runner.errors import TargetError
from runner.language.case_schema import DATABASE
from runner.language.source import Steps
from runner.run.catalog_reader import first_rows, read_only
from runner.table_name import TableName
from runner.words import close_matches, plural

LONGEST = 100
"""Lines of a difference that are kept, and rows of a query that are read beyond those that are expected."""


@dataclass
class Comparison:
    """What is compared with a case. update: write the files of whole texts instead. written: those it wrote."""

    case: Case
    words: Mapping[str, Words]
    home: Path
    update: bool = False
    written: list[str] = field(default_factory=list)

    # -------------------------------------------------------------- a run

    def of_run(self, move: Move, end: RunEnd, *, last: bool) -> Iterator[Failure]:
        """Yield what does not hold of how a run ended. last: what the case itself expects is of this run, too."""
        sides = [((*move.path, "expect"), move.expect), *([(("expect",), self.case.expect)] if last else [])]
        if not end.is_reached:
            yield Failure(
                where=self.case.document.at(move.path),
                message=f"the step that was to fail was never reached: the {move.verb} ended {_how(end)}",
                code="PR1069", hint="see which steps came before it: -v",
            )  # fmt: skip
        elif not _says_how([expect for _, expect in sides], move) and end.exit_code:
            code = f"{end.code} " if end.code else ""
            yield Failure(
                where=self.case.document.at(move.path),
                message=f"{move.verb} ended {_how(end)}: {code}{end.message}".rstrip(": "),
            )
        for path, expect in sides:
            yield from self._outcome(path, expect, end)

    def _outcome(self, path: Steps, expect: Mapping[str, Any], end: RunEnd) -> Iterator[Failure]:
        got: dict[str, Any] = {"exit_code": end.exit_code, "state": end.state, "error": end.code}
        why = (f"  it said: {end.message}",) if end.message else ()
        for key in got:
            if key in expect and got[key] != expect[key]:
                yield self._differs(
                    (*path, key), f"{key} of {end.verb}", expect[key], "none" if got[key] == "" else got[key], why
                )
        if (text := expect.get("message")) and text not in end.message:
            yield self._differs((*path, "message"), f"message of {end.verb}", text, end.message or "none")
        for name, wanted in expect.get("steps", {}).items():
            yield from self._step((*path, "steps", name), name, wanted, end)
        for key, shown in (("diff", end.diff), ("report", end.report)):
            yield from self._text((*path, key), f"{key} of {end.verb}", expect.get(key, {}), shown)

    def _step(self, path: Steps, name: str, wanted: Any, end: RunEnd) -> Iterator[Failure]:
        wanted = {"state": wanted} if isinstance(wanted, str) else wanted
        got = end.steps.get(name)
        if got is None:
            yield self._differs(path, f"step {name}", _step_text(wanted), "it never came")
            return
        same = wanted.get("state", got.state) == got.state and wanted.get("error", got.code) == got.code
        if not same or wanted.get("message", "") not in got.message:
            yield self._differs(path, f"step {name}", _step_text(wanted), str(got))

    def _text(self, path: Steps, what: str, wanted: Mapping[str, Any], got: str) -> Iterator[Failure]:
        for text in _list(wanted.get("contains", ())):
            if text not in got:
                yield self._failure((*path, "contains"), f"{what} does not contain:", [f"- {text}", *_plus(got)])
        for text in _list(wanted.get("lacks", ())):
            if text in got:
                lines = [f"+ {line}" for line in got.splitlines() if text.splitlines()[0] in line]
                yield self._failure((*path, "lacks"), f"{what} contains {text!r}:", lines)
        if name := wanted.get("file"):
            yield from self._whole_text((*path, "file"), what, self.case.path.parent / name, got)

    def _whole_text(self, path: Steps, what: str, file: Path, got: str) -> Iterator[Failure]:
        shown = os.path.relpath(file)
        if self.update:
            if not file.exists() or file.read_text(encoding="utf-8") != got:
                file.write_text(got, encoding="utf-8")
                self.written.append(shown)
            return
        if not file.exists():
            hint = "write it with --update, then read it"
            yield self._failure(path, f"{what}: there is no file {shown}", code="PR1070", hint=hint)
        elif (text := file.read_text(encoding="utf-8")) != got:
            message = f"{what} is not that of {shown}:"
            yield self._failure(path, message, _differences(text.splitlines(), got.splitlines()), hint=_UPDATE)

    # -------------------------------------------------------------- afterwards

    def of_state(self) -> Iterator[Failure]:
        """Yield what does not hold of the databases, the sessions and the files after the last run."""
        expect = self.case.expect
        if DATABASE.keys() & expect.keys():
            yield from self._database(("expect",), default_connection(self.case.plan), expect)
        for name, wanted in expect.get("databases", {}).items():
            yield from self._database(("expect", "databases", name), name, wanted)
        if "sessions" in expect:
            yield from self._sessions(("expect", "sessions"), expect["sessions"])
        for name, held in expect.get("files", {}).items():
            yield from self._one_file(("expect", "files", name), name, held)

    def _database(self, path: Steps, name: str, wanted: Mapping[str, Any]) -> Iterator[Failure]:
        words = as_superuser(self.words[name])
        with contextlib.closing(Connections({"db": words}, {}).open("db", own_path=False)) as conn:
            with read_only(conn):
                found = first_rows(conn, sqlfile.read("cases/relations.sql"), 1_000_000)
            there = {TableName(row["schema"], row["name"]): row["columns"] for row in found}
            yield from self._relations(path, wanted, there)

            def ask(sql: str, limit: int) -> list[dict[str, Any]]:
                with read_only(conn):
                    return first_rows(conn, sql, limit, detail=True)

            for table, rows in wanted.get("rows", {}).items():
                yield from self._row_count((*path, "rows", table), table, rows, there, ask)
            for number, query in enumerate(wanted.get("queries", ())):
                yield from self._query((*path, "queries", number), query, ask)

    def _relations(
        self, path: Steps, wanted: Mapping[str, Any], there: Mapping[TableName, list[str]]
    ) -> Iterator[Failure]:
        for key, should in (("tables", True), ("missing", False)):
            for number, name in enumerate(wanted.get(key, ())):
                if (_full(name) in there) != should:
                    hint = _near(name, there) if should else ""
                    message = f"{name} {'does not exist' if should else 'exists'}"
                    yield self._failure((*path, key, number), message, hint=hint)
        for name, columns in wanted.get("columns", {}).items():
            got = there.get(_full(name))
            if got is None:
                yield self._failure((*path, "columns", name), f"{name} does not exist", hint=_near(name, there))
            elif got != columns:
                yield self._failure((*path, "columns", name), f"columns of {name}:", _differences(columns, got))

    def _row_count(
        self, path: Steps, table: str, rows: int, there: Mapping[TableName, list[str]], ask: Any
    ) -> Iterator[Failure]:
        if _full(table) not in there:
            yield self._failure(path, f"{table} does not exist", hint=_near(table, there))
            return
        got = ask(f"select count(*) as n from {_full(table).sql}", 1)[0]["n"]
        if got != rows:
            yield self._differs(path, f"rows of {table}", rows, got)

    def _query(self, path: Steps, query: Mapping[str, Any], ask: Any) -> Iterator[Failure]:
        wanted = query["rows"]
        try:
            rows = ask(query["sql"], len(wanted) + LONGEST)
        except TargetError as exc:
            yield self._failure((*path, "sql"), f"the query fails: {exc.message}", code=exc.code)
            return
        if len(rows) == len(wanted) and all(map(_is_row, wanted, rows)):
            return
        shown = [_row_text(one) for one in wanted]
        got = [_row_text(one) if _is_row(one, row) else _row_text(_like(one, row)) for one, row in _pairs(wanted, rows)]
        yield self._failure((*path, "rows"), f"rows of {' '.join(query['sql'].split())}:", _differences(shown, got))

    def _sessions(self, path: Steps, wanted: Mapping[str, Any]) -> Iterator[Failure]:
        found = sorted({one.parent for one in self.home.rglob("manifest.json")}, key=lambda folder: folder.name)
        complete = [one for one in found if sessions.read(one).state == "complete"]
        if "count" in wanted and len(complete) != wanted["count"]:
            yield self._differs((*path, "count"), "backup sessions", wanted["count"], len(complete))
        if "tables" in wanted:
            tables = sessions.read(complete[-1]).tables if complete else ()
            got = sorted(f"{_short(one.full_name)}: {one.rows}" for one in tables)
            should = sorted(f"{_short(_full(name))}: {rows}" for name, rows in wanted["tables"].items())
            if got != should:
                yield self._failure((*path, "tables"), "tables of the newest session:", _differences(should, got))

    def _one_file(self, path: Steps, name: str, held: bool | str) -> Iterator[Failure]:
        file = self.home / self.case.plan.folder.resolve().relative_to("/") / name
        if file.exists() != bool(held):
            yield self._failure(path, f"{name} {'does not exist' if held else 'exists'}")
        elif isinstance(held, str) and held not in (text := file.read_text(encoding="utf-8", errors="replace")):
            yield self._failure(path, f"{name} does not contain:", [f"- {held}", *_plus(text)])

    # -------------------------------------------------------------- failures

    def _differs(self, path: Steps, what: str, wanted: Any, got: Any, more: Sequence[str] = ()) -> Failure:
        return self._failure(path, f"{what}:", [f"- {wanted}", f"+ {got}", *more])

    def _failure(
        self, path: Steps, message: str, lines: Sequence[str] = (), *, code: str = "", hint: str = ""
    ) -> Failure:
        over = len(lines) - LONGEST
        kept = (*lines[:LONGEST], *((f"  and {plural(over, 'line')} more",) if over > 0 else ()))
        return Failure(where=self.case.document.key_at(path), message=message, lines=kept, code=code, hint=hint)


_UPDATE = "if this is right: --update"


def _how(end: RunEnd) -> str:
    return end.state if end.state == "ok" else f"{end.state} (exit code {end.exit_code})"


def _says_how(sides: Sequence[Mapping[str, Any]], move: Move) -> bool:
    """Say whether a case says that a run may end badly; a fault alone says so."""
    for expect in sides:
        states = [one if isinstance(one, str) else one.get("state") for one in expect.get("steps", {}).values()]
        if {"exit_code", "state", "error"} & expect.keys() or "failed" in states:
            return True
    return move.fault is not None


def _step_text(wanted: Mapping[str, str]) -> str:
    return str(StepEnd(state=wanted.get("state", ""), code=wanted.get("error", ""), message=wanted.get("message", "")))


def _list(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _plus(text: str) -> list[str]:
    return [f"+ {line}" for line in text.splitlines()] or ["+ (nothing)"]


def _differences(wanted: Sequence[str], got: Sequence[str]) -> list[str]:
    """Return both texts as one: a line that is only expected begins with -, one that is only there with +."""
    return [line.rstrip() for line in difflib.ndiff(list(wanted), list(got)) if not line.startswith("?")]


def _full(name: str) -> TableName:
    parsed = TableName.parse(name)
    return TableName(parsed.schema or "public", parsed.name)


def _short(name: TableName) -> str:
    return str(TableName("", name.name) if name.schema == "public" else name)


def _near(name: str, there: Mapping[TableName, Any]) -> str:
    names = [_short(one) for one in there if one.schema != "planrun"]
    close = close_matches(name, names)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(names[:12]) or 'none'}"


# ------------------------------------------------------------------ rows


def _pairs(wanted: Sequence[Any], rows: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each row with what is expected in its place, or with what the first is like where there are more."""
    for number, row in enumerate(rows):
        yield wanted[number] if number < len(wanted) else (wanted[0] if wanted else []), row


def _like(wanted: Any, row: Mapping[str, Any]) -> Any:
    """Return a row in the form in which one is expected."""
    if isinstance(wanted, Mapping):
        return {name: row.get(name) for name in (wanted if wanted.keys() <= row.keys() else row)}
    return next(iter(row.values())) if len(row) == 1 and not isinstance(wanted, list) else list(row.values())


def _is_row(wanted: Any, row: Mapping[str, Any]) -> bool:
    got = _like(wanted, row)
    if isinstance(wanted, Mapping):
        return wanted.keys() == got.keys() and all(_is_value(wanted[name], got[name]) for name in wanted)
    if isinstance(wanted, list):
        return len(wanted) == len(row) and all(map(_is_value, wanted, row.values()))
    return len(row) == 1 and _is_value(wanted, got)


def _is_value(wanted: Any, got: Any) -> bool:
    """Compare as JSON: true is not 1; a number is the text that PostgreSQL prints of a numeric."""
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, int | float) and isinstance(got, str):
        with contextlib.suppress(ValueError):
            return float(got) == wanted
    return bool(wanted == got)


def _row_text(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)
