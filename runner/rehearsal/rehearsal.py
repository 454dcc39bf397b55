"""Run a plan and its rollback on scratch copies of its databases, by the engine that runs it otherwise.

Only connections, files and the answers to questions are others: connections lead to the copies (run/redirection.py),
files to a folder of the rehearsal (run/rehearsal_limits.py), and every question is answered with yes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.errors import Interrupted
from runner.events import Emit, Event, RunBegan, StepEnded, StepPlanned
from runner.model import Command, Confirm, Hooks, Outcome, Plan, PlannedStep, Together, Trial
from runner.planfile import prove
from runner.redact import Redactor
from runner.rehearsal import state
from runner.rehearsal.state import State
from runner.rehearsal_result import CopyFacts, Differences, HeldLock, RehearsalResult, Statement
from runner.result import RunResult
from runner.run import redirection
from runner.run.held_locks import LONGEST, LockBook
from runner.run.plan_run import open_run
from runner.run.rehearsal_limits import RehearsalLimits
from runner.scratch.copies import ScratchCopies, ScratchCopy, scratch_copies
from runner.scratch.program_watch import NOTHING
from runner.scratch.rows import SAMPLE, Rows
from runner.words import one_line

if TYPE_CHECKING:
    from runner.run.executor import OpenConsole

_OWN_CODES = (4, 5, 70, 75, 130, 143)
"""Exit codes of a run that are also those of its rehearsal; any other failure of a step is 1."""


def rehearse(
    plan: Plan,
    env: Mapping[str, str],
    *,
    rows: Rows = Rows.NONE,
    number: int = SAMPLE,
    server: Mapping[str, str] | None = None,
    on_event: Emit | None = None,
    say: Callable[[str], object] = lambda text: None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
) -> RehearsalResult:
    """Run the plan, then its rollback, on scratch copies of its databases. The databases themselves are only read.

    rows, number, server: as in `scratch_copies`. on_event: the events of both runs. say: what is done before them.
    open_console: yields the terminal for a program that runs.
    Raises PlanError when a step can take something away without its protection, ConnectError and TargetError when no
    copy can be made. The failure of a step is in the result.
    """
    began = time.monotonic()
    prove(plan)
    cancel = cancel or Cancel()
    redactor = Redactor(plan.env, env)
    with scratch_copies(
        plan, env, rows=rows, number=number, server=server, cancel=cancel, say=say, learn=redactor.learn
    ) as made:
        one = _Rehearsal(plan, env, made, rows, on_event, cancel, open_console)
        result = one.run()
    wanted = f"{number} rows of each table" if rows is Rows.SAMPLE else {"none": "no rows", "all": "all rows"}[rows]
    return redactor.of(replace(result, wanted=wanted, seconds=time.monotonic() - began))


class _Rehearsal:
    """One rehearsal, while its copies are there."""

    def __init__(
        self,
        plan: Plan,
        env: Mapping[str, str],
        made: ScratchCopies,
        rows: Rows,
        on_event: Emit | None,
        cancel: Cancel,
        open_console: OpenConsole,
    ) -> None:
        self._open_console = open_console
        self._plan, self._made, self._rows, self._cancel = plan, made, rows, cancel
        self._folder, self._on_event = made.folder.resolve(), on_event
        led = redirection.redirect(plan, env, made.words)
        self._led = replace(led, env={**led.env, "PLANRUN_STATE_DIR": str(self._folder / "state")})
        self._readers = {one.connections[0]: one.reader for one in made.copies}
        self._connections = Connections(self._readers, made.env, application="planrun rehearsal", cancel=cancel)
        self._statements, self._watched = list[Statement](), ""
        self._answers, self._outside, self._programs = list[str](), list[str](), list[str]()

    def run(self) -> RehearsalResult:
        start = self._look()
        names = {name: one.connections[0] for one in self._made.copies for name in one.connections}
        with LockBook(self._connections, names) as book:
            self._book = book
            rows = {Rows.NONE: "no rows", Rows.SAMPLE: "a sample of the rows"}.get(self._rows, "")
            self._limits = RehearsalLimits(folder=self._folder, redirection=self._led, locks=book, rows=rows)
            ran = self._run("apply")
            applied = state.differences(start, self._look())
            result = self._result(ran, applied)
            if self._plan.rollback and ran.exit_code == 0:
                undone = self._run("rollback")
                result = self._with_rollback(result, undone, state.differences(start, self._look()))
        return replace(
            result,
            locks=book.locks,
            statements=tuple(self._statements),
            answers=tuple(self._answers),
            moved=tuple(self._limits.moved),
            outside=tuple(self._outside),
        )

    def _look(self) -> dict[str, State]:
        return state.read(
            self._connections, tuple(self._readers), rows=self._rows is not Rows.NONE, cancel=self._cancel
        )

    def _run(self, mode: str) -> RunResult:
        # hooks and notifications are for what is outside of the databases: a rehearsal must tell nobody of a failure
        plan = replace(self._led.plan, journal=_journal(self._led.plan), hooks=Hooks(), notify=())
        with open_run(
            plan,
            self._led.env,
            self._hear,
            self._cancel,
            mode=mode,
            confirm=self._answer,
            limits=self._limits,
            open_console=self._open_console,
        ) as one:
            return replace(one.apply(), next="", way_back="")

    def _hear(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            lines = [
                f"{', '.join(filter(None, one.connections)) or 'target'}: a scratch copy" for one in self._made.copies
            ]
            event = replace(event, mode=f"rehearsal of {event.mode}", databases=tuple(lines))
        elif isinstance(event, StepPlanned):
            self._book.path = event.planned.path
            self._watch_programs(event.planned)
        elif isinstance(event, StepEnded):
            self._book.path = ""
            self._read_programs(event.outcome)
        if self._on_event:
            self._on_event(event)

    def _watch_programs(self, planned: PlannedStep) -> None:
        """Let the servers tell what programs do, and note where these run: their files are the real ones."""
        ran = [action for action in _flat(planned) if isinstance(action, Command | Trial)]
        if planned.settled is not None or not ran:
            return
        self._watched = planned.path
        folders = {f"{Path(one.argv[0]).name} ran in {one.cwd or self._plan.folder}" for one in ran}
        self._programs = [f"{planned.path}: {text}, with the files there" for text in sorted(folders)]
        for copy in self._made.copies:
            if copy.programs:
                copy.programs.begin()

    def _read_programs(self, outcome: Outcome) -> None:
        """Take in what programs of a step have sent and locked."""
        path = outcome.path
        if path != self._watched:
            return
        self._watched = ""
        self._outside += self._programs if outcome.code != "PR1001" else []
        for one in self._made.copies:
            seen = one.programs.end() if one.programs else NOTHING
            self._statements += [
                Statement(path=path, text=each.text, milliseconds=each.milliseconds) for each in seen.statements
            ]
            for each in seen.locks:
                lock = HeldLock(
                    path=path, connection=one.connections[0], schema="", name="", mode=each.mode,
                    milliseconds=each.milliseconds, statement=one_line(each.statement)[:LONGEST],
                )  # fmt: skip
                self._book.add(one.connections[0], each.oid, lock)

    def _answer(self, question: Confirm) -> bool:
        self._answers.append(question.message)
        return True

    def _result(self, ran: RunResult, applied: Differences) -> RehearsalResult:
        code = ran.exit_code if ran.exit_code in (0, *_OWN_CODES) else 1
        return RehearsalResult(
            plan=self._plan.name, file=self._plan.file, state=_state(ran), exit_code=code, seconds=0.0, wanted="",
            copies=tuple(map(_facts, self._made.copies)), run=ran, applied=applied,
            has_rollback=bool(self._plan.rollback), next="" if code else self._plan.command("apply"),
        )  # fmt: skip

    def _with_rollback(self, result: RehearsalResult, undone: RunResult, left: Differences) -> RehearsalResult:
        code = undone.exit_code if undone.exit_code in (0, *_OWN_CODES) else 1
        how = _state(undone)
        if code == 0 and not left.none:
            code, how = 6, "changed"
        return replace(
            result, rollback=undone, undone=left, exit_code=code, state=how, next="" if code else result.next
        )


def _state(ran: RunResult) -> str:
    if isinstance(ran.error, Interrupted):
        return "interrupted"
    return "failed" if ran.exit_code else "ok"


def _journal(plan: Plan) -> str:
    """Return where the journal is: never in a file that the plan names."""
    return plan.journal if plan.journal in ("database", "file") else ""


def _flat(planned: PlannedStep) -> Iterator[object]:
    for action in planned.actions:
        if isinstance(action, Together):
            yield from (one for branch in action.branches for one in branch)
        else:
            yield action


def _facts(one: ScratchCopy) -> CopyFacts:
    return CopyFacts(
        connections=one.connections, of=one.of, version=one.version, private=one.private, same_major=one.same_major,
        rows=one.rows, tables=one.tables, left_out=tuple(map(str, one.left_out)),
    )  # fmt: skip
