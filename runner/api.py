"""The engine with its real hands on: values in, a result object out, nothing printed.

    from runner import load_plan, diff, apply

The command line is the first user of this module.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from runner import __version__, engine, journal
from runner.cancel import Cancel
from runner.db import Connections
from runner.errors import (
    Interrupted,
    Mark,
    PlanError,
    PlanrunError,
    Problem,
    StaleError,
    UsageError,
    VerifyError,
)
from runner.events import ActionDone, Event, OutcomeTold, RunBegan, RunEnded, Tell, TurnTold
from runner.guard import nearest
from runner.hands import Ask, RealHands
from runner.journal import DatabaseJournal, FileJournal, Journal, RunRecord
from runner.kinds import KINDS
from runner.lock import RunLock, application_name, holder
from runner.model import Confirm, Plan, Step
from runner.planfile import open_plan, templates_of
from runner.redact import Redactor
from runner.refresh import sets
from runner.refresh.telling import Standing
from runner.result import RunResult, step_results
from runner.shadow import comparing
from runner.world import LiveWorld


def load_plan(
    file: str | os.PathLike[str],
    *,
    set: Mapping[str, str] | Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    offline: bool = False,
) -> Plan:
    """Read, compose and check a plan. Raises PlanError holding every problem at once.

    set: params and settings as the command line's `--set name=value`. offline: accept `${env.X}` that is not set.
    """
    return open_plan(Path(file), sets=set, env=os.environ if env is None else env, offline=offline)


def diff(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    rollback: bool = False,
    on_event: Tell | None = None,
    cancel: Cancel | None = None,
) -> RunResult:
    """Say what `apply` would do, reading the real database and changing nothing. Raises ConnectError, PlanError."""
    with _session(plan, env, on_event, cancel, mode="rollback" if rollback else "apply") as session:
        return session.diff()


def apply(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    until: str = "",
    resume: bool = False,
    keep_going: bool = False,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Tell | None = None,
    cancel: Cancel | None = None,
) -> RunResult:
    """Run a plan, under the lock of its database and area.

    until: stop after this step (`paused`; `resume` goes on later). keep_going: a failing item
    of a `for_each` does not stop the others (exit code 3, partly done). approve: shown the diff before anything is
    done, false ends it as `declined`; without it no diff is made. confirm: answers the plan's `confirm` steps (it is
    given the question, with `message` and `expect`); without it they are declined. Raises PlanrunError only for what
    keeps a run from beginning (no server, lock held, plan changed since); what goes wrong in a step is in the result.
    """
    with _session(plan, env, on_event, cancel, mode="apply", confirm=confirm) as session:
        return session.apply(until, resume, approve, keep_going=keep_going)


def rollback(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Tell | None = None,
    cancel: Cancel | None = None,
) -> RunResult:
    """Run the plan's `rollback:` steps. Raises UsageError when it has none."""
    if not plan.rollback:
        raise UsageError(f"{plan.file} has no `rollback:`", hint="add steps that undo the plan")
    with _session(plan, env, on_event, cancel, mode="rollback", confirm=confirm) as session:
        return session.apply("", False, approve)


def history(plan: Plan, *, env: Mapping[str, str] | None = None) -> list[RunRecord]:
    """Return the runs that the plan's journal holds, oldest first."""
    chosen = os.environ if env is None else env
    connections = Connections(plan.connections, chosen)
    with contextlib.closing(open_journal(plan, connections, chosen)) as book:
        return [run for run in journal.fold(book.records()) if run.plan == plan.name]


def running(plan: Plan, *, env: Mapping[str, str] | None = None) -> str:
    """Return who runs the plan now (run, host, pid, user, since), or nothing."""
    if not uses_database(plan.steps):
        return ""
    return holder(Connections(plan.connections, os.environ if env is None else env), "", plan.name)


# ------------------------------------------------------------------ what refreshes left in the database


