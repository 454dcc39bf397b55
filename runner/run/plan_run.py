"""One attempt at a plan: its lock, its journal, what it resumes, its diff or its run, and its end."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import re
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import __version__, engine
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.database.run_lock import RunLock, application_name, refuse_transaction_pooling
from runner.errors import (
    Interrupted,
    PlanError,
    PlanrunError,
    RefusedError,
    StaleError,
    TargetError,
    UnknownStateError,
    UsageError,
    VerifyError,
)
from runner.events import ActionDone, Emit, Event, RunBegan, RunEnded, StepEnded, StepPlanned, Waiting
from runner.guard import nearest
from runner.impact import StepImpact
from runner.journal import history
from runner.journal.database import DatabaseJournal
from runner.journal.file import FileJournal, state_folder
from runner.journal.history import RunRecord
from runner.journal.records import Journal
from runner.kinds import KINDS
from runner.kinds.base import word
from runner.model import Confirm, Plan, Result, State, Step
from runner.planfile import prove, templates_of
from runner.protection.verdicts import Verdict
from runner.redact import Redactor
from runner.report import results
from runner.result import RunResult, StepResult, step_results
from runner.run import fingerprint, resumption, saving
from runner.run.catalog_reader import LiveCatalogReader
from runner.run.fingerprint import Fingerprint
from runner.run.saved_plan import SavedPlan, digests
from runner.run.step_times import StepTime, step_times
from runner.words import one_line, typeable

if TYPE_CHECKING:
    from runner.run.executor import Ask, OpenConsole
    from runner.run.rehearsal_limits import RehearsalLimits

# ------------------------------------------------------------------ where the journal is


def changes_database(steps: Sequence[Step]) -> bool:
    """Return whether any step may change the database, so that the journal belongs there."""
    return any(
        changes_database(step.steps) or (step.kind and getattr(KINDS[step.kind], "CHANGES", False)) for step in steps
    )


def uses_database(steps: Sequence[Step]) -> bool:
    """Return whether any step has a connection at all."""
    return any(uses_database(step.steps) or (step.kind and _has_connection(step)) for step in steps)


def _has_connection(step: Step) -> bool:
    return any(
        one.metadata["connection"] != "named" or step.values.get(word(one))
        for one in fields(KINDS[step.kind].Params)
        if one.metadata.get("connection")
    )


def open_journal(plan: Plan, connections: Connections, env: Mapping[str, str]) -> Journal:
    """Return the journal that the plan names; otherwise the database's if a step changes it, else a local file."""
    chosen = plan.journal or ("database" if changes_database((*plan.steps, *plan.rollback)) else "file")
    if chosen == "database":
        return DatabaseJournal(connections, connections.default())
    if chosen == "file":
        safe = re.sub(r"[^\w.-]", "_", plan.name)  # a plan must not name a file elsewhere
        return FileJournal(state_folder(env) / f"{safe}-{_place_digest(plan)}.jsonl")
    return FileJournal(plan.folder / chosen)


def _place_digest(plan: Plan) -> str:
    """Return a digest of the folder, which separates the runs of plans with the same name in different folders."""
    return hashlib.sha256(str(Path(plan.file).resolve()).encode()).hexdigest()[:8]


# ------------------------------------------------------------------ the attempt


