"""One attempt at a plan: its lock, its journal, what it resumes, its diff or its run, and its end."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from runner import __version__, engine
from runner.board import Board
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
from runner.events import (
    AtWork,
    Emit,
    Event,
    Retrying,
    RunBegan,
    StepEnded,
    StepPlanned,
    WaitEnded,
    Waiting,
)
from runner.fates import with_details
from runner.guard import nearest
from runner.impact import StepImpact
from runner.journal import history
from runner.journal.database import DatabaseJournal
from runner.journal.history import RunRecord
from runner.journal.records import Journal
from runner.kinds import KINDS
from runner.model import HOOKS, Confirm, Outcome, Plan, Result, State, Step
from runner.planfile import proofs, prove, templates_of
from runner.protection.verdicts import Verdict
from runner.redact import Redactor, secrets_of
from runner.report import results
from runner.result import RunResult, StepResult, step_results
from runner.run import after_run, fingerprint, resumption, saving
from runner.run.catalog_reader import LiveCatalogReader
from runner.run.fingerprint import Fingerprint
from runner.run.journal_place import open_journal, uses_database
from runner.run.notes import EVERY as NOTE_EVERY
from runner.run.notes import take_notes
from runner.run.run_events import end_event, without_secrets
from runner.run.saved_plan import SavedPlan, digests
from runner.run.step_times import StepTime, step_times
from runner.words import one_line, typeable

if TYPE_CHECKING:
    from runner.notify.notifier import Notifier
    from runner.run.executor import Ask, Executor, OpenConsole
    from runner.run.rehearsal_limits import RehearsalLimits

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

    wrap: receives the executor of the run and returns the one that the engine uses. refused: why a hook may not run, by
    path. notifier: tells the recipients of the plan. note_every: seconds between two notes in the journal about the
    step at work.
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
    refused: Mapping[str, PlanrunError] = field(default_factory=dict)
    notifier: Notifier | None = None
    note_every: float = NOTE_EVERY
    _done: engine.Drive | None = None
    _hooks_done: tuple[engine.Drive, ...] = ()
    _acting: bool = False
    approved: engine.Approved | None = None

    def diff_of_apply(self, until: str = "", resume: bool = False, accept: str = "") -> RunResult:
        """Return what an apply with these options would do now. Raises what `apply` raises for them."""
        return self.diff(self._earlier(resume, accept, None), until)

    def diff(self, earlier: RunRecord | None = None, until: str = "") -> RunResult:
        """Return the diff of what is left to do; steps that an earlier attempt finished keep their results."""
        until = self._stop(until)
        began = time.monotonic()
        if self._uses_database():
            self._meet_database()
        self.listen(self.began("diff"))
        planned_steps = self._walk(earlier, hooks_only=after_run.has_only_hooks_left(earlier))
        done = engine.drive(
            planned_steps, engine.diff_answer(self.reader), self.listen, until=until, plan=self.quoted_file
        )
        self._done, self._hooks_done = done, after_run.diff_hooks(self, done)
        result = self._result("diff", done, began)
        self.listen(end_event(result))
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
        return after_run.tell(self, lambda: self._apply(until, resume, accept, approve, keep_going=keep_going))

    def _apply(
        self,
        until: str,
        resume: bool,
        accept: str,
        approve: Callable[[RunResult], bool] | None,
        *,
        keep_going: bool,
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
                self.approved = _fates(self._done, *self._hooks_done) if self._done else None
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
            approved=_fates(self._done, *self._hooks_done),
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
        return after_run.tell(self, lambda: self._apply_saved(saved, file, approve, keep_going=keep_going))

    def _apply_saved(
        self, saved: SavedPlan, file: str, approve: Callable[[RunResult], bool] | None, *, keep_going: bool
    ) -> RunResult:
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
            self.approved = saved.approved
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
        default = (self.connections.default(),) if self._uses_database() else ()
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
        if not self._uses_database():
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
        if found.hooks is not None:
            resumption.settle(found.hooks, self.connections)
        self.listen(replace(resumption.describe(found, set(_paths(self.steps))), databases=self.database_lines()))
        self.run = self.reader.run = found.id
        self.connections.name_as(application_name(found.id))
        if lock is not None:
            lock.name_as(application_name(found.id))
        return found

    def _act(self, until: str, earlier: RunRecord | None, lock: RunLock | None, *, keep_going: bool) -> RunResult:
        began = time.monotonic()
        if isinstance(self.journal, DatabaseJournal):
            self.journal.prepare()
        outcomes: dict[str, Outcome] = {}

        board = Board()

        def tell(event: Event) -> None:
            board.take(event)
            self.tell(event)

        def note(at_work: AtWork) -> None:
            self.journal.note(self.run, self.redactor.of(at_work))

        def emit(event: Event) -> None:
            if lock is not None:
                _check_lock(lock, event)
            board.take(event)
            shown = without_secrets(self.redactor, self._with_details(event))
            self.journal.write(self.run, shown)
            self.show(shown)
            if isinstance(event, StepEnded):
                outcomes[event.outcome.path] = event.outcome

        if earlier is not None and earlier.is_cut_off_in_hooks:
            finished = after_run.finish_hooks(self, earlier, lock, began)
            if finished is not None:
                return finished
        started, mode = self.start_time(earlier), "resume" if earlier else self.mode
        content, servers = self.plan.content, self._server_versions()
        emit(replace(self.began(mode), started=started, content=content, servers=servers))
        self._acting = True
        executor = self.executor(self.connections, tell)
        answer = engine.apply_answer(
            self.wrap(executor), emit, self.cancel, _results_of_unfinished_steps(earlier), keep_going=keep_going
        )
        try:
            with contextlib.closing(executor), take_notes(board, note, self.note_every):
                done = engine.drive(self._walk(earlier, run=self.run), answer, emit, until=until, plan=self.quoted_file)
        except PlanrunError as exc:  # such as a lost lock: the run ends here, and its hooks follow all the same
            after_run.run_hooks(self, after_run.end_of_error(self, exc, outcomes, began), outcomes, lock, started)
            raise
        result = self._result(self.mode, done, began)
        end = after_run.end_of(result, done, self.mode, self.plan)
        result = after_run.with_hooks(self, result, after_run.run_hooks(self, end, outcomes, lock, started))
        emit(end_event(result, done.failed_step))
        return result

    def show(self, shown: Event) -> None:
        """Give an event of the run to whoever listens, and to the recipients of the plan."""
        self.listen(replace(shown, content={}) if isinstance(shown, RunBegan) else shown)
        if self.notifier is not None:
            self.notifier.event(shown)

    def executor(self, connections: Connections, emit: Emit) -> Executor:
        from runner.run.executor import Executor

        return Executor(
            self.plan,
            connections,
            self.journal,
            self.run,
            ask=self.ask,
            emit=emit,
            env=self.env,
            redactor=self.redactor,
            open_console=self.open_console,
            limits=self.limits,
        )

    def _uses_database(self) -> bool:
        return uses_database((*self.steps, *self.plan.hooks.steps))

    def tell(self, event: Event) -> None:
        """Send what a hand tells of its work; during a run, the journal keeps who waited for whom and for how long."""
        if self._acting and isinstance(event, Waiting | WaitEnded | Retrying):
            with contextlib.suppress(PlanrunError):  # it only tells; what depends on the journal fails by itself
                self.journal.write(self.run, self.redactor.of(event))
        self.listen(event)

    def _with_details(self, event: Event) -> Event:
        """Return the event of a planned step with what the approved diff told of its objects."""
        if not isinstance(event, StepPlanned) or event.planned.settled or self._done is None:
            return event
        shown = self._done.planned_steps.get(event.planned.path)
        preview = with_details(event.planned.preview, shown.preview if shown else None)
        return replace(event, planned=replace(event.planned, preview=preview))

    def _server_versions(self) -> dict[str, str]:
        """Return the version of PostgreSQL on each server that is connected already, by connection."""
        if not uses_database(self.steps):
            return {}
        with contextlib.suppress(PlanrunError):  # a report says then that it is not known
            return {name: self.reader.version(name) for name in self._servers()}
        return {}

    @property
    def quoted_file(self) -> str:
        return shlex.quote(self.plan.file)

    def _walk(self, earlier: RunRecord | None, *, run: str = "", hooks_only: bool = False) -> engine.Walk:
        steps = () if hooks_only else self.steps
        return engine.walk(
            self.plan, steps, self.reader, self.reader.sql, earlier.recorded_outcomes() if earlier else {},
            run=run, started=self.start_time(earlier), altered=earlier is not None and earlier.altered,
            approved=self.approved,
        )  # fmt: skip

    def start_time(self, earlier: RunRecord | None) -> str:
        return (earlier.started if earlier else "") or self.reader.start_time.isoformat()

    def began(self, mode: str) -> RunBegan:
        return RunBegan(
            run=self.run, plan=self.plan.name, file=self.plan.file, mode=mode, digest=self.plan.digest,
            total=len(self.steps), host=socket.gethostname(), pid=os.getpid(), user=_user(), version=__version__,
            sets=self.plan.sets, options=self.options, databases=self.database_lines(),
        )  # fmt: skip

    def database_lines(self) -> tuple[str, ...]:
        return self.connections.lines() if self.plan.connections or self._uses_database() else ()

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
            databases=self.database_lines(), way_back=self.way_back(), file=self.plan.file,
            sets=self.plan.sets,
        )  # fmt: skip
        if mode == "diff":
            after = tuple(step for drive in self._hooks_done for step in step_results(drive))
            steps, after = tuple(map(self._with_chain, result.steps)), tuple(map(self._with_chain, after))
            told = self.notifier.lines() if self.notifier else ()
            result = self._with_impact(replace(result, steps=steps, hooks=after, told=told))
        return self.redactor.of(result)

    def _with_impact(self, result: RunResult) -> RunResult:
        """Return the diff with what each step would lock, and how long it took before."""
        from runner.run import lock_impact  # with the parser's trees, which a run does not need

        found = lock_impact.of_diff(
            (*result.steps, *result.hooks),
            self.reader,
            lambda name: self.reader.server(name).major,
            is_secret=self.redactor.holds,
        )
        times = step_times(self.journal, self.reader, self.plan.name, self.mode) if found.steps else {}

        def all_with_impact(steps: Sequence[StepResult]) -> tuple[StepResult, ...]:
            return tuple(_with_impact(step, found.steps.get(step.path), times.get(step.path)) for step in steps)

        after = all_with_impact(result.hooks)
        return replace(result, steps=all_with_impact(result.steps), hooks=after, surroundings=found.lines)

    def _with_chain(self, step: StepResult) -> StepResult:
        return replace(step, protection=self.chains.get(re.sub(r"\[\d+\]", "", step.path), ""))

    def way_back(self) -> str:
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


def _fates(*done: engine.Drive) -> engine.Approved:
    """Return the fates of the objects in a diff, by step; a step without any is left out."""
    told = ((path, planned.preview) for one in done for path, planned in one.planned_steps.items())
    return {path: preview.objects for path, preview in told if preview is not None}


def _results_of_unfinished_steps(earlier: RunRecord | None) -> dict[tuple[str, str], Result]:
    """Return the results of finished actions of unfinished steps."""
    if earlier is None:
        return {}
    done = earlier.recorded_outcomes()
    return {at: result for at, result in earlier.actions.items() if at[0] not in done}


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


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in params.items() if isinstance(value, str)}


def _options(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the command line options that have become part of the steps."""
    said = any(isinstance(step.values, Mapping) and step.values.get("accept_data_loss") for step in steps)
    return ("--accept-data-loss",) if said else ()


