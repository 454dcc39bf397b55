"""Format one action as lines for people, as diff, apply, explain and render show it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import assert_never

from runner.model import (
    Action,
    Backup,
    Check,
    Command,
    Compare,
    Confirm,
    CopySession,
    Dump,
    Exchange,
    Load,
    Note,
    Prune,
    Query,
    Refill,
    Restore,
    ShadowTable,
    Sql,
    Together,
    Trial,
    Verify,
    Write,
)
from runner.words import plural, shown_name, size, span

_LEVELS = {
    1: "its checksums",
    2: "its checksums and a full read of every archive",
    3: "its checksums, a full read, and a restore into a scratch PostgreSQL that is compared",
}

SHORT = 12
"""How many lines of one text, or how many tables, are shown without --verbose."""


def lines(action: Action, *, verbose: bool = False) -> list[str]:
    """Return the lines of one action. `+` creates, `-` removes, `?` asks, `$` runs a program, `#` is a remark."""
    return list(_lines(action, verbose))


def brief(action: Action) -> Iterator[str]:
    """Yield what a reviewer needs to know of an action, without its SQL."""
    match action:
        case Sql(text=text):
            yield f"# {_first_line(text)}"
        case Query(text=text):
            yield f"# query: {_first_line(text)}"
        case Check(text=text):
            yield f"# check: {_first_line(text)}"
        case Exchange():
            yield f"# {action.what}"
        case Load():
            yield next(_load(action, verbose=False))
        case Compare(proofs=proofs):
            yield f"# prove {plural(len(proofs), 'table')}: compare with {action.of}"
        case Together(branches=branches, jobs=jobs):
            yield f"# {plural(len(branches), 'branch', 'branches')}, {jobs} at a time:"
            yield from (line for branch in branches[:SHORT] for one in branch for line in brief(one))
            if len(branches) > SHORT:
                yield f"# ... and {len(branches) - SHORT} more (--verbose shows all)"
        case _:
            yield from _lines(action, verbose=False)


def review(action: Action) -> Iterator[str]:
    """Yield an action with the SQL that acts or that the plan's author wrote, without planrun's own queries."""
    match action:
        case Check(theirs=False, text=text):
            yield f"# check: {_first_line(text)}"
        case Together(branches=branches, jobs=jobs):
            yield f"# {plural(len(branches), 'branch', 'branches')}, {jobs} at a time:"
            yield from (line for branch in branches for one in branch for line in review(one))
        case _:
            yield from _lines(action, verbose=True)


def _first_line(text: str) -> str:
    """Return what a query is for, by its first comment, or else its first line."""
    first, _, more = text.strip().partition("\n")
    return first.lstrip("- ") if first.startswith("--") else first + " ..." * bool(more.strip())


def _lines(action: Action, verbose: bool) -> Iterator[str]:
    match action:
        case Sql(text=text):
            yield from _shorten(_fold_bodies(text, verbose), verbose)
            if not action.transaction:
                yield "# outside a transaction: if it fails half-way, the work so far stays"
        case Query(text=text):
            yield from _shorten(text, verbose)
        case Check(text=text):
            yield from _check(text, verbose)
        case Confirm(message=message, expect=expect):
            yield f"? {message}" + (f" (type {expect!r})" if expect else "")
        case Command(argv=argv, cwd=cwd, surveys=surveys):
            yield f"$ {shlex.join(argv)}" + (f"    (in {cwd})" if cwd else "")
            if surveys:
                yield "# and then name what it dropped, emptied or rewrote in the database"
        case Trial():
            yield from _trial(action)
        case Write(path=path, text=text):
            yield f"+ {path} ({plural(len(text.encode()), 'byte')})"
        case Backup():
            yield from _backup(action, verbose)
        case Restore():
            yield from _restore(action)
        case Verify(session=session, level=level):
            yield f"# prove {session}: {_LEVELS[level]}"
        case CopySession(session=session, to=to):
            yield f"+ copy {session} to {to}, and read it back there"
        case Prune(folder=folder, sessions=sessions):
            yield from (f"- {folder}/{name}" for name in sessions)
        case Load():
            yield from _load(action, verbose)
        case Refill(tables=tables):
            names = ", ".join(shown_name(one.schema, one.name) for one in tables)
            yield f"+ copy the rows of {names} from the live {'tables' if len(tables) > 1 else 'table'}, one snapshot"
        case Compare():
            yield from _compare(action, verbose)
        case Exchange():
            yield from _exchange(action, verbose)
        case Note(text=text):
            yield from _shorten("".join(f"# {line}\n" for line in text.splitlines()), verbose)
        case Together(branches=branches, jobs=jobs):
            yield f"# {plural(len(branches), 'branch', 'branches')}, {jobs} at a time:"
            shown = branches if verbose else branches[:SHORT]
            yield from (line for branch in shown for one in branch for line in _lines(one, verbose))
            if len(shown) < len(branches):
                yield f"# ... and {len(branches) - len(shown)} more (--verbose shows all)"
        case _:
            assert_never(action)


def _trial(action: Trial) -> Iterator[str]:
    rows = "all rows" if action.rows is None else f"a sample of {action.rows:,} rows of each table"
    yield f"$ {shlex.join(action.argv)}" + (f"    (in {action.cwd})" if action.cwd else "")
    yield f"# in a scratch copy with {rows} ({size(action.size)} here), never in the database itself"
    see = f"; {action.see} shows it" if action.see else ""
    yield f"# what it loses is unknown until run, as a diff runs no program of a plan{see}"


def _check(text: str, verbose: bool) -> Iterator[str]:
    """Yield a check; if its first comment says what it is for, only that, unless verbose."""
    first = text.strip().partition("\n")[0]
    if first.startswith("--") and not verbose:
        yield f"# check: {first.lstrip('- ')}"
        return
    yield "# check, must return no row:"
    yield from _shorten(text, verbose)


_BODY = re.compile(r"(\$\w*\$)\n.*?\1;?", re.DOTALL)


def _fold_bodies(text: str, verbose: bool) -> str:
    """Fold text in dollar quotes, such as the body of a DO, to one line, so that the statements around it are
    visible."""
    if verbose or len(text.splitlines()) <= SHORT:
        return text
    return _BODY.sub(_fold, text)


def _fold(match: re.Match[str]) -> str:
    end = ";" * match[0].endswith(";")
    count = plural(match[0].count("\n") + 1, "line")
    return f"{match[1]} ... {match[1]}{end} ({count}, --verbose shows all)"


def _shorten(text: str, verbose: bool, short: int = SHORT) -> Iterator[str]:
    every = text.strip("\n").splitlines()
    shown = every if verbose or len(every) <= short else every[: short - 1]
    yield from shown
    if len(shown) < len(every):
        yield f"# ... and {plural(len(every) - len(shown), 'line')} more (--verbose shows all)"


def _load(action: Load, verbose: bool) -> Iterator[str]:
    total = f"{plural(len(action.tables), 'table')}, about {size(sum(one.bytes for one in action.tables))}"
    yield f"+ shadow tables of schema {shown_name('', action.schema)}: {total}, {action.jobs} at a time, one snapshot"
    tables = sorted(action.tables, key=lambda table: table.kept is None)
    shown = tables if verbose else tables[:SHORT]
    yield from (f"{'+' if one.kept is None else '='}   {_shadow(one)}" for one in shown)
    if len(shown) < len(action.tables):
        yield f"# ... and {plural(len(action.tables) - len(shown), 'table')} more (--verbose shows all)"
    yield from _shorten("".join(f"# {line}\n" for line in action.ledger), verbose)


def _shadow(table: ShadowTable) -> str:
    if table.kept is not None:
        return f"{shown_name('', table.name)}: keeps its {plural(table.kept, 'live row')}"
    rows = "structure only" if table.empty else f"about {plural(table.rows, 'row')}, {size(table.bytes)}"
    return f"{shown_name('', table.name)}: {rows}{'' if table.live else ' (new in the target)'}"


def _compare(compare: Compare, verbose: bool) -> Iterator[str]:
    proofs = compare.proofs
    shown = proofs if verbose else proofs[:SHORT]
    for one in shown:
        by = "the live table" if one.other else compare.of
        what = "rows" if one.checksum is None and not one.other else "rows and content"
        known = one.rows is not None or one.other
        yield f"# prove {one.full_name}: {f'{what} are those of {by}' if known else 'it can be read to its end'}"
    if len(shown) < len(proofs):
        yield f"# ... and {plural(len(proofs) - len(shown), 'table')} more (--verbose shows all)"


def _exchange(action: Exchange, verbose: bool) -> Iterator[str]:
    yield f"# {action.what}"
    if action.locks:
        limit = span(action.lock_timeout) if action.lock_timeout else "half a second"
        again = f"tries again for {span(action.deadline)}" if action.deadline else "does not try again"
        yield f"# one transaction; locks all at once, waits {limit}, {again}, ends no other connection"
    for text in (action.before, action.locks, *action.catch_up):
        yield from _shorten(_fold_bodies(text, verbose), verbose) if text else ()
    yield from _shorten(_fold_bodies(action.text, verbose), verbose, 3 * SHORT)


def _restore(action: Restore) -> Iterator[str]:
    beside = f" into schema {shown_name('', action.schema)}" if action.schema else ""
    yield f"+ restore {', '.join(action.tables) or 'every table'} of {action.session}{beside}"
    if action.replace:
        yield "- drop the tables of the same names, in the same transaction, without CASCADE"
    yield "# one transaction; compared with what was taken before it is committed"


def _backup(action: Backup, verbose: bool) -> Iterator[str]:
    packed = f", {action.compress}" if action.compress else ""
    yield f"+ {action.to}/backup_<time>/ from one snapshot, {action.jobs} at a time{packed}"
    if action.definitions and verbose:
        yield f"    $ {shlex.join(action.definitions)}    (the definitions of all tables)"
    if action.archives and verbose:
        yield f"    $ {shlex.join(action.archives)}    (all tables; its archive is cut into theirs)"
    shown = action.dumps if verbose else action.dumps[:SHORT]
    for dump in shown:
        yield f"+   {dump.file} <- {dump_name(dump)}"
        yield from _source_lines(dump) if verbose and not action.archives else ()
    if len(shown) < len(action.dumps):
        yield f"# ... and {plural(len(action.dumps) - len(shown), 'table')} more (--verbose shows all)"
    yield from (f"# left out {shown_name(one.schema, one.name)}: {one.reason}" for one in action.left_out)


def _source_lines(dump: Dump) -> Iterator[str]:
    """Yield how a dump is read: the queries for its rows, or pg_dump."""
    for rows in dump.rows:
        text = rows.values if dump.format == "insert" else rows.copy
        yield from (f"    {line}" for line in text.strip().splitlines() if not line.startswith("--"))
    if not dump.rows:
        yield f"    $ {shlex.join(dump.argv)}"


def dump_name(dump: Dump) -> str:
    """Return the content of one dump: a table's name, or the whole database."""
    return shown_name(dump.schema, dump.name) if dump.name else dump.schema or "the whole database"