def new_run_id(now: datetime | None = None) -> str:
    """Return a run id that sorts by time: 20250720T122655Z-3f9a."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


_THOUGHT = 1.0
"""Seconds; if a person takes longer to answer, planrun checks again that nothing has changed meanwhile."""


Wrap = Callable[[engine.Executor], engine.Executor]


def as_it_is(executor: engine.Executor) -> engine.Executor:
    """Return the executor that performs everything."""
    return executor


@dataclass
class PlanRun:
    """The parts of a diff or run; `steps` are those of the plan or of its rollback.

    wrap: receives the executor of the run and returns the one that the engine uses.
    """

    plan: Plan
    steps: Sequence[Step]
    mode: str
    run: str
    env: Mapping[str, str]
    connections: Connections
    reader: LiveCatalogReader
    journal: Journal
    cancel: Cancel
    listen: Emit
    ask: Ask
    redactor: Redactor
    options: tuple[str, ...] = ()
    open_console: OpenConsole = contextlib.nullcontext
    chains: Mapping[str, str] = field(default_factory=dict)
    wrap: Wrap = as_it_is
    limits: RehearsalLimits | None = None
    _done: engine.Drive | None = None
    _approved: engine.Approved | None = None

    def diff_of_apply(self, until: str = "", resume: bool = False, accept: str = "") -> RunResult:
        """Return what an apply with these options would do now. Raises what `apply` raises for them."""
        return self.diff(self._earlier(resume, accept, None), until)

    def diff(self, earlier: RunRecord | None = None, until: str = "") -> RunResult:
        """Return the diff of what is left to do; steps that an earlier attempt finished keep their results."""
        until = self._stop(until)
        began = time.monotonic()
        if uses_database(self.steps):
            self._meet_database()
        self.listen(self._began("diff"))
        planned_steps = self._walk(earlier)
        done = engine.drive(planned_steps, engine.diff_answer(self.reader), self.listen, until=until, plan=self._file)
        self._done = done
        result = self._result("diff", done, began)
        self.listen(_end_event(result))
        return result

    def apply(
        self,
        until: str = "",
        resume: bool = False,
        accept: str = "",
        approve: Callable[[RunResult], bool] | None = None,
        *,
        keep_going: bool = False,
    ) -> RunResult:
        until = self._stop(until)
        self.options = ("--until", until) if until else self.options
        with self._lock_plan() as lock:
            earlier = self._earlier(resume, accept, lock)
            if approve is not None:
                shown = self.diff(earlier, until)
                self.cancel.check()  # interrupted while it made the diff: nothing has begun
                if isinstance(shown.error, RefusedError):  # otherwise the work of all steps before it would be wasted
                    return replace(shown, mode=self.mode, state="refused", next=self.plan.command("diff"))
                if not approve(shown):
                    return self._decline()
                self._approved = _fates(self._done) if self._done else None
            return self._act(until, earlier, lock, keep_going=keep_going)

    def save(self, until: str = "", resume: bool = False, accept: str = "") -> tuple[RunResult, SavedPlan | None]:
        """Return the diff and the saved plan; None if a step of the diff fails."""
        saving.refuse_secret_sets(self.plan, self.redactor)
        earlier = self._earlier(resume, accept, None)
        result = self.diff(earlier, until)
        if result.exit_code or self._done is None:
            return result, None
        saved = SavedPlan(
            version=__version__,
            saved=self.reader.start_time.isoformat(timespec="seconds"),
            plan=self.plan.name,
            file=self.plan.file,
            sets=self.plan.sets,
            digest=self.plan.digest,
            content=digests(self.redactor.of(self.plan.content)),
            until=until,
            resume=earlier.id if earlier else "",
            accept=accept,
            last=self._last_run()[0],
            databases=result.databases,
            servers={name: fingerprint.identity(self.reader, name) for name in self._servers()},
            approved=_fates(self._done),
            fingerprint=fingerprint.to_json(self._fingerprint(self._done)),
            pages=saving.pages(result),
            diff=results.as_json(result, verbose=True),
        )
        return result, self.redactor.of(saved)

    def apply_saved(
        self,
        saved: SavedPlan,
        file: str,
        approve: Callable[[RunResult], bool] | None = None,
        *,
        keep_going: bool = False,
    ) -> RunResult:
        """Run a saved diff under the lock of the run. Raises StaleError with everything that has changed since."""
        until = self._stop(saved.until)
        self.options = ("--until", until) if until else self.options
        with self._lock_plan() as lock:
            self._refuse_another_run(saved, file)
            earlier = self._earlier(bool(saved.resume), saved.accept, lock)
            shown = self._refuse_stale(saved, file, earlier)
            began = time.monotonic()
            if approve is not None and not approve(shown):
                return self._decline()
            if time.monotonic() - began > _THOUGHT:
                self._refuse_stale(saved, file, earlier)
            self._approved = saved.approved
            return self._act(until, earlier, lock, keep_going=keep_going)

    def _refuse_another_run(self, saved: SavedPlan, file: str) -> None:
        """Raise StaleError if the plan has been run since: a saved diff can be applied once."""
        last, run = self._last_run()
        if last == saved.last or run is None:
            return
        anew = saving.diff_again(saved, file)
        unfinished = run.is_unfinished and run.mode == "apply"
        raise StaleError(
            f"{file} is stale: run {run.id} of this plan has begun since the diff ({run.state})",
            hint=f"continue it: {self.plan.again('apply', run.options)}" if unfinished else f"save it again: {anew}",
            code="PR0508",
        )

    def _refuse_stale(self, saved: SavedPlan, file: str, earlier: RunRecord | None) -> RunResult:
        """Return the current diff. Raises StaleError if something that the saved one depends on has changed."""
        changed = [
            *saving.other_plan(saved, self.plan, self.redactor),
            *saving.other_servers(saved, partial(fingerprint.identity, self.reader)),
        ]
        if not changed:
            shown = self.diff(earlier, saved.until)
            self.cancel.check()
            changed += saving.other_places(saved, shown.databases)
            if self._done is not None:
                then = fingerprint.from_json(saved.fingerprint)
                changed += fingerprint.differences(then, self._fingerprint(self._done, then))
            if shown.error is not None:
                changed.append(f"the diff fails now: {shown.error.message}")
            if not changed:
                return shown
        lines = "".join(f"\n  {one_line(one)}" for one in dict.fromkeys(changed))
        hint = f"nothing was done; save it again: {saving.diff_again(saved, file)}"
        raise StaleError(f"{file} is stale: something that it depends on has changed:{lines}", hint=hint, code="PR0508")

    def _fingerprint(self, done: engine.Drive, then: Fingerprint | None = None) -> Fingerprint:
        return fingerprint.take(done, self.reader, self.redactor, self.connections.default(), then=then)

    def _last_run(self) -> tuple[str, RunRecord | None]:
        """Return the newest run of the plan, and a text that changes whenever one begins."""
        runs = [run for run in history.fold(self.journal.records(brief=True), brief=True) if run.plan == self.plan.name]
        return (f"{runs[-1].id}/{runs[-1].attempts}", runs[-1]) if runs else ("", None)

    def _servers(self) -> tuple[str, ...]:
        default = (self.connections.default(),) if uses_database(self.steps) else ()
        return tuple(dict.fromkeys((*default, *self.reader.connections_in_use)))

    def _decline(self) -> RunResult:
        return RunResult(
            run=self.run, plan=self.plan.name, mode=self.mode, state="declined", exit_code=1, seconds=0.0,
            steps=(), counts={}, something_to_do=True,
        )  # fmt: skip

    def _meet_database(self) -> None:
        """Raise TargetError if the database cannot be reached, even if no step reads it, or if a run could not take its
        lock."""
        name = self.connections.default()
        refuse_transaction_pooling(self.connections, name, self.reader.connection(name))

    def _stop(self, until: str) -> str:
        """Return the step to stop after, "" if it is the last one. Raises UsageError if it does not exist."""
        known = list(_paths(self.steps))
        if until and until not in known:
            raise UsageError(f"--until {until}: the plan has no such step", hint=nearest(until, known), code="PR0602")
        return "" if until in _last(self.steps) else until

    @contextlib.contextmanager
    def _lock_plan(self) -> Iterator[RunLock | None]:
        if not uses_database(self.steps):
            yield None
            return
        lock = RunLock(self.connections, self.connections.default(), self.plan.name)
        try:
            yield lock
        finally:
            lock.close()

    def _earlier(self, resume: bool, accept: str, lock: RunLock | None) -> RunRecord | None:
        """Return the run to resume, and emit what is known of it; None if a new run begins."""
        if not resume:
            if accept:
                raise UsageError(
                    "--accept confirms how a plan changed since its run began, so it needs --resume",
                    hint="give --resume too",
                    code="PR0504",
                )
            return None
        last = history.last_unfinished(self.journal.records(brief=True), self.plan.name)
        found = resumption.run_to_resume(last, self.plan)
        resumption.same_plan(found, self.plan, accept, self.redactor)
        resumption.settle(found, self.connections)
        self.listen(replace(resumption.describe(found, set(_paths(self.steps))), databases=self._databases()))
        self.run = self.reader.run = found.id
        self.connections.name_as(application_name(found.id))
        if lock is not None:
            lock.name_as(application_name(found.id))
        return found

    def _act(self, until: str, earlier: RunRecord | None, lock: RunLock | None, *, keep_going: bool) -> RunResult:
        began = time.monotonic()
        if isinstance(self.journal, DatabaseJournal):
            self.journal.prepare()

        def emit(event: Event) -> None:
            if lock is not None:
                _check_lock(lock, event)
            shown = _without_secrets(self.redactor, event)
            self.journal.write(self.run, shown)
            self.listen(replace(shown, content={}) if isinstance(shown, RunBegan) else shown)

        started = self._start_time(earlier)
        emit(replace(self._began("resume" if earlier else self.mode), started=started, content=self.plan.content))
        from runner.run.executor import Executor

        executor = Executor(
            self.plan,
            self.connections,
            self.journal,
            self.run,
            ask=self.ask,
            emit=self.listen,
            env=self.env,
            redactor=self.redactor,
            open_console=self.open_console,
            limits=self.limits,
        )
        answer = engine.apply_answer(
            self.wrap(executor), emit, self.cancel, _results_of_unfinished_steps(earlier), keep_going=keep_going
        )
        with contextlib.closing(executor):
            done = engine.drive(self._walk(earlier, run=self.run), answer, emit, until=until, plan=self._file)
        result = self._result(self.mode, done, began)
        emit(_end_event(result))
        return result

    @property
    def _file(self) -> str:
        return shlex.quote(self.plan.file)

    def _walk(self, earlier: RunRecord | None, *, run: str = "") -> engine.Walk:
        return engine.walk(
            self.plan, self.steps, self.reader, self.reader.sql, earlier.recorded_outcomes() if earlier else {},
            run=run, started=self._start_time(earlier), altered=earlier is not None and earlier.altered,
            approved=self._approved,
        )  # fmt: skip

    def _start_time(self, earlier: RunRecord | None) -> str:
        return (earlier.started if earlier else "") or self.reader.start_time.isoformat()

    def _began(self, mode: str) -> RunBegan:
        return RunBegan(
            run=self.run, plan=self.plan.name, file=self.plan.file, mode=mode, digest=self.plan.digest,
            total=len(self.steps), host=socket.gethostname(), pid=os.getpid(), user=_user(), version=__version__,
            sets=self.plan.sets, options=self.options, databases=self._databases(),
        )  # fmt: skip

    def _databases(self) -> tuple[str, ...]:
        return self.connections.lines() if self.plan.connections or uses_database(self.steps) else ()

    def _result(self, mode: str, done: engine.Drive, began: float) -> RunResult:
        error = self.cancel.reason if isinstance(self.cancel.reason, Interrupted) else done.error
        state = "ok"
        if isinstance(error, Interrupted):
            state = "interrupted"
        elif done.has_failed:
            state = "failed"
        elif done.paused:
            state = "paused"
        code = 0 if state in ("ok", "paused") else (error.exit_code if error else 1)
        result = RunResult(
            run=self.run, plan=self.plan.name, mode=mode, state=state, exit_code=code,
            seconds=time.monotonic() - began, steps=step_results(done), counts=done.counts,
            something_to_do=done.something_to_do, error=error, next=self._next(mode, state, error, done), of=self.mode,
            databases=self._databases(), way_back=self._way_back(), file=self.plan.file,
        )  # fmt: skip
        if mode == "diff":
            result = self._with_impact(replace(result, steps=tuple(map(self._with_chain, result.steps))))
        return self.redactor.of(result)

    def _with_impact(self, result: RunResult) -> RunResult:
        """Return the diff with what each step would lock, and how long it took before."""
        from runner.run import lock_impact  # with the parser's trees, which a run does not need

        found = lock_impact.of_diff(
            result.steps, self.reader, lambda name: self.reader.server(name).major, is_secret=self.redactor.holds
        )
        times = step_times(self.journal, self.reader, self.plan.name, self.mode) if found.steps else {}
        steps = tuple(_with_impact(step, found.steps.get(step.path), times.get(step.path)) for step in result.steps)
        return replace(result, steps=steps, surroundings=found.lines)

    def _with_chain(self, step: StepResult) -> StepResult:
        return replace(step, protection=self.chains.get(re.sub(r"\[\d+\]", "", step.path), ""))

    def _way_back(self) -> str:
        return self.plan.command("rollback") if self.plan.rollback and self.mode == "apply" else ""

    def _next(self, mode: str, state: str, error: PlanrunError | None, done: engine.Drive) -> str:
        if mode == "diff" or state == "ok":
            return ""
        refused = isinstance(error, TargetError) and not error.category
        if mode != "apply" and (refused or not isinstance(error, TargetError | UnknownStateError | Interrupted)):
            return ""  # the same command would be refused again; the hint says what to do
        if error is not None and error.exit_code == PlanError.exit_code:
            return ""  # the plan must be changed: the message says where
        anew = isinstance(error, StaleError | VerifyError) or (state != "paused" and any(_steps_that_expire(done)))
        return self.plan.again(mode, () if state == "paused" else self.options, anew=anew)


def _steps_that_expire(done: engine.Drive) -> Iterator[str]:
    """Yield the steps that ended well, and found what is no basis for another attempt."""
    for path, outcome in done.outcomes.items():
        expires = getattr(KINDS.get(done.planned_steps[path].step.kind), "expires", None)
        if expires and outcome.state is State.OK and expires(outcome.outputs):
            yield path


def _with_impact(step: StepResult, impact: StepImpact | None, took: StepTime | None) -> StepResult:
    if impact and took:
        impact = replace(impact, seconds=took.seconds, locked=took.locked)
    return replace(step, impact=impact)


def _fates(done: engine.Drive) -> engine.Approved:
    """Return the fates of the objects in a diff, by step; a step without any is left out."""
    told = ((path, planned.preview) for path, planned in done.planned_steps.items())
    return {path: preview.objects for path, preview in told if preview is not None}


def _results_of_unfinished_steps(earlier: RunRecord | None) -> dict[tuple[str, str], Result]:
    """Return the results of finished actions of unfinished steps."""
    if earlier is None:
        return {}
    done = earlier.recorded_outcomes()
    return {at: result for at, result in earlier.actions.items() if at[0] not in done}


def _without_secrets(redactor: Redactor, event: Event) -> Event:
    """Return the event without secrets; it is marked if its result lost one, because a resume cannot use it."""
    shown = redactor.of(event)
    if isinstance(event, ActionDone) and isinstance(shown, ActionDone):
        return replace(shown, hidden=shown.result is not event.result)
    if isinstance(event, StepEnded) and isinstance(shown, StepEnded):
        return replace(shown, hidden=shown.outcome.outputs is not event.outcome.outputs)
    return shown


def _check_lock(lock: RunLock, event: Event) -> None:
    if isinstance(event, StepPlanned) and event.planned.settled is None:
        lock.check()


def _paths(steps: Sequence[Step], prefix: str = "") -> Iterator[str]:
    for step in steps:
        yield prefix + step.id
        yield from _paths(step.steps, f"{prefix}{step.id}.")


def _last(steps: Sequence[Step], prefix: str = "") -> Iterator[str]:
    """Yield the path of the last step, and of the last one within it when it is a group."""
    for step in steps[-1:]:
        yield prefix + step.id
        yield from _last(step.steps, f"{prefix}{step.id}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return str(os.getuid())


def _end_event(result: RunResult) -> RunEnded:
    message = result.error.message if result.error else ""
    return RunEnded(
        run=result.run, state=result.state, exit_code=result.exit_code, seconds=round(result.seconds, 3),
        message=message, next=result.next, counts=result.counts,
    )  # fmt: skip


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in params.items() if isinstance(value, str)}


def _options(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the command line options that have become part of the steps."""
    said = any(isinstance(step.values, Mapping) and step.values.get("accept_data_loss") for step in steps)
    return ("--accept-data-loss",) if said else ()


