"""The executor: one function per action of the closed union, each with the access that it needs.

What performs a backup, a load, a swap or a proof is imported where it is used: all of it takes as much CPU as psycopg.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import psycopg

from runner import files
from runner.cancel import Cancel
from runner.database import commits, server_progress
from runner.database.blockers import Watch
from runner.database.connections import Connections, set_limits, target_error, translate_errors
from runner.database.deadlines import cancellable, not_for_ever
from runner.database.standstill import Standstill
from runner.engine import At, in_the_way
from runner.errors import PlanrunError, TargetError
from runner.events import ActionDone, Committing, Emit, Progress, Retrying, ServerProgress, WaitEnded, Waiting
from runner.journal.database import DatabaseJournal
from runner.journal.records import Journal
from runner.model import (
    Action,
    Backup,
    Check,
    Command,
    Compare,
    Confirm,
    CopySession,
    Exchange,
    Load,
    Note,
    Plan,
    Prune,
    Query,
    Refill,
    Restore,
    Result,
    Sql,
    Together,
    Trial,
    Verify,
    Write,
)
from runner.progress import Meter, Report
from runner.redact import Redactor, secrets
from runner.run.catalog_reader import first_rows, read_only, translate_errors_at
from runner.safesql import syntax
from runner.words import PLAN, change_line

if TYPE_CHECKING:
    from runner.backup import survey
    from runner.pseudo_terminal import Console
    from runner.run.rehearsal_limits import RehearsalLimits

_LONGEST_LINE = 4096
"""Characters of a line that patterns of a plan examine, because a bad pattern takes long on a long line."""

Ask = Callable[[Confirm], bool]
OpenConsole = Callable[[], "contextlib.AbstractContextManager[Console | None]"]
_Watched = Sql | Query | Check | Backup | Restore | Load | Refill


class Executor:
    """runner.engine.Executor over a real database, real programs and real files.

    ask: asks a person the question of a Confirm; True means yes. stamp: whether `journal` is in a database, so that an
    action on the same connection commits its own journal row. redactor: hides secrets, and learns those of the programs
    that run. open_console: yields the terminal for a program that runs; None if there is none.
    limits: of a rehearsal, which touches no file of the plan.
    """

    def __init__(
        self,
        plan: Plan,
        connections: Connections,
        journal: Journal,
        run: str,
        *,
        ask: Ask,
        emit: Emit,
        env: Mapping[str, str],
        redactor: Redactor,
        open_console: OpenConsole = contextlib.nullcontext,
        limits: RehearsalLimits | None = None,
    ) -> None:
        self._limits = limits
        self._plan, self._connections, self._journal, self._run = plan, connections, journal, run
        self._ask, self._tell, self._env, self._redactor, self._open_console = ask, emit, env, redactor, open_console
        self._pool = _Pool(connections)
        self._watch = Watch(connections, emit=self._waits, ended=self._tell_wait_end, see=self._see)
        self._meters, self._inflight = dict[tuple[str, str], Meter](), server_progress.Inflight()

    def act(self, action: Action, at: At, cancel: Cancel) -> Result:
        try:
            return self._act_watched(action, at, cancel)
        finally:
            self._meters.pop((at.path, at.key), None)

    def _act_watched(self, action: Action, at: At, cancel: Cancel) -> Result:
        if isinstance(action, _Watched):
            with self._watch_locks(action, cancel):
                return self._act(action, at, cancel)
        return self._act(action, at, cancel)

    def _act(self, action: Action, at: At, cancel: Cancel) -> Result:
        match action:
            case Sql():
                return self._sql(action, at, cancel)
            case Query():
                return {"rows": self._rows(action, action.limit, cancel)}
            case Check():
                return self._check(action, cancel)
            case Confirm():
                return self._confirm(action)
            case Command():
                return self._command(action, at, cancel)
            case Trial():
                return self._trial(action, at, cancel)
            case Write():
                self._keep_inside(action.path)
                files.make_folder(Path(action.path).parent)
                files.write_text(Path(action.path), action.text)
                return {"path": action.path, "bytes": len(action.text.encode())}
            case Backup():
                return self._backup(action, at, cancel)
            case Restore():
                return self._restore(action, at, cancel)
            case Verify():
                return self._verify(action, at, cancel)
            case CopySession():
                return self._copy_session(action, at, cancel)
            case Prune():
                return self._prune(action, cancel)
            case Load() | Refill() | Compare():
                return self._shadow(action, at, cancel)
            case Exchange():
                return self._exchange(action, at, cancel)
            case Note():
                return {}
            case Together():
                raise AssertionError("the engine takes groups apart")
            case _:
                assert_never(action)

    def _keep_inside(self, path: str) -> None:
        if self._limits:
            self._limits.refuse_outside(path)

    def _note_locks(
        self, conn: psycopg.Connection[Any], at: At, connection: str, statement: str, since: float
    ) -> contextlib.AbstractContextManager[None]:
        """Note in a rehearsal which locks the transaction holds that is committed in the block."""
        if self._limits is None:
            return contextlib.nullcontext()
        return self._limits.note(conn, at.path, connection or self._connections.default(), statement, since)

    @contextlib.contextmanager
    def _watch_locks(self, action: _Watched, cancel: Cancel) -> Iterator[None]:
        names = [action.connection, action.source] if isinstance(action, Load) else [action.connection]
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(self._watch.over(name, cancel))
            yield

    def close(self) -> None:
        self._pool.close()

    def _waits(self, connection: str, what: str) -> None:
        self._tell(Waiting(connection=connection, message=what))

    def _tell_wait_end(self, connection: str, seconds: float) -> None:
        self._tell(WaitEnded(connection=connection, seconds=round(seconds, 3)))

    def _see(self, connection: str, waits: str, rows: Sequence[Mapping[str, Any]]) -> None:
        inflight = self._inflight.count(rows)
        meters = list(self._meters.values())
        for meter in meters:
            meter.note_server(inflight)
        # what planrun streams itself, it counts itself
        told = [row for row in rows if not (meters and row["command"].startswith("COPY"))]
        self._tell(ServerProgress(connection=connection, lines=server_progress.lines(told), waits=waits))

    # -------------------------------------------------------------- SQL

    def _sql(self, action: Sql, at: At, cancel: Cancel) -> Result:
        if action.theirs:
            syntax.refuse(action.text, use="sql", transaction=action.transaction)
        with self._pool.use(action.connection, theirs=action.theirs) as conn:
            if not action.transaction:
                return self._bare(conn, action, cancel)
            with Standstill(_IDLE):
                return self._in_transaction(conn, action, at, cancel)

    def _bare(self, conn: psycopg.Connection[Any], action: Sql, cancel: Cancel) -> Result:
        done: Result | None = None
        try:
            with cancellable(conn, cancel), translate_errors_at(action.text, detail=action.error_detail):
                done = {"count": _count(conn.execute(action.text))}
        except PlanrunError:
            if done is None:  # a statement that finished is done, even after a cancel
                raise
        return done

    def _in_transaction(self, conn: psycopg.Connection[Any], action: Sql, at: At, cancel: Cancel) -> Result:
        """Run the text and write its journal row in one transaction; look up a COMMIT whose answer is lost."""
        xid, since = "", time.monotonic()
        result: dict[str, Any] = {}
        try:
            with translate_errors(), cancellable(conn, cancel):
                conn.execute("begin")
                with translate_errors_at(action.text, detail=action.error_detail):
                    cursor = conn.execute(action.text)
                result = {"count": _count(cursor)}
                xid = self._write_journal_row(conn, action.connection, at, result)
        except PlanrunError:
            _rollback(conn)
            raise
        with self._note_locks(conn, at, action.connection, action.text, since):
            self._commit(conn, action.connection, xid, cancel)
        return result

    def _exchange(self, action: Exchange, at: At, cancel: Cancel) -> Result:
        from runner.shadow import exchange as exchanging

        def seal(conn: psycopg.Connection[Any], result: dict[str, Any], xid: str) -> None:
            stamp, since = "", time.monotonic() - result["locked_ms"] / 1000
            if self._stamps(action.connection):
                result["stamped"] = True
                stamp = self._stamp_text(at, result)
            else:
                self._announce_commit(at, action.connection, xid, result)
            with self._note_locks(conn, at, action.connection, action.what, since):
                self._commit(conn, action.connection, xid, cancel, stamp)

        def again(attempt: int, delay: float, message: str) -> None:
            self._tell(Retrying(path=at.path, attempt=attempt, of=0, delay=delay, message=message))

        return exchanging.exchange(action, self._connections, seal=seal, cancel=cancel, again=again)

    def _write_journal_row(self, conn: psycopg.Connection[Any], connection: str, at: At, result: dict[str, Any]) -> str:
        """Write the journal row of an action in its transaction, or announce its COMMIT in the journal; return the
        xid."""
        if self._stamps(connection):
            result["stamped"] = True
            conn.execute(self._stamp_text(at, result))
        xid = _xid(conn)
        if xid and not result.get("stamped"):
            self._announce_commit(at, connection, xid, result)
        return xid

    def _commit(
        self, conn: psycopg.Connection[Any], connection: str, xid: str, cancel: Cancel, first: str = ""
    ) -> None:
        """Commit, in one message with the statement `first`, because the server holds the locks until the COMMIT."""
        try:
            with not_for_ever(conn, cancel):
                conn.execute(f"{first};\ncommit" if first else "commit")
        except psycopg.Error as exc:
            error = target_error(exc)
            if error.category != "connection" or not xid:
                raise error from exc
            conn.close()
            hint = f"when it is back: planrun apply {PLAN} --resume looks it up in the journal"
            commits.raise_unless_committed(self._connections, connection, xid, error, hint=hint)

    def _stamps(self, connection: str) -> bool:
        default = self._connections.default()
        journal = self._journal
        return isinstance(journal, DatabaseJournal) and (connection or default) == (journal.name or default)

    def _stamp_text(self, at: At, result: Result) -> str:
        assert isinstance(self._journal, DatabaseJournal)
        return self._journal.stamp(self._run, ActionDone(path=at.path, key=at.key, result=result, seconds=at.seconds))

    def _announce_commit(self, at: At, connection: str, xid: str, result: Result) -> None:
        """Record in the journal that a transaction of another database is about to commit."""
        event = Committing(path=at.path, key=at.key, connection=connection, xid=xid, result=result)
        self._journal.write(self._run, event)

    # -------------------------------------------------------------- tables

    def _shadow(self, action: Load | Refill | Compare, at: At, cancel: Cancel) -> Result:
        from runner.shadow import comparing, loading, refilling

        report_progress = self._progress(at)
        if isinstance(action, Refill):
            return refilling.refill(action, self._connections, cancel=cancel, progress=report_progress)
        if isinstance(action, Compare):
            return comparing.compare(action, self._connections, cancel=cancel, progress=report_progress)
        run, plan = self._run, self._plan.name
        return loading.load(action, self._connections, run=run, plan=plan, cancel=cancel, progress=report_progress)

    def _backup(self, action: Backup, at: At, cancel: Cancel) -> Result:
        from runner.backup import dumping

        self._keep_inside(action.to)
        run, plan, report_progress = self._run, self._plan.name, self._progress(at)
        return dumping.backup(action, self._connections, run=run, plan=plan, cancel=cancel, progress=report_progress)

    def _prune(self, action: Prune, cancel: Cancel) -> Result:
        from runner.backup import sessions

        self._keep_inside(action.folder)
        return sessions.prune(Path(action.folder), action.sessions, cancel, by_name=action.by_name)

    def _copy_session(self, action: CopySession, at: At, cancel: Cancel) -> Result:
        from runner.storage import transfer
        from runner.storage.address import SessionAddress

        self._keep_inside(action.to)
        return transfer.copy(SessionAddress.of(action.session), action.to, cancel, self._progress(at))

    def _restore(self, action: Restore, at: At, cancel: Cancel) -> Result:
        from runner.backup import restoring

        def before_commit(xid: str, result: Result) -> None:
            self._announce_commit(at, action.connection, xid, result)

        return restoring.restore(
            action, self._connections, cancel=cancel, progress=self._progress(at), before_commit=before_commit
        )

    def _rows(self, action: Query | Check, limit: int, cancel: Cancel) -> list[dict[str, Any]]:
        if action.theirs:
            syntax.refuse(action.text, use="check" if isinstance(action, Check) else "query")
        pooled = self._pool.use(action.connection, theirs=action.theirs)
        with pooled as conn, translate_errors(), cancellable(conn, cancel), read_only(conn):
            return first_rows(conn, action.text, limit, detail=action.error_detail)

    def _check(self, action: Check, cancel: Cancel) -> Result:
        found = in_the_way(self._rows(action, 20, cancel))
        if found:
            raise TargetError(f"check failed: {'; '.join(found)}", hint=action.hint, code="PR0518")
        return {"in_the_way": []}

    # -------------------------------------------------------------- people and programs

    def _confirm(self, action: Confirm) -> Result:
        if self._ask(action):
            return {"accepted": True}
        raise PlanrunError("declined", hint="no later step has run", code="PR0512")

    def _command(self, action: Command, at: At, cancel: Cancel) -> Result:
        self._redactor.learn(*secrets({name: self._env[name] for name in action.env if name in self._env}))
        before = self._survey(action, cancel)
        try:
            output = self._run_program(action, at, cancel)
        except PlanrunError as exc:
            exc.message = "\n".join([exc.message, *map(change_line, self._compare_surveys(action, before))])
            raise
        return {"exit_code": 0, "output": output, "changed": self._compare_surveys(action, before)}

    def _survey(self, action: Command, cancel: Cancel) -> list[survey.Seen | str]:
        if not action.surveys:
            return []
        from runner.backup import survey

        return [survey.look(one, self._connections, self._watch, cancel) for one in action.surveys]

    def _compare_surveys(self, action: Command, before: Sequence[survey.Seen | str]) -> list[dict[str, Any]]:
        """Compare the databases with their earlier state; a program that was cancelled may have changed something,
        too."""
        found = list[dict[str, Any]]()
        if not action.surveys:
            return found
        from runner.backup import survey

        for one, old in zip(action.surveys, before, strict=True):
            new = survey.look(one, self._connections, self._watch, Cancel(), old)
            held = survey.saved_tables(one.folders, self._run)
            found += survey.results(survey.changes(old, new), held, partial(self._plan.command, "backups restore"))
        return found

    def _run_program(self, action: Command, at: At, cancel: Cancel) -> str:
        """Run the program and return its output. Raises TargetError also for a line that `fail_if_output` names."""
        from runner import pseudo_terminal, tools

        if self._limits:
            self._limits.refuse_command(action.argv)
        bad, patterns = list[str](), [re.compile(one) for one in action.fail_if_output]

        def hear(line: str) -> None:
            if any(one.search(line[:_LONGEST_LINE]) for one in patterns):
                bad.append(line)

        def emit(line: str) -> None:
            hear(line)
            self._tell(Progress(path=at.path, what=line, done=0, total=0, unit="line"))

        env, cwd = (
            tools.environment(self._env, also=(*action.env, *self._plan.passed)),
            action.cwd or str(self._plan.folder),
        )
        with self._open_console() if action.tty is not False else contextlib.nullcontext() as console:
            if console or action.tty:
                draw = pseudo_terminal.Redraw(self._redactor.text, self._redactor.length_of_begun_secret)
                output = pseudo_terminal.run(
                    action.argv, env=env, cwd=cwd, cancel=cancel,
                    console=console, draw=draw, on_line=hear if console else emit,
                )  # fmt: skip
            else:
                output = tools.run(action.argv, env=env, cwd=cwd, cancel=cancel, on_line=emit)
        if bad:
            raise TargetError(
                f"{Path(action.argv[0]).name} ended with 0 and printed what `fail_if_output:` names: {bad[0].strip()}",
                hint="see what it did before this step runs again: a program's work is not rolled back",
                code="PR0901",
            )
        return output

    def _trial(self, action: Trial, at: At, cancel: Cancel) -> Result:
        from runner.run import trial  # few plans need a scratch copy

        def say(line: str) -> None:
            self._tell(Progress(path=at.path, what=line, done=0, total=0, unit="line"))

        if self._limits:
            self._limits.refuse_command(action.argv)
        self._redactor.learn(*secrets({name: self._env[name] for name in action.env if name in self._env}))
        around = trial.Surroundings(
            plan=self._plan, env=self._env, connections=self._connections, watch=self._watch, cancel=cancel,
            learn=self._redactor.learn, say=say, lacking=self._limits.rows if self._limits else "",
        )  # fmt: skip
        return trial.run(action, around)

    def _verify(self, action: Verify, at: At, cancel: Cancel) -> Result:
        from runner.backup import verifying

        server = self._connections.words(action.server) if action.server else None
        found = verifying.verify(
            Path(action.session), action.level, server=server, env=self._env, cancel=cancel,
            progress=self._progress(at), note=self._limits is None or self._limits.has(action.session),
        )  # fmt: skip
        tables = [{"schema": one.schema, "name": one.name, "rows": one.rows} for one in found.tables]
        return {
            "session": found.session,
            "level": found.level,
            "at": found.at.isoformat(),
            "scratch": found.scratch,
            "files": found.files,
            "rows": found.rows,
            "bytes": found.bytes,
            "tables": tables,
            "left": list(found.left),
        }

    def _progress(self, at: At) -> Report:
        self._meters[at.path, at.key] = meter = Meter(at.path, at.key, self._tell)

        def report_progress(done: int, total: int, phase: str, what: str) -> None:
            self._watch.note_progress()
            meter.report(done, total, phase, what)

        return report_progress


def _count(cursor: psycopg.Cursor[Any]) -> int:
    """Return the rows that the last of the statements changed or returned."""
    while cursor.nextset():
        pass
    return max(cursor.rowcount, 0)


def _xid(conn: psycopg.Connection[Any]) -> str:
    row = conn.execute("select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text as xid").fetchone()
    return str(row["xid"]) if row and row["xid"] else ""


def _rollback(conn: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(psycopg.Error):
        conn.execute("rollback")


_IDLE = 60.0
"""Seconds that the server waits between a statement and its COMMIT, so that no lock stays if planrun is stopped."""
_THEIRS = {"idle_in_transaction_session_timeout": f"{_IDLE:g}s"}
_OURS = _THEIRS | {"statement_timeout": "0"}


def _fresh(conn: psycopg.Connection[Any], *, own_path: bool) -> bool:
    """Discard settings and temporary tables of an earlier step; return false if the connection is lost."""
    try:
        conn.execute("discard all")
        set_limits(conn, own_path=own_path, **(_OURS if own_path else _THEIRS))
    except psycopg.Error:
        conn.close()
        return False
    return True


class _Pool:
    """Connections for SQL, each used by one thread at a time; a broken one is not used again.

    theirs: for SQL from the plan, which uses the role's search_path. planrun's own SQL has separate connections.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._free: dict[tuple[str, bool], list[psycopg.Connection[dict[str, Any]]]] = {}

    @contextlib.contextmanager
    def use(self, name: str, *, theirs: bool) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        name = name or self._connections.default()
        with self._lock:
            free = self._free.setdefault((name, theirs), [])
            conn = free.pop() if free else None
        if conn is None or not _fresh(conn, own_path=not theirs):
            settings = _THEIRS if theirs else _OURS
            conn = self._connections.open(name, read_only=False, own_path=not theirs, **settings)
        try:
            yield conn
        finally:
            if not conn.closed and not conn.broken:
                with self._lock:
                    free.append(conn)

    def close(self) -> None:
        with self._lock:
            for conn in (conn for free in self._free.values() for conn in free):
                conn.close()
            self._free.clear()
