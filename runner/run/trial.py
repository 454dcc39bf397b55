"""Run a program against a scratch copy of a database and find what it loses there; the database itself is only read.

The program sees no address but the copy's (runner/run/redirection.py). Three checks do not rest on that: its settings
may not name the database, it must have connected to the copy, and the database must be as it was when it has ended.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner import sqlfile, tools
from runner.backup import survey
from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections, translate_errors
from runner.database.database_line import Place
from runner.database.deadlines import DeadlineConnection, cancellable
from runner.errors import Interrupted, PlanrunError, RefusedError, TargetError, UnknownStateError
from runner.model import Plan, Result, Survey, Trial
from runner.run import address_files
from runner.run.redirection import redirect
from runner.scratch import contents, losses, statements
from runner.scratch.contents import Contents
from runner.scratch.copies import ScratchCopies, ScratchCopy, scratch_copies
from runner.scratch.losses import Losses
from runner.scratch.rows import SAMPLE, Rows
from runner.table_name import TableName
from runner.words import one_line, span

_SESSIONS = "select sessions from pg_catalog.pg_stat_database where datname = pg_catalog.current_database()"  # since 14
_WHOLE = "select * from ({}) as t where t.readable and not pg_catalog.row_security_active(t.oid::pg_catalog.oid)"
"""The tables of which the role sees all rows; of the others it can make no backup either."""
_REPORTED = 5.0
"""Seconds in which the server counts a connection that has ended; it does so when the connection ends."""
_SHOWN = 10
"""Lines of a program that failed that are told."""
_ASKS = re.compile(r"Interactive prompts require a TTY|requires? (?:a TTY|an interactive)", re.IGNORECASE)
_NO_QUESTIONS = (
    "nobody can answer a program in a scratch copy: give it the option with which it does not ask (drizzle-kit push: "
    "--force, prisma db push: --accept-data-loss); drizzle-kit asks what was renamed in `generate`, not in `migrate`"
)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(r"\s+at .*[:(]")
"""A line of a JavaScript stack trace."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a trial needs of the run. env: the caller's environment. learn: called with each secret that it meets.

    say: called with what it does now, and with each line that the program prints. lacking: what the database has when
    it is the copy of a rehearsal and has not all rows, in words such as `no rows`.
    """

    plan: Plan
    env: Mapping[str, str]
    connections: Connections
    watch: Watch
    cancel: Cancel
    learn: Callable[..., object]
    say: Callable[[str], object]
    lacking: str = ""


def run(trial: Trial, around: Surroundings) -> Result:
    """Return what the program loses, as JSON data.

    tables: each with schema, name and `lost` (a list of losses in words). renamed: schema, name, column, now. others:
    kind, schema, name. unseen: what the copy lacks and the reason. sampled: whether it has only a part of the rows.
    copy: what it was made on, in words. Raises TargetError when the program fails, RefusedError when it might reach the
    database itself, UnknownStateError when the database changed meanwhile.
    """
    folder = Path(trial.cwd or around.plan.folder)
    name = trial.connection or around.connections.default()
    place = _place(around, name)
    address_files.refuse(folder, trial.argv, place, around.plan.folder, trial.ignored)
    _refuse_other_variables(trial, around.env, place)
    plan = _only(around.plan, name, trial)
    with (
        _translate_room(),
        _watch(trial, around) as changes,
        scratch_copies(
            plan, around.env,
            rows=Rows.ALL if trial.rows is None else Rows.SAMPLE, number=trial.rows or SAMPLE,
            server=around.connections.words(trial.server) if trial.server else None,
            cancel=around.cancel, say=around.say, learn=around.learn,
        ) as copies,
    ):  # fmt: skip
        found = _try_out(trial, around, plan, folder, copies)
    return _with_changes(found, changes, trial)


@contextlib.contextmanager
def _translate_room() -> Iterator[None]:
    """Say by which parameter of the step a copy gets smaller that is too large for this machine."""
    try:
        yield
    except TargetError as exc:
        if exc.code == "PR1005":
            exc.hint = "copy a sample (a lower `whole_up_to:`), set TMPDIR to a larger disk, or name a `server:`"
        raise


def _place(around: Surroundings, name: str) -> Place:
    """Return where a connection leads, also if only a service file says so. Raises ConnectError."""
    with contextlib.closing(around.connections.open(name, read_only=True)) as conn:
        info = conn.info
        return Place(info.dbname, info.host, str(info.port), info.user)


_PLACES = {"PGDATABASE": "database", "PGPORT": "port", "PGHOST": "host"}
_HERE = frozenset({"", "localhost", "127.0.0.1", "::1"})


def _refuse_other_variables(trial: Trial, env: Mapping[str, str], place: Place) -> None:
    """Raise RefusedError if a variable that the program may see leads to another database than the connection.

    In the copy all of them lead to the copy. In the run, psql takes PG* where planrun took DATABASE_URL: another
    database would be migrated than the one that was tried and saved.
    """
    for name, part in _PLACES.items():
        value, wanted = env.get(name, ""), str(getattr(place, part))
        if name not in trial.env or not value or value == wanted:
            continue
        if part == "host" and (_is_here(value) and _is_here(wanted)):
            continue
        raise RefusedError(
            f"{name} is {value}, and the connection of this step leads to {part} {wanted}: a program that reads {name} "
            "would change another database than the one that is saved",
            hint=f"unset {name}, or set it to {wanted}",
            code="PR1080",
        )


def _is_here(host: str) -> bool:
    return host in _HERE or host.startswith("/")


def _only(plan: Plan, name: str, trial: Trial) -> Plan:
    """Return a plan with one connection and no values but the arguments, in which a redirection finds addresses."""
    kept = {name: plan.connections[name]} if name in plan.connections else {}
    return replace(plan, connections=kept, params={"argv": list(trial.argv)}, env={})


# ------------------------------------------------------------------ in the copy


def _try_out(trial: Trial, around: Surroundings, plan: Plan, folder: Path, copies: ScratchCopies) -> Result:
    copy = copies.copies[0]
    files = address_files.variables(folder)
    led = redirect(plan, {**files, **around.env}, copies.words)
    argv = tuple(led.plan.params["argv"])
    led.refuse_elsewhere(argv)
    env = led.environment(trial.env)
    env |= address_files.cover(led.env, env, files)
    connections = Connections({"copy": copy.reader}, copies.env, application="planrun trial", cancel=around.cancel)
    with _open(connections, around.cancel) as conn:
        before = contents.read_with_rows(conn, copies.folder, around.cancel)
        noted = statements.note(conn, before) if trial.rows is not None or around.lacking else None
        sessions = _sessions(conn)
        around.say(f"running {Path(argv[0]).name} in the scratch copy")
        _run_program(trial, argv, env, folder, around)
        _refuse_absence(conn, sessions, argv, around.cancel)
        ran = statements.read_notes(conn, noted) if noted else {}
        found = losses.find(conn, before, around.cancel, sampled=trial.rows is not None)
    return _result(trial, around, copy, before, found, ran)


@contextlib.contextmanager
def _open(connections: Connections, cancel: Cancel) -> Iterator[DeadlineConnection]:
    with (
        contextlib.closing(connections.open("copy", statement_timeout="0", row_security="off")) as conn,
        cancellable(conn, cancel),
    ):
        yield conn


def _sessions(conn: DeadlineConnection) -> int:
    with translate_errors("looking at the scratch copy"):
        return int(conn.execute(_SESSIONS.encode()).fetchall()[0]["sessions"])


def _refuse_absence(conn: DeadlineConnection, before: int, argv: Sequence[str], cancel: Cancel) -> None:
    """Raise TargetError when nobody has connected to the copy: what the program did, it did elsewhere."""
    end = time.monotonic() + _REPORTED
    while _sessions(conn) == before:
        if time.monotonic() > end:
            raise TargetError(
                f"{Path(argv[0]).name} ended well, and never connected to the scratch copy; "
                "so nothing is known of what it loses",
                hint="let it take the address from DATABASE_URL or PG*; look which database it used: planrun doctor",
                code="PR1082",
            )
        cancel.wait(0.1)
        cancel.check()


def _run_program(trial: Trial, argv: Sequence[str], env: Mapping[str, str], folder: Path, around: Surroundings) -> None:
    """Run the program to its end. Raises TargetError with its last lines when it fails, or does not end in time."""
    bad, last = list[str](), deque[str](maxlen=200)
    patterns = [re.compile(one) for one in trial.fail_if_output]

    def hear(line: str) -> None:
        last.append(_COLOURS.sub("", line).rstrip())
        if any(one.search(line[:4096]) for one in patterns):
            bad.append(line.strip())
        around.say(line)

    program = Path(argv[0]).name
    late = TargetError(
        f"{program} did not end within {span(trial.timeout)} in the scratch copy",
        hint=f"{_NO_QUESTIONS}; or raise `command_timeout:`",
        category="timeout",
        code="PR1081",
    )
    try:
        with around.cancel.child() as inner, inner.after(trial.timeout, late):
            tools.run(argv, env=env, cwd=str(folder), cancel=inner, on_line=hear)
    except TargetError as exc:
        raise _failure(exc, last) from exc
    if bad:
        what = f"{program} ended with 0 and printed what `fail_if_output:` names"
        raise _failure(TargetError(what, code="PR1083"), last)


def _failure(exc: TargetError, last: Sequence[str]) -> TargetError:
    lines = dict.fromkeys(one for one in last if one.strip() and not _FRAME.match(one))
    said = "\n".join(f"    {one}" for one in list(lines)[-_SHOWN:])
    head = exc.message.partition("\n")[0].removesuffix(":")
    where = "" if "in the scratch copy" in head else ", in the scratch copy"
    hint = exc.hint or "the database itself is as it was; mend what the program reports, then run again"
    return TargetError(
        f"{head}{where}" + (f":\n{said}" if said else ""),
        hint=_NO_QUESTIONS if _ASKS.search(said) else hint,
        category=exc.category,
        code=exc.code if exc.code in ("PR0902", "PR1081") else "PR1083",
    )


# ------------------------------------------------------------------ the database itself


@contextlib.contextmanager
def _watch(trial: Trial, around: Surroundings) -> Iterator[list[survey.Change]]:
    """Yield a list that holds, after the block, what changed in the database meanwhile; an error tells it as well."""
    one = Survey(connection=trial.connection, query=trial.query, folders=())
    before = survey.look(one, around.connections, around.watch, around.cancel)
    changes = list[survey.Change]()

    def compare() -> None:
        after = survey.look(one, around.connections, around.watch, Cancel(), before)
        changes.extend(each for each in survey.changes(before, after) if each.name)

    try:
        yield changes
    except PlanrunError as exc:
        compare()
        if changes and not isinstance(exc, Interrupted):
            raise _change_error(changes, trial, f"; {exc.message}") from exc
        raise
    compare()


def _change_error(changes: Sequence[survey.Change], trial: Trial, also: str = "") -> UnknownStateError:
    found = ", ".join(f"{each.full_name} {each.what}" for each in changes)
    return UnknownStateError(
        f"the database itself changed while {Path(trial.argv[0]).name} ran in the scratch copy: {found}{also}",
        hint="somebody else changed it, or the program took an address that planrun does not know of: "
        "look at its settings before you run it again",
        code="PR1084",
    )


def _with_changes(found: Result, changes: Sequence[survey.Change], trial: Trial) -> Result:
    """Return the result with what changed meanwhile. Raises UnknownStateError when the copy has changed like that."""
    here = {TableName.of(each) for name in ("tables", "renamed", "others") for each in found[name]}
    if same := [each for each in changes if each.full_name in here]:
        raise _change_error(same, trial)
    told = [
        {"what": str(each.full_name), "reason": f"{each.what} in the database itself, while the program ran"}
        for each in changes
    ]
    return {**found, "unseen": [*found["unseen"], *told]}


# ------------------------------------------------------------------ the result


def _result(
    trial: Trial, around: Surroundings, copy: ScratchCopy, before: Contents, found: Losses, ran: Mapping[TableName, str]
) -> Result:
    tables: dict[TableName, list[str]] = {one.full_name: list(one.what) for one in found.tables}
    most = 0 if around.lacking else trial.rows or 0
    parts = {before.tables[oid].full_name for oid, rows in before.rows.items() if rows.count >= most}
    for name, what in ran.items():
        if name in parts:
            tables.setdefault(name, [f"{what}, and met no row of the {'rehearsal' if around.lacking else 'sample'}"])
    absent = _absent(trial, around, copy, before)
    for name, reason in absent.items():
        tables.setdefault(name, [f"unknown: {reason}"])
    return {
        "tables": [{"schema": name.schema, "name": name.name, "lost": what} for name, what in sorted(tables.items())],
        "renamed": [
            {"schema": one.schema, "name": one.name, "column": one.column, "now": one.now} for one in found.renamed
        ],
        "others": [{"kind": one.kind, "schema": one.schema, "name": one.name} for one in found.others],
        "unseen": [{"what": one.what, "reason": one_line(one.reason)} for one in copy.left_out],
        "sampled": trial.rows is not None,
        "copy": _copy(copy, around.lacking),
    }


def _copy(copy: ScratchCopy, lacking: str) -> str:
    place = f"PostgreSQL {copy.version}, {'a private server' if copy.private else 'the server that is named'}"
    return f"{place}; made from the copy of a rehearsal, which has {lacking}" if lacking else place


def _absent(trial: Trial, around: Surroundings, copy: ScratchCopy, before: Contents) -> dict[TableName, str]:
    """Return the tables that this role may read and that the copy lacks, or whose rows it lacks, with the reason."""
    with (
        contextlib.closing(around.connections.open(trial.connection, read_only=True)) as conn,
        translate_errors("looking at the tables"),
    ):
        rows = conn.execute(_WHOLE.format(sqlfile.read("scratch/tables.sql").rstrip()).encode()).fetchall()
    names = [TableName.of(row) for row in rows if not row["part"] and row["schema"] != "planrun"]
    there = {one.full_name for one in before.tables.values()}
    reasons = {one.what: one.reason for one in copy.left_out}
    found = {}
    for name in names:
        if name not in there:
            reason = reasons.get(f"table {name.schema}.{name.name}", "")
            found[name] = "the scratch copy does not have it" + (f": {one_line(reason)}" if reason else "")
        elif reason := reasons.get(f"rows of {name}", ""):
            found[name] = f"the scratch copy does not have its rows: {one_line(reason)}"
    return found