def _chains(plan: Plan) -> dict[str, str]:
    """Return how the steps of an apply are protected, by path. Raises PlanError if one can run without it."""
    return {one.path: one.chain for one in prove(plan) if one.verdict is Verdict.PROTECTED and not one.of_rollback}


@contextlib.contextmanager
def open_run(
    plan: Plan,
    env: Mapping[str, str] | None,
    on_event: Emit | None,
    cancel: Cancel | None,
    *,
    mode: str,
    confirm: Ask | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
    wrap: Wrap = as_it_is,
    limits: RehearsalLimits | None = None,
    reader: Callable[..., LiveCatalogReader] = LiveCatalogReader,
) -> Iterator[PlanRun]:
    """Yield an attempt at a plan, with connections and journal open; its errors contain no secrets.

    limits: of a rehearsal. reader: makes what steps look through.
    """
    chosen = os.environ if env is None else env
    cancel = cancel or Cancel()
    run = new_run_id()
    connections = Connections(plan.connections, chosen, application=application_name(run), cancel=cancel)
    book = open_journal(plan, connections, chosen)
    redactor = Redactor({**_texts(plan.params), **plan.env}, chosen)
    connections.learn = redactor.learn
    connections.refuse_unused()
    steps = plan.rollback if mode == "rollback" else plan.steps

    one_by_one = threading.RLock()

    def listen(event: Event) -> None:
        if on_event:
            with one_by_one:  # a program's output and its messages come from two threads, branches from more
                on_event(redactor.of(event))

    def ask(question: Confirm) -> bool:
        return confirm is not None and confirm(replace(question, message=redactor.text(question.message)))

    def waits(connection: str, what: str) -> None:
        listen(Waiting(connection=connection, message=what))

    looking = reader(plan, connections, templates_of(plan.root), run=run, emit=waits, limits=limits)
    try:
        yield PlanRun(
            plan, steps, mode, run, chosen, connections, looking, book, cancel, listen, ask, redactor,
            _options(steps), open_console, _chains(plan) if mode == "apply" else {}, wrap, limits,
        )  # fmt: skip
    except PlanrunError as exc:
        exc.hint = typeable(exc.hint, shlex.quote(plan.file))
        redactor.error(exc)
        raise
    finally:
        looking.close()
        book.close()
