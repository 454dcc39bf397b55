"""The hooks of a run: steps that follow when its own steps have ended, however. None changes how the run ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner import engine
from runner.cancel import Cancel
from runner.errors import Interrupted, PlanrunError, TargetError
from runner.events import Emit, Event, HooksBegan, StepEnded, Warned
from runner.journal.history import RunRecord
from runner.language.scope import RUN_END
from runner.model import HOOKS, UNKNOWN, Outcome, Plan, PlannedStep, Result, State, Step

AFTER_SIGNAL = 30.0
"""Seconds that all hooks together have after a signal: what sent it may end the process itself a little later."""

Refuse = Callable[[PlannedStep], PlanrunError | None]
"""Return why a hook may not run now, None if it may."""


class Hands(NamedTuple):
    """What reads for hooks, and what performs them.

    walk: returns the walk of a block, by its steps, the recorded outcomes and what they see.
    """

    walk: Callable[[Sequence[Step], Mapping[str, Outcome], engine.HookBlock], engine.Walk]
    answer: engine.Answer


OpenHands = Callable[[Emit, Cancel, Mapping[tuple[str, str], Result]], contextlib.AbstractContextManager[Hands]]
"""Open connections of the hooks' own: (emit, cancel, results of actions that are done)."""


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """What the hooks of one attempt need. emit: records and shows an event; it never raises for a lost journal."""

    plan: Plan
    open_hands: OpenHands
    emit: Emit
    refuse: Refuse
    file: str
    warnings: list[Warned] = field(default_factory=list)
    drives: list[engine.Drive] = field(default_factory=list)

    def run(
        self, end: HooksBegan, outcomes: Mapping[str, Outcome], cancel: Cancel, earlier: RunRecord | None = None
    ) -> None:
        """Run the hooks that belong to how a run ended; what goes wrong is in `warnings`.

        outcomes: how its steps ended, by path. earlier: the hooks of a run that was killed in them; what they have done
        is not done again. cancel: that of the run.
        """
        with cancel.stage() as stage, stage.after(AFTER_SIGNAL if end.state == "interrupted" else None, _too_late()):
            try:
                self._run(end, outcomes, stage, earlier)
            except PlanrunError as exc:
                self._warn(Warned(about="hooks", message=exc.message, hint=exc.hint, code=exc.code))

    def _run(self, end: HooksBegan, outcomes: Mapping[str, Outcome], cancel: Cancel, earlier: RunRecord | None) -> None:
        done = outcomes_before(earlier)
        results = {at: result for at, result in earlier.actions.items() if at[0] not in done} if earlier else {}
        views = views_of(self.plan, end.mode, outcomes)
        with self.open_hands(self._note, cancel, results) as hands:
            for name, steps in self.plan.hooks.after(end.state):
                if isinstance(cancel.reason, Interrupted):
                    self._warn(_stop_warning(cancel.reason, name))
                    return
                block = engine.HookBlock(name=name, run=about(end), steps=views)
                walk = hands.walk(steps, done, block)
                self.drives.append(engine.drive(walk, self._answer(hands.answer), self._note, plan=self.file))

    def _answer(self, act: engine.Answer) -> engine.Answer:
        def answer(planned: PlannedStep) -> Outcome:
            if reason := self.refuse(planned):
                return engine.failure(planned.step, planned.path, reason)
            return act(planned)

        return answer

    def _note(self, event: Event) -> None:
        self.emit(event)
        if isinstance(event, StepEnded) and event.outcome.error is not None:
            ended = event.outcome
            self.warnings.append(Warned(about=ended.path, message=ended.message, hint=ended.hint, code=ended.code))

    def _warn(self, warning: Warned) -> None:
        self.warnings.append(warning)
        self.emit(warning)


def _too_late() -> TargetError:
    return TargetError(
        f"after an interruption all hooks together have {AFTER_SIGNAL:g} s",
        hint="make the hooks shorter, or give the first ones a `timeout:`",
        category="timeout",
        code="PR1090",
    )


def _stop_warning(reason: PlanrunError, block: str) -> Warned:
    return Warned(about="hooks", message=f"{reason.message}: {block} did not run", code=reason.code)


def outcomes_before(earlier: RunRecord | None) -> dict[str, Outcome]:
    """Return the outcomes of the hooks that a killed run has finished, by path."""
    every = earlier.outcomes_of_attempt() if earlier else {}
    return {path: one for path, one in every.items() if one.state in (State.OK, State.WARNED)}


def recorded_end(earlier: RunRecord, plan: Plan) -> HooksBegan:
    """Return how the steps of a killed run had ended, as its journal says."""
    found = earlier.verdict
    texts = {name: str(found.get(name, "")) for name in ("step", "code", "error", "hint", "next")}
    return HooksBegan(
        mode=found["mode"], state=found["state"], exit_code=found["exit_code"], seconds=found.get("seconds", 0.0),
        blocks=tuple(name for name, _ in plan.hooks.after(found["state"])), **texts,
    )  # fmt: skip


# ------------------------------------------------------------------ what hooks see


def about(end: HooksBegan) -> dict[str, Any]:
    """Return the values of `${run.x}` that say how the run ended."""
    states = {state: end.state == state for state in ("ok", "failed", "interrupted", "paused")}
    words = {"state": end.state, "mode": end.mode, "step": end.step, "error": end.error, "code": end.code}
    return {**states, **words, "hint": end.hint, "next": end.next, "exit_code": end.exit_code, "seconds": end.seconds}


def views_of(plan: Plan, mode: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return what hooks see of each step of the plan and of its rollback.

    A step that did not end, or that this run does not have, counts as skipped; in a group with a step that failed, as
    failed.
    """
    own, other = (plan.rollback, plan.steps) if mode == "rollback" else (plan.steps, plan.rollback)
    ends = {step.id: _end_of(step, outcomes) for step in own}
    names: dict[str, tuple[str, ...]] = {}
    for step in (*own, *other):
        names[step.id] = (*names.get(step.id, ()), *engine.outputs_of(step))
    skipped = Outcome(path="", state=State.SKIPPED)
    return {name: engine.view(ends.get(name, skipped), outputs) for name, outputs in names.items()}


def _end_of(step: Step, outcomes: Mapping[str, Outcome]) -> Outcome:
    if step.id in outcomes:
        return outcomes[step.id]
    inside = (one for path, one in outcomes.items() if path.startswith((f"{step.id}.", f"{step.id}[")))
    failed = any(one.state is State.FAILED for one in inside)
    return Outcome(path=step.id, state=State.FAILED if failed else State.SKIPPED)


def unknown_views(plan: Plan) -> dict[str, Any]:
    """Return what hooks see of each step before a run."""
    unknown = Outcome(path="", state=State.UNKNOWN)
    names: dict[str, tuple[str, ...]] = {}
    for step in (*plan.steps, *plan.rollback):
        names[step.id] = (*names.get(step.id, ()), *engine.outputs_of(step))
    return {name: engine.view(unknown, outputs) for name, outputs in names.items()}


def blocks_before_run(plan: Plan, *, changed: bool = False) -> Iterator[tuple[tuple[Step, ...], engine.HookBlock]]:
    """Yield the steps of each block of hooks, and what they see before a run: how it ends is not known.

    changed: the run would change what is there now.
    """
    run = dict.fromkeys(RUN_END, UNKNOWN)
    views = unknown_views(plan)
    for name, steps in plan.hooks.blocks():
        yield steps, engine.HookBlock(name=name, run=run, steps=views, doubt=HOOKS[name], changed=changed)