def _chains(plan: Plan) -> dict[str, str]:
    """Return how the steps of an apply are protected, by path. Raises PlanError if one can run without it."""
    return {one.path: one.chain for one in prove(plan) if one.verdict is Verdict.PROTECTED and not one.of_rollback}


def _problems_of_hooks(plan: Plan) -> dict[str, PlanrunError]:
    """Return the hooks that may not run, by path: the proof of an apply does not stop a rollback, but its hooks."""
    found = proofs(plan) if plan.hooks.steps else ()
    return {one.path: PlanError(one.problem) for one in found if one.problem and one.path.startswith(_HOOK_PATHS)}


_HOOK_PATHS = tuple(f"{name}." for name in HOOKS)


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
    report: str = "",
) -> Iterator[PlanRun]:
    """Yield an attempt at a plan, with connections and journal open; its errors contain no secrets.

    limits: of a rehearsal. reader: makes what steps look through. report: where a report of the run will be, a path or
    a link, which recipients are told.
    """
    chosen = os.environ if env is None else env
    cancel = cancel or Cancel()
    run = new_run_id()
    connections = Connections(plan.connections, chosen, application=application_name(run), cancel=cancel)
    book = open_journal(plan, connections, chosen)
    redactor = Redactor({**_texts(plan.params), **plan.env}, chosen)
    redactor.learn(*secrets_of(plan.notify))
    connections.learn = redactor.learn
    connections.refuse_unused()
    notifier = None
    if plan.notify:
        from runner.notify.notifier import Notifier

        notifier = Notifier(plan, redactor, run=run, mode=mode, report=report, databases=connections.lines)
    steps = plan.rollback if mode == "rollback" else plan.steps

    one_by_one = threading.RLock()

    def listen(event: Event) -> None:
        if on_event:
            with one_by_one:  # a program's output and its messages come from two threads, branches from more
                on_event(redactor.of(event))

    def ask(question: Confirm) -> bool:
        return confirm is not None and confirm(replace(question, message=redactor.text(question.message)))

    one: PlanRun | None = None

    def tell(event: Event) -> None:
        (one.tell if one else listen)(event)

    def waits(connection: str, what: str) -> None:
        tell(Waiting(connection=connection, message=what))

    def ended(connection: str, seconds: float) -> None:
        tell(WaitEnded(connection=connection, seconds=round(seconds, 3)))

    looking = reader(plan, connections, templates_of(plan.root), run=run, emit=waits, ended=ended, limits=limits)
    try:
        one = PlanRun(
            plan, steps, mode, run, chosen, connections, looking, book, cancel, listen, ask, redactor,
            _options(steps), open_console, _chains(plan) if mode == "apply" else {}, wrap, limits,
            _problems_of_hooks(plan) if mode == "rollback" else {}, notifier,
        )  # fmt: skip
        yield one
    except PlanrunError as exc:
        exc.hint = typeable(exc.hint, shlex.quote(plan.file))
        redactor.error(exc)
        raise
    finally:
        looking.close()
        book.close()