def refreshes(plan: Plan, *, env: Mapping[str, str] | None = None) -> list[Standing]:
    """Return the shadow tables and backup sets that planrun keeps in the plan's database, oldest first; only reads."""
    connections = Connections(plan.connections, os.environ if env is None else env)
    with contextlib.closing(LiveWorld(plan, connections, templates_of(plan.root))) as world:
        found = [
            sets.standing(partial(world.rows, connection=name), world.sql, name) for name in refresh_connections(plan)
        ]
    return [standing for each in found for standing in each]


def verify_set(
    plan: Plan, standing: Standing, *, env: Mapping[str, str] | None = None, cancel: Cancel | None = None
) -> dict[str, object]:
    """Read every table of a backup set to its end; return its tables with their rows.

    Raises VerifyError naming each that is gone, is none of ours, or does not hold what was recorded.
    """
    connections = Connections(plan.connections, os.environ if env is None else env)
    with contextlib.closing(LiveWorld(plan, connections, templates_of(plan.root))) as world:
        ask = partial(world.rows, connection=standing.connection)
        action = sets.proof(standing, ask, world.sql)
    return comparing.compare(action, connections, cancel=cancel or Cancel(), progress=lambda *told: None)


def abort(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Tell | None = None,
    cancel: Cancel | None = None,
) -> RunResult:
    """Remove what an unfinished run of the plan left in the database; after that there is nothing to resume."""
    where = Mark(plan.file, 1, 1)
    steps = tuple(
        Step(id=f"abort_{name}" if name else "abort", where=where, kind="drop_shadow", values={"connection": name})
        for name in refresh_connections(plan)
    )
    made = replace(plan, steps=steps, rollback=())
    with _session(made, env, on_event, cancel, mode="abort", confirm=confirm) as session:
        return session.apply("", False, approve)


REFRESHING = frozenset(
    ("shadow_load", "shadow_sync", "shadow_verify", "swap_tables", "swap_back", "drop_backup_set", "adopt_backup_set")
)
"""The kinds that work on shadow tables and backup sets."""


def refresh_connections(plan: Plan) -> tuple[str, ...]:
    """Return the connections that the plan's steps refresh, "" for PG*; nothing when it has no such step."""
    every = _flat((*plan.steps, *plan.rollback))
    names = [step.values.get("connection") for step in every if step.kind in REFRESHING]
    default = Connections(plan.connections, {}).default()
    return tuple(dict.fromkeys(name if name in plan.connections else default for name in names))


