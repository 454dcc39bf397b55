"""The answer of apply and resume: perform each action once, in order or in branches, with retries and deadlines."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from typing import Any, Protocol

from runner.cancel import Cancel
from runner.engine.walk import Answer, acts, failure
from runner.errors import PartlyDone, PlanrunError, TargetError
from runner.events import ActionDone, Emit, Retrying
from runner.model import (
    Action,
    Note,
    Outcome,
    PlannedStep,
    Result,
    Retry,
    State,
    Together,
)
from runner.record import dataclass


class Executor(Protocol):
    """Performs actions. `at` is the action's place in the journal: the planned step's path and the action's key."""

    def act(self, action: Action, at: At, cancel: Cancel) -> Result: ...


@dataclass(frozen=True)
class At:
    """The place of an action in the journal. since: when it began, by time.monotonic()."""

    path: str
    key: str
    since: float = field(default=0.0, compare=False)

    @property
    def seconds(self) -> float:
        """The seconds since the action began."""
        return round(time.monotonic() - self.since, 3)


_Finished = dict[tuple[str, str], Result]


@dataclass(frozen=True)
class _Acting:
    """What every action of a run needs. `finished` grows, so neither a resume nor a retry repeats an action."""

    executor: Executor
    emit: Emit
    finished: _Finished
    keep_going: bool


def apply_answer(
    executor: Executor,
    emit: Emit,
    cancel: Cancel,
    done: Mapping[tuple[str, str], Result] | None = None,
    *,
    keep_going: bool = False,
) -> Answer:
    """Return the answer of apply and resume. `done` holds the results of actions that an earlier attempt finished.

    keep_going: if an item of a `for_each` fails, run the others; the step is then partly done.
    """
    run = _Acting(executor, emit, dict(done or {}), keep_going)

    def answer(planned: PlannedStep) -> Outcome:
        began, attempt = time.monotonic(), 1
        while True:
            try:
                cancel.check()
                with cancel.child() as inner, _deadline(inner, planned):
                    results = _act_all(run, planned.path, with_keys(planned.actions), inner)
                return _success(planned, results, time.monotonic() - began, attempt)
            except PlanrunError as exc:
                if not _again(exc, planned.step.retry, attempt):
                    seconds = time.monotonic() - began
                    return failure(planned.step, planned.path, exc, seconds=seconds, attempts=attempt)
                delay = planned.step.retry.delay * (0.5 + random.random())
                of = planned.step.retry.attempts
                emit(Retrying(path=planned.path, attempt=attempt, of=of, delay=delay, message=exc.message))
                cancel.wait(delay)
                attempt += 1

    return answer


def _success(planned: PlannedStep, results: Sequence[Result], seconds: float, attempts: int) -> Outcome:
    why = next((one.text for one in planned.actions if isinstance(one, Note) and one.idle), "")
    return Outcome(
        path=planned.path,
        state=State.OK,
        message=why,
        outputs=dict(planned.give(results)),
        seconds=seconds,
        attempts=attempts,
    )


def _again(exc: PlanrunError, retry: Retry, attempt: int) -> bool:
    return isinstance(exc, TargetError) and exc.category in retry.on and attempt < retry.attempts


def _deadline(cancel: Cancel, planned: PlannedStep) -> Any:
    return cancel.after(
        planned.step.timeout,
        TargetError(
            f"timed out after {planned.step.timeout:g} s" if planned.step.timeout else "",
            hint="raise the step's `timeout:`, or look at what it waits for: planrun doctor",
            category="timeout",
            code="PR0407",
        ),
    )


_Keyed = Sequence[tuple[str, Action]]


def with_keys(actions: Sequence[Action]) -> list[tuple[str, Action]]:
    """Give each action a key that is the same in the next attempt: a digest of its content and its occurrence.

    The key of a group of branches is its occurrence alone, so that items keep their keys if a list changes.
    """
    seen: Counter[str] = Counter()
    found = []
    for action in actions:
        digest = "together" if isinstance(action, Together) else _digest(action)
        found.append((f"{digest}.{seen[digest]}", action))
        seen[digest] += 1
    return found


def _digest(action: Action) -> str:
    return hashlib.sha256(repr(action).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _act_all(run: _Acting, path: str, actions: _Keyed, cancel: Cancel) -> list[Result]:
    """Perform unfinished actions. Repeat those that only read, unless an action after them is already finished."""
    places = [At(path, key) for key, _ in actions]
    began = (n for n, (_, one) in enumerate(actions) if acts(one) and _has_begun(places[n], one, run.finished))
    begun = max(began, default=-1)
    results = []
    for number, (at, (_, action)) in enumerate(zip(places, actions, strict=True)):
        if number > begun and not acts(action):
            run.finished.pop((at.path, at.key), None)
        results.append(_act(run, at, action, cancel))
    return results


def _has_begun(at: At, action: Action, finished: _Finished) -> bool:
    if isinstance(action, Together):
        return any(path == at.path and key.startswith(f"{at.key}/") for path, key in list(finished))
    return (at.path, at.key) in finished


def _act(run: _Acting, at: At, action: Action, cancel: Cancel) -> Result:
    if (old := run.finished.get((at.path, at.key))) is not None:
        return old
    cancel.check()
    if isinstance(action, Together):
        return {"branches": _together(run, at, action, cancel)}
    at = replace(at, since=time.monotonic())
    result = run.executor.act(action, at, cancel)
    run.finished[at.path, at.key] = result
    stamped = bool(result.get("stamped"))
    run.emit(ActionDone(path=at.path, key=at.key, result=result, stamped=stamped, seconds=at.seconds))
    return result


def _together(run: _Acting, at: At, group: Together, cancel: Cancel) -> list[list[Result]]:
    """Run the branches in threads; the first failure stops the others (unless they go on), and is raised."""

    def branch(actions: _Keyed) -> list[Result]:
        try:
            return _act_all(run, at.path, actions, inner)
        except PlanrunError as exc:
            if not run.keep_going:
                inner.cancel(exc)
            raise
        except BaseException:
            inner.cancel(PlanrunError("another branch met a bug in planrun", code="PR0517"))
            raise

    with cancel.child() as inner, ThreadPoolExecutor(max(1, min(group.jobs, len(group.branches)))) as pool:
        futures = [pool.submit(branch, actions) for actions in _branch_keys(at, group)]
        _raise_first([future.exception() for future in futures], inner)
        return [future.result() for future in futures]


def _raise_first(found: Sequence[BaseException | None], cancel: Cancel) -> None:
    """Raise a bug before an expected error, and the error that came first before those it caused."""
    for exc in found:
        if exc is not None and not isinstance(exc, PlanrunError):
            raise exc
    if cancel.reason is not None:
        raise cancel.reason
    failed = [exc for exc in found if isinstance(exc, PlanrunError)]
    if failed:
        raise failed[0] if len(failed) == len(found) else PartlyDone(failed, len(found))


def _branch_keys(at: At, group: Together) -> Iterator[_Keyed]:
    flat = with_keys([action for branch in group.branches for action in branch])
    start = 0
    for branch in group.branches:
        yield [(f"{at.key}/{key}", action) for key, action in flat[start : start + len(branch)]]
        start += len(branch)
