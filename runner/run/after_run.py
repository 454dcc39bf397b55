"""What follows when the steps of a run have ended: its hooks, and those who are told. Nothing here changes the run."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from runner import engine
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.database.run_lock import RunLock, application_name
from runner.errors import PlanrunError
from runner.events import Emit, Event, HooksBegan, Waiting, Warned
from runner.journal.history import RunRecord
from runner.journal.records import Journal
from runner.model import Outcome, Plan, PlannedStep, Result, State, Step
from runner.planfile import templates_of
from runner.result import RunResult, step_results
from runner.run import hooks
from runner.run.catalog_reader import LiveCatalogReader
from runner.run.journal_place import uses_database
from runner.run.run_events import end_event, without_secrets

if TYPE_CHECKING:
    from runner.run.plan_run import PlanRun


def diff_hooks(one: PlanRun, done: engine.Drive) -> tuple[engine.Drive, ...]:
    """Return what the hooks would do, as far as it is known before the run."""
    answer = engine.diff_answer(one.reader)
    return tuple(
        engine.drive(_walk_hooks(one, one.reader, steps, {}, block), answer, one.listen, plan=one.quoted_file)
        for steps, block in hooks.blocks_before_run(one.plan, changed=done.something_to_do)
    )


def _walk_hooks(
    one: PlanRun,
    reader: LiveCatalogReader,
    steps: Sequence[Step],
    recorded: Mapping[str, Outcome],
    block: engine.HookBlock,
    *,
    run: str = "",
    started: str = "",
) -> engine.Walk:
    return engine.walk(
        one.plan,
        steps,
        reader,
        reader.sql,
        recorded,
        run=run,
        started=started,
        approved=one.approved,
        hook=block,
    )


def run_hooks(
    one: PlanRun,
    end: HooksBegan,
    outcomes: Mapping[str, Outcome],
    lock: RunLock | None,
    started: str,
    earlier: RunRecord | None = None,
) -> hooks.HookRun | None:
    """Run the hooks that follow this end of the steps; None if there are none."""
    if not end.blocks:
        return None
    write = _Tolerant(one.journal, one.run)

    def emit(event: Event) -> None:
        shown = without_secrets(one.redactor, event)
        lost = write(shown) if earlier is None or not isinstance(event, HooksBegan) else None
        one.show(shown)
        if lost is not None:
            one.show(lost)

    @contextlib.contextmanager
    def open_hands(emit: Emit, cancel: Cancel, results: Mapping[tuple[str, str], Result]) -> Iterator[hooks.Hands]:
        connections = _fresh_connections(one, cancel)
        executor = one.executor(connections, one.listen)
        reader = LiveCatalogReader(
            one.plan, connections, templates_of(one.plan.root), run=one.run, emit=partial(_wait, one), limits=one.limits
        )

        def walk(steps: Sequence[Step], recorded: Mapping[str, Outcome], block: engine.HookBlock) -> engine.Walk:
            return _walk_hooks(one, reader, steps, recorded, block, run=one.run, started=started)

        with contextlib.closing(reader), contextlib.closing(executor):
            yield hooks.Hands(walk, engine.apply_answer(one.wrap(executor), emit, cancel, results))

    emit(end)
    found = hooks.HookRun(
        plan=one.plan, open_hands=open_hands, emit=emit, refuse=partial(_refuse_hook, one, lock), file=one.quoted_file
    )
    found.run(end, outcomes, one.cancel, earlier)
    return found


def _wait(one: PlanRun, connection: str, what: str) -> None:
    one.listen(Waiting(connection=connection, message=what))


def _fresh_connections(one: PlanRun, cancel: Cancel) -> Connections:
    """Return connections for hooks: those of the run may be lost, and know that it was cancelled."""
    made = Connections(one.plan.connections, one.env, application=application_name(one.run), cancel=cancel)
    made.learn = one.redactor.learn
    return made


def _refuse_hook(one: PlanRun, lock: RunLock | None, planned: PlannedStep) -> PlanrunError | None:
    """Return why a hook may not run: it removes what nothing protects, or another run may be at work meanwhile."""
    if (found := one.refused.get(re.sub(r"\[\d+\]", "", planned.path))) is not None:
        return found
    if lock is not None and uses_database([planned.step]):
        try:
            lock.check()
        except PlanrunError as exc:
            return exc
    return None


def finish_hooks(one: PlanRun, earlier: RunRecord, lock: RunLock | None, began: float) -> RunResult | None:
    """Finish the hooks of a run that was killed in them, and write its end.

    Returns its result if its steps were done; None if they are to be continued now.
    """
    end = hooks.recorded_end(earlier, one.plan)
    last = end.state == "ok"
    if last:
        one.show(one.began("resume"))
    else:
        one.listen(one.began("resume"))  # the attempt that continues the steps is told of later
    found = run_hooks(one, end, earlier.outcomes_of_attempt(), lock, one.start_time(earlier), earlier.hooks)
    result = RunResult(
        run=one.run, plan=one.plan.name, mode=one.mode, state=end.state, exit_code=end.exit_code,
        seconds=time.monotonic() - began, steps=(), counts={}, something_to_do=False, next=end.next, of=one.mode,
        databases=one.database_lines(), way_back=one.way_back(), file=one.plan.file,
    )  # fmt: skip
    result = one.redactor.of(with_hooks(one, result, found))
    event = replace(end_event(result), message=end.error, code=end.code, step=end.step)
    one.journal.write(one.run, event)
    if last:
        one.show(event)
    elif one.notifier is not None:
        one.notifier.event(event)
    return result if last else None


def with_hooks(one: PlanRun, result: RunResult, found: hooks.HookRun | None) -> RunResult:
    if found is None:
        return result
    ran = tuple(step for drive in found.drives for step in step_results(drive))
    return one.redactor.of(replace(result, hooks=ran, warnings=(*result.warnings, *found.warnings)))


def end_of_error(one: PlanRun, exc: PlanrunError, outcomes: Mapping[str, Outcome], began: float) -> HooksBegan:
    """Return the end of a run that could not go on, as when another run has taken its lock."""
    failed = next((path for path, one in outcomes.items() if one.state is State.FAILED), "")
    return HooksBegan(
        mode=one.mode, state="failed", exit_code=exc.exit_code, seconds=round(time.monotonic() - began, 3),
        step=failed, code=exc.code, error=exc.message, hint=exc.hint, next=one.plan.again(one.mode, one.options),
        blocks=tuple(name for name, _ in one.plan.hooks.after("failed")),
    )  # fmt: skip


def tell(one: PlanRun, work: Callable[[], RunResult]) -> RunResult:
    """Do the work of a run, then wait until its recipients are told, without the lock of the run."""
    if one.notifier is None:
        return work()
    try:
        result = work()
    except Exception as exc:
        one.notifier.broke_off(exc, one.plan.command("status"))
        _end_notifications(one)
        raise
    return replace(result, warnings=(*result.warnings, *_end_notifications(one)))


def _end_notifications(one: PlanRun) -> tuple[Warned, ...]:
    """Wait for the recipients, each within its time, and return what went wrong."""
    assert one.notifier is not None
    write = _Tolerant(one.journal, one.run)
    with one.cancel.stage() as stage:
        found = one.redactor.of(one.notifier.finish(stage))
    for warning in found:
        if one.notifier.has_begun:
            write(warning)
        one.listen(warning)
    return found


def end_of(result: RunResult, done: engine.Drive, mode: str, plan: Plan) -> HooksBegan:
    """Return how the steps of a run have ended, for its hooks."""
    error = result.error
    return HooksBegan(
        mode=mode, state=result.state, exit_code=result.exit_code, seconds=round(result.seconds, 3),
        step=done.failed_step, code=error.code if error else "", error=error.message if error else "",
        hint=error.hint if error else "", next=result.next,
        blocks=tuple(name for name, _ in plan.hooks.after(result.state)),
    )  # fmt: skip


def has_only_hooks_left(earlier: RunRecord | None) -> bool:
    """Return whether a run was killed when its steps were done: a resume finishes its hooks, and nothing else."""
    return earlier is not None and earlier.is_cut_off_in_hooks and earlier.verdict["state"] == "ok"


class _Tolerant:
    """Writes events to a journal that may be lost: it then returns a warning once, and writes nothing more."""

    def __init__(self, journal: Journal, run: str) -> None:
        self._journal, self._run, self._lost = journal, run, False

    def __call__(self, event: Event) -> Warned | None:
        if self._lost:
            return None
        try:
            self._journal.write(self._run, event)
        except PlanrunError as exc:
            self._lost = True
            return Warned(about="journal", message=f"what follows is not recorded: {exc.message}", code=exc.code)
        return None