def _flat(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _flat(step.steps)


# ------------------------------------------------------------------ where the journal is


def changes_database(steps: Sequence[Step]) -> bool:
    """Say whether any step may change the database, so that its journal belongs there."""
    return any(
        changes_database(step.steps) or (step.kind and getattr(KINDS[step.kind], "CHANGES", False)) for step in steps
    )


def uses_database(steps: Sequence[Step]) -> bool:
    """Say whether any step has a connection at all."""
    return any(uses_database(step.steps) or (step.kind and _has_connection(step.kind)) for step in steps)


def _has_connection(kind: str) -> bool:
    return any(one.metadata.get("connection") for one in fields(KINDS[kind].Params))


def open_journal(plan: Plan, connections: Connections, env: Mapping[str, str]) -> Journal:
    """Return the journal that the plan names, else the database's if a step changes it, else a local file."""
    chosen = plan.journal or ("database" if changes_database((*plan.steps, *plan.rollback)) else "file")
    if chosen == "database":
        return DatabaseJournal(connections, connections.default())
    if chosen == "file":
        return FileJournal(journal.state_folder(env) / f"{plan.name}-{_place_digest(plan)}.jsonl")
    return FileJournal(plan.folder / chosen)


def _place_digest(plan: Plan) -> str:
    """Two plans of one name in different folders keep their runs apart."""
    return hashlib.sha256(str(Path(plan.file).resolve()).encode()).hexdigest()[:8]


# ------------------------------------------------------------------ one session of work


def new_run_id(now: datetime | None = None) -> str:
    """Return a run id that sorts by time: 20250720T122655Z-3f9a."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@dataclass
class _Session:
    plan: Plan
    steps: Sequence[Step]
    mode: str
    run: str
    env: Mapping[str, str]
    connections: Connections
    world: LiveWorld
    journal: Journal
    cancel: Cancel
    listen: Tell
    ask: Ask
    redactor: Redactor

    def diff(self, earlier: RunRecord | None = None) -> RunResult:
        """What is left to do: the steps that an earlier attempt recorded as done come as they were."""
        began = time.monotonic()
        if uses_database(self.steps):
            self.world.server()  # a diff that met no database says so, also where no step needs a look at it
        self.listen(self._began("diff"))
        recorded = earlier.recorded() if earlier else {}
        started = self._started(earlier)
        turns = engine.walk(self.plan, self.steps, self.world, self.world.sql, recorded, started=started)
        done = engine.drive(turns, engine.would(self.world), self.listen)
        result = self._result("diff", done, began)
        self.listen(_ended(result))
        return result

    def apply(
        self, until: str, resume: bool, approve: Callable[[RunResult], bool] | None, *, keep_going: bool = False
    ) -> RunResult:
        self._known_step(until)
        with self._locked() as lock:
            earlier = self._earlier(resume, lock)
            if approve is not None:
                shown = self.diff(earlier)
                self.cancel.check()  # interrupted while it looked: nothing has begun
                if not approve(shown):
                    return self._declined()
            return self._act(until, earlier, lock, keep_going=keep_going)

    def _declined(self) -> RunResult:
        return RunResult(
            run=self.run, plan=self.plan.name, mode=self.mode, state="declined", exit_code=1, seconds=0.0,
            steps=(), counts={}, something_to_do=True,
        )  # fmt: skip

    def _known_step(self, until: str) -> None:
        known = list(_paths(self.steps))
        if until and until not in known:
            raise UsageError(f"--until {until}: the plan has no such step", hint=nearest(until, known))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[RunLock | None]:
        if not uses_database(self.steps):
            yield None
            return
        lock = RunLock(self.connections, self.connections.default(), self.plan.name)
        try:
            yield lock
        finally:
            lock.close()

    def _earlier(self, resume: bool, lock: RunLock | None) -> RunRecord | None:
        if not resume:
            return None
        found = journal.last_unfinished(self.journal.records(), self.plan.name, mode=self.mode)
        if found is None:
            raise UsageError("there is no unfinished run to resume", hint="planrun status PLAN shows the last one")
        if found.digest != self.plan.digest:
            raise PlanError(
                Problem(
                    Mark(self.plan.file, 1, 1),
                    f"the plan, a template or a parameter changed since run {found.id} began",
                    "put it back as it was to resume, or begin anew: planrun apply",
                )
            )
        if lost := found.not_kept():
            raise PlanrunError(
                f"what {', '.join(lost)} gave had a secret in it, which the journal does not keep, and later steps "
                f"rest on it: run {found.id} cannot be resumed",
                hint=f"begin anew: planrun apply {self.plan.file}",
            )
        journal.settle(found, self.connections)
        self.run = self.world.run = found.id
        self.connections.name_as(application_name(found.id))
        if lock is not None:
            lock.name_as(application_name(found.id))
        return found

    def _act(self, until: str, earlier: RunRecord | None, lock: RunLock | None, *, keep_going: bool) -> RunResult:
        began = time.monotonic()
        if isinstance(self.journal, DatabaseJournal):
            self.journal.prepare()

        def tell(event: Event) -> None:
            if lock is not None:
                _guarded(lock, event)
            shown = _shown(self.redactor, event)
            self.journal.tell(self.run, shown)
            self.listen(shown)

        started = self._started(earlier)
        tell(replace(self._began("resume" if earlier else self.mode), started=started))
        hands = RealHands(
            self.plan, self.connections, self.journal, self.run, ask=self.ask, tell=self.listen, env=self.env
        )
        recorded = earlier.recorded() if earlier else {}
        actions = earlier.actions if earlier else {}
        turns = engine.walk(self.plan, self.steps, self.world, self.world.sql, recorded, run=self.run, started=started)
        with contextlib.closing(hands):
            done = engine.drive(
                turns, engine.acting(hands, tell, self.cancel, actions, keep_going=keep_going), tell, until=until
            )
        result = self._result(self.mode, done, began)
        tell(_ended(result))
        return result

    def _started(self, earlier: RunRecord | None) -> str:
        return (earlier.started if earlier else "") or self.world.started.isoformat()

    def _began(self, mode: str) -> RunBegan:
        return RunBegan(
            run=self.run, plan=self.plan.name, file=self.plan.file, mode=mode, digest=self.plan.digest,
            total=len(self.steps), host=socket.gethostname(), pid=os.getpid(), user=_user(), version=__version__,
        )  # fmt: skip

    def _result(self, mode: str, done: engine.Drive, began: float) -> RunResult:
        error = self.cancel.reason if isinstance(self.cancel.reason, Interrupted) else done.error
        state = "ok"
        if isinstance(error, Interrupted):
            state = "interrupted"
        elif done.failed:
            state = "failed"
        elif done.paused:
            state = "paused"
        code = 0 if state in ("ok", "paused") else (error.exit_code if error else 1)
        result = RunResult(
            run=self.run, plan=self.plan.name, mode=mode, state=state, exit_code=code,
            seconds=time.monotonic() - began, steps=step_results(done), counts=done.counts,
            something_to_do=done.something_to_do, error=error, next=self._next(mode, state, error), of=self.mode,
        )  # fmt: skip
        return self.redactor.of(result)

    def _next(self, mode: str, state: str, error: PlanrunError | None) -> str:
        if mode != "apply" or state == "ok":
            return ""
        if isinstance(error, StaleError | VerifyError):
            return f"planrun apply {self.plan.file}"
        return f"planrun apply {self.plan.file} --resume"


def _shown(redactor: Redactor, event: Event) -> Event:
    """Return the event as it may be told; one whose result lost a secret says so, as a resume cannot use it."""
    shown = redactor.of(event)
    if isinstance(event, ActionDone) and isinstance(shown, ActionDone):
        return replace(shown, hidden=shown.result is not event.result)
    if isinstance(event, OutcomeTold) and isinstance(shown, OutcomeTold):
        return replace(shown, hidden=shown.outcome.outputs is not event.outcome.outputs)
    return shown


def _guarded(lock: RunLock, event: Event) -> None:
    if isinstance(event, TurnTold) and event.turn.settled is None:
        lock.check()


def _paths(steps: Sequence[Step], prefix: str = "") -> Iterator[str]:
    for step in steps:
        yield prefix + step.id
        yield from _paths(step.steps, f"{prefix}{step.id}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under an id that has no name
        return str(os.getuid())


def _ended(result: RunResult) -> RunEnded:
    message = result.error.message if result.error else ""
    return RunEnded(
        run=result.run, state=result.state, exit_code=result.exit_code, seconds=round(result.seconds, 3),
        message=message, next=result.next, counts=result.counts,
    )  # fmt: skip


@contextlib.contextmanager
def _session(
    plan: Plan,
    env: Mapping[str, str] | None,
    on_event: Tell | None,
    cancel: Cancel | None,
    *,
    mode: str,
    confirm: Ask | None = None,
) -> Iterator[_Session]:
    chosen = os.environ if env is None else env
    cancel = cancel or Cancel()
    run = new_run_id()
    connections = Connections(plan.connections, chosen, application=application_name(run), cancel=cancel)
    world = LiveWorld(plan, connections, templates_of(plan.root), run=run)
    book = open_journal(plan, connections, chosen)
    redactor = Redactor(plan.env, chosen)
    steps = plan.rollback if mode == "rollback" else plan.steps

    one_by_one = threading.RLock()

    def listen(event: Event) -> None:
        if on_event:
            with one_by_one:  # a program's output and its messages come from two threads, branches from more
                on_event(redactor.of(event))

    def ask(question: Confirm) -> bool:
        return confirm is not None and confirm(replace(question, message=redactor.text(question.message)))

    try:
        yield _Session(plan, steps, mode, run, chosen, connections, world, book, cancel, listen, ask, redactor)
    except PlanrunError as exc:
        redactor.error(exc)
        raise
    finally:
        world.close()
        book.close()
