"""Walk a plan: guard, look, render, then hand over the turn and wait for its outcome.

`walk` never acts. It yields each Turn and is sent back the Outcome, so that diff, apply and resume are
drivers of one walk and what diff shows is what apply does.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import ChainMap, Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from runner import guard, values
from runner.cancel import Cancel
from runner.errors import Interrupted, NotKnownYet, PartlyDone, PlanError, PlanrunError, Problem, TargetError
from runner.events import ActionDone, OutcomeTold, Retrying, Tell, TurnTold
from runner.kinds import KINDS
from runner.kinds.base import Render, World, build
from runner.model import (
    CHANGING,
    UNKNOWN,
    Action,
    Check,
    Command,
    Confirm,
    Note,
    Outcome,
    Plan,
    Query,
    Result,
    Retry,
    State,
    Step,
    Together,
    Turn,
    Verify,
)
from runner.redact import Redactor

Walk = Generator[Turn, Outcome, None]
Answer = Callable[[Turn], Outcome]
Recorded = Mapping[str, Outcome]
_Scope = Mapping[str, Any]
_Block = Generator[Turn, Outcome, dict[str, Outcome]]

GONE_WELL = {State.OK, State.WARNED, State.WOULD}


# ------------------------------------------------------------------ the walk


@dataclass
class _Walker:
    world: World
    render: Render
    base: _Scope
    recorded: Recorded
    redactor: Redactor
    changed: bool = False


def walk(
    plan: Plan,
    steps: Sequence[Step],
    world: World,
    render: Render,
    recorded: Recorded | None = None,
    *,
    run: str = "",
    started: str = "",
) -> Walk:
    """Yield the turn of every step in order and take its outcome; the only place that knows about order.

    `recorded` holds the outcomes of an earlier run of the same plan, by path: such a turn comes settled,
    and nothing is looked up for it. `run` is the id that `${run.id}` gives; a diff has none. `started` is what
    `${run.started}` gives: of a resumed run the time of its first attempt, as texts with it must stay the same.
    """
    about = {"id": run or UNKNOWN, "started": started or world.started.isoformat(), "plan": plan.name}
    base = {"params": plan.params, "env": plan.env, "run": about}
    walker = _Walker(world, render, base, recorded or {}, Redactor(plan.env))
    yield from _block(walker, steps, _Place({"params": plan.params}, base, ""))


@dataclass(frozen=True)
class _Place:
    """Where a block stands: the views of steps around it, the roots of `${}`, the path of its group with a dot.

    `doubt` is why nobody can know yet whether the block runs at all; empty in a run.
    """

    around: _Scope
    base: _Scope
    prefix: str
    doubt: str = ""


@dataclass(frozen=True)
class _Here:
    """One step's place: what its guard sees, what its values see, its path, and what its guard came to."""

    visible: _Scope
    scope: _Scope
    path: str
    because: str = ""
    doubt: str = ""


def _block(walker: _Walker, steps: Sequence[Step], place: _Place) -> _Block:
    """Walk the steps of one block in order."""
    done: dict[str, Outcome] = {}
    views: dict[str, Any] = {}
    visible = ChainMap(views, dict(place.around))
    here = _Here(visible, {**place.base, "steps": visible}, "")
    so_far = guard.Verdict(True, "")
    for step in steps:
        verdict = _verdict(step, so_far, visible, place.doubt)
        doubt = verdict.because if verdict.holds is None else ""
        at = replace(here, path=place.prefix + step.id, because=verdict.because, doubt=doubt)
        outcome = yield from _step(walker, step, verdict, at)
        done[step.id] = outcome
        views[step.id] = view(outcome, outputs_of(step))
        so_far = _so_far(so_far, step.id, outcome)
    return done


def _so_far(verdict: guard.Verdict, name: str, outcome: Outcome) -> guard.Verdict:
    """The default guard, step by step: every earlier step is ok or warned."""
    if verdict.holds is False or outcome.state in GONE_WELL:
        return verdict
    if outcome.state is State.UNKNOWN:
        return guard.Verdict(None, f"{name} is unknown until run") if verdict.holds else verdict
    return guard.Verdict(False, f"{name} is {outcome.state.value}")


def _verdict(step: Step, so_far: guard.Verdict, visible: _Scope, doubt: str) -> guard.Verdict:
    verdict = so_far
    if step.when is not None:
        verdict = guard.evaluate(step.when, visible)
        verdict = replace(verdict, because=f"when {step.when.text}: {verdict.because}")
    return guard.Verdict(None, doubt) if doubt and verdict.holds else verdict


def _step(walker: _Walker, step: Step, verdict: guard.Verdict, here: _Here) -> Generator[Turn, Outcome, Outcome]:
    if step.kind and (old := walker.recorded.get(here.path)):
        return (yield _recorded(walker, step, old))
    if verdict.holds is False:
        return (yield _settled(step, here.path, State.SKIPPED, verdict.because))
    try:
        if step.steps:
            return (yield from _group(walker, step, here))
        turn = _kind_turn(walker, step, here)
    except PlanrunError as exc:
        turn = _trouble(walker, step, here, exc)
    if here.doubt:
        turn = replace(turn, settled=Outcome(path=here.path, state=State.UNKNOWN, message=here.doubt))
    outcome = yield turn
    if turn.stale and outcome.state is State.WOULD:
        outcome = replace(outcome, outputs=dict.fromkeys(outcome.outputs, UNKNOWN))
    if outcome.state in (State.WOULD, State.UNKNOWN) and any(map(changes, turn.actions)):
        walker.changed = True
    return outcome


def _recorded(walker: _Walker, step: Step, old: Outcome) -> Turn:
    """The turn of a step that is done; it fails when what the step made is gone, as later steps rest on it."""
    lost = getattr(KINDS[step.kind], "lost", None)
    each = [old.outputs] if step.for_each is None else old.outputs.get("results", [])
    gone = [why for outputs in each if lost and (why := lost(outputs, walker.world))]
    if gone:
        error = TargetError("; ".join(gone), hint="this run cannot go on without it; begin anew: planrun apply")
        strict = replace(step, on_error="fail")
        return Turn(step=step, path=old.path, settled=failure(strict, old.path, error))
    return Turn(step=step, path=old.path, because="done by an earlier attempt", settled=old)


def _settled(step: Step, path: str, state: State, message: str) -> Turn:
    return Turn(step=step, path=path, settled=Outcome(path=path, state=state, message=message))


def _trouble(walker: _Walker, step: Step, here: _Here, exc: PlanrunError) -> Turn:
    if isinstance(exc, NotKnownYet):
        return _later(walker, step, here.path, exc.message)
    if walker.changed:  # what is missing now may be made by an earlier step of the same plan
        return _later(walker, step, here.path, f"what earlier steps change (now: {exc.message})")
    return Turn(step=step, path=here.path, settled=failure(step, here.path, exc))


def _later(walker: _Walker, step: Step, path: str, needs: str) -> Turn:
    """A step that would run, and whose actions only the run can tell, as they need something it makes."""
    walker.changed = walker.changed or bool(step.steps) or getattr(KINDS[step.kind], "CHANGES", False)
    return _settled(step, path, State.WOULD, f"what it does in detail is unknown until run; it needs {needs}")


def failure(step: Step, path: str, exc: PlanrunError, *, seconds: float = 0.0, attempts: int = 1) -> Outcome:
    """Return the outcome of a step that raised: failed, or warned where the step says `on_error: warn`."""
    soft = step.on_error == "warn" and not isinstance(exc, Interrupted)
    where = f"{exc.where}: " if exc.where else ""
    return Outcome(
        path=path,
        state=State.WARNED if soft else State.FAILED,
        message=where + exc.message,
        hint=exc.hint,
        seconds=seconds,
        attempts=attempts,
        error=exc,
    )


def _kind_turn(walker: _Walker, step: Step, here: _Here) -> Turn:
    if step.for_each is not None:
        return _each_turn(walker, step, here.scope, here.path, here.because)
    one = _render(walker, step, here.scope)
    if isinstance(one, str):
        return _later(walker, step, here.path, one)
    actions, give = one
    return Turn(step=step, path=here.path, because=here.because, actions=actions, give=give, stale=walker.changed)


def _each_turn(walker: _Walker, step: Step, scope: _Scope, path: str, because: str) -> Turn:
    """One turn for all items of `for_each`: a branch of a Together for each."""
    items = _items(step, scope)
    if items is UNKNOWN:
        return _later(walker, step, path, "the list of for_each")
    each = [_render(walker, step, {**scope, "item": item}) for item in items]
    if unknown := [one for one in each if isinstance(one, str)]:
        return _later(walker, step, path, unknown[0])
    known = [one for one in each if not isinstance(one, str)]
    group = Together(branches=tuple(actions for actions, _ in known), jobs=step.jobs)
    gives = [give for _, give in known]

    def give_each(results: Sequence[Result | None]) -> Mapping[str, Any]:
        branches = results[0]["branches"] if results and results[0] else [[None] * len(b) for b in group.branches]
        return {"count": len(gives), "results": [dict(g(b)) for g, b in zip(gives, branches, strict=True)]}

    actions = (group,) if gives else ()
    return Turn(step=step, path=path, because=because, actions=actions, give=give_each, stale=walker.changed)


def _render(walker: _Walker, step: Step, scope: _Scope) -> tuple[tuple[Action, ...], Callable[..., Any]] | str:
    """Return the actions of one kind and its `give`, or why they are unknown until run."""
    data = _resolved(step, step.values, scope)
    if values.has_unknown(data):
        missing = [r.text for _, r in values.refs(step.values) if values.has_unknown(values.lookup(r.names, scope))]
        return ", ".join(dict.fromkeys(missing))
    kind = KINDS[step.kind]
    try:
        params = build(kind.Params, data, walker.world.folder)
        facts = kind.look(params, walker.world)
        actions = kind.render(params, facts, walker.render)
        _refuse_secret_argv(walker, step, actions)
    except PlanrunError as exc:
        if exc.exit_code == PlanError.exit_code:
            exc.where = exc.where or step.where  # what is wrong is in the plan: say where
        raise
    return actions, lambda results: kind.give(params, facts, results)


def _refuse_secret_argv(walker: _Walker, step: Step, actions: Sequence[Action]) -> None:
    argv = [word for action in actions if isinstance(action, Command) for word in action.argv]
    if any(map(walker.redactor.holds, argv)):
        raise PlanError(
            Problem(
                step.where,
                "argv would hold a secret of the environment, and process lists show argv to every user",
                "name the variable in `env:`, so that the program reads it there",
            )
        )


def _resolved(step: Step, tree: Any, scope: _Scope) -> Any:
    try:
        return values.resolve(tree, scope)
    except KeyError as exc:
        raise PlanrunError(f"${{{exc.args[0]}}} has no value", where=step.where, hint="planrun explain") from None


def _items(step: Step, scope: _Scope) -> Any:
    items = _resolved(step, step.for_each, scope)
    if items is UNKNOWN or isinstance(items, list | tuple):
        return items
    if items is None:
        return []
    raise PlanrunError(f"for_each needs a list, not {type(items).__name__}", where=step.where)


def _group(walker: _Walker, step: Step, here: _Here) -> Generator[Turn, Outcome, Outcome]:
    if step.for_each is None:
        place = _Place(here.visible, here.scope, here.path + ".", here.doubt)
        done, outputs = yield from _body(walker, step, place)
        return (yield _ended(step, here, done.values(), outputs))
    items = _items(step, here.scope)
    if items is UNKNOWN:
        return (yield _later(walker, step, here.path, "the list of for_each"))
    rounds: list[Outcome] = []
    results: list[Any] = []
    for number, item in enumerate(items):
        if any(one.state is State.FAILED for one in rounds):
            break
        around, base = {**here.visible, "item": item}, {**here.scope, "item": item}
        place = _Place(around, base, f"{here.path}[{number}].", here.doubt)
        done, outputs = yield from _body(walker, step, place)
        rounds += done.values()
        results.append(dict(outputs))
    return (yield _ended(step, here, rounds, {"count": len(items), "results": results}))


def _body(
    walker: _Walker, step: Step, place: _Place
) -> Generator[Turn, Outcome, tuple[dict[str, Outcome], Mapping[str, Any]]]:
    """Walk a group's steps; a template's see only its inputs, a plain group's also what is around it."""
    if step.inputs is None:
        return (yield from _block(walker, step.steps, place)), {}
    inputs = _resolved(step, step.inputs, place.base)
    inner = {**walker.base, "inputs": inputs}
    del inner["params"]
    done = yield from _block(walker, step.steps, replace(place, around={"inputs": inputs}, base=inner))
    views = {s.id: view(done[s.id], outputs_of(s)) for s in step.steps}
    return done, _resolved(step, step.outputs, {**inner, "steps": views})


def _ended(step: Step, here: _Here, inside: Iterable[Outcome], outputs: Mapping[str, Any]) -> Turn:
    found, path, because = list(inside), here.path, here.because
    state = group_state([one.state for one in found])
    first = next((one for one in found if one.state is State.FAILED), None)
    if state is State.FAILED and step.on_error == "warn":
        state = State.WARNED
    message = f"{first.path.removeprefix(path + '.')} failed" if first else ""
    outcome = Outcome(
        path=path, state=state, message=message, outputs=outputs, seconds=sum(one.seconds for one in found)
    )
    return Turn(step=step, path=path, because=because, settled=outcome)


def group_state(states: Sequence[State]) -> State:
    """Return the state of a group from those inside: the worst one, but a step left out by its guard is fine."""
    for state in (State.FAILED, State.WOULD, State.UNKNOWN, State.WARNED, State.OK):
        if state in states:
            return state
    return State.SKIPPED if states else State.OK


def outputs_of(step: Step) -> tuple[str, ...]:
    """Return the names of what a step gives."""
    if step.for_each is not None:
        return ("count", "results")
    return tuple(KINDS[step.kind].OUTPUTS) if step.kind else tuple(step.outputs)


def view(outcome: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """Return what guards and values of later steps see of an outcome.

    A step that would run is taken to succeed: that is the run a diff shows. Everything else of it is unknown.
    """
    state = outcome.state
    if state is State.UNKNOWN:
        return dict.fromkeys(("ok", "warned", "failed", "skipped", "state", *names), UNKNOWN)
    missing = UNKNOWN if state is State.WOULD else None
    found = {name: outcome.outputs.get(name, missing) for name in names}
    words = {
        "ok": state in (State.OK, State.WOULD),
        "warned": state is State.WARNED,
        "failed": state is State.FAILED,
        "skipped": state is State.SKIPPED,
        "state": state.value,
    }
    return found | words


def changes(action: Action) -> bool:
    """Say whether what a diff reads from the database may not be so after this action."""
    if isinstance(action, Together):
        return any(changes(one) for branch in action.branches for one in branch)
    return isinstance(action, CHANGING)


def acts(action: Action) -> bool:
    """Say whether the action does more than read or tell."""
    if isinstance(action, Together):
        return any(acts(one) for branch in action.branches for one in branch)
    return not isinstance(action, Note | Query | Check | Confirm | Verify)


# ------------------------------------------------------------------ the drive


@dataclass
class Drive:
    """What a drive of a walk came to. `error` is the first one that made a step fail."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    failures: dict[str, PlanrunError | None] = field(default_factory=dict)
    paused: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.failures)

    @property
    def error(self) -> PlanrunError | None:
        return next((error for error in self.failures.values() if error), None)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.outcomes[path].state.value for path, t in self.turns.items() if t.step.kind))

    @property
    def something_to_do(self) -> bool:
        actions = (action for turn in self.turns.values() for action in turn.actions)
        later = (turn.settled and turn.settled.state is State.WOULD and turn.step.kind for turn in self.turns.values())
        return any(map(acts, actions)) or any(later)


def drive(turns: Walk, answer: Answer, tell: Tell, *, until: str = "") -> Drive:
    """Give every turn its answer, telling each before and after; stop after the step `until` or an interruption."""
    done = Drive()
    turn = next(turns, None)
    while turn is not None:
        tell(TurnTold(turn=turn))
        outcome = turn.settled or answer(turn)
        tell(OutcomeTold(outcome=outcome))
        _note(done, turn, outcome)
        if isinstance(outcome.error, Interrupted):
            break
        if until and turn.path == until:
            done.paused = not done.failed
            break
        turn = _after(turns, outcome)
    turns.close()
    return done


def _note(done: Drive, turn: Turn, outcome: Outcome) -> None:
    done.turns[turn.path], done.outcomes[turn.path] = turn, outcome
    if outcome.state is State.FAILED:
        done.failures[turn.path] = outcome.error
    elif turn.step.steps and outcome.state is State.WARNED:  # the group says that what fails inside only warns
        inside = (f"{turn.path}.", f"{turn.path}[")
        done.failures = {path: error for path, error in done.failures.items() if not path.startswith(inside)}


def _after(turns: Walk, outcome: Outcome) -> Turn | None:
    try:
        return turns.send(outcome)
    except StopIteration:
        return None


# ------------------------------------------------------------------ the answers


def unasked(turn: Turn) -> Outcome:
    """The answer of render: nothing is done and nothing is asked."""
    given = turn.give([None] * len(turn.actions))
    return Outcome(path=turn.path, state=State.WOULD, outputs=given)


def would(world: World) -> Answer:
    """The answer of diff: nothing is done, but what only reads is asked, so that later steps can be told."""

    def answer(turn: Turn) -> Outcome:
        began = time.monotonic()
        try:
            results = [None if turn.stale else _read(world, action) for action in turn.actions]
        except PlanrunError as exc:
            return failure(turn.step, turn.path, exc)
        in_way = [row for result in results if result for row in result.get("in_the_way", [])]
        if in_way:
            hint = next((one.hint for one in turn.actions if isinstance(one, Check) and one.hint), "")
            return failure(turn.step, turn.path, TargetError(f"in the way: {'; '.join(in_way)}", hint=hint))
        given = {k: UNKNOWN if turn.stale else v for k, v in turn.give(results).items()}
        seconds = time.monotonic() - began
        return Outcome(path=turn.path, state=State.WOULD, outputs=given, seconds=seconds)

    return answer


def _read(world: World, action: Action) -> Result | None:
    match action:
        case Query():
            return {"rows": world.ask(action.text, connection=action.connection, limit=action.limit)}
        case Check():
            return {"in_the_way": in_the_way(world.ask(action.text, connection=action.connection))}
        case Together():
            branches = [[_read(world, one) for one in branch] for branch in action.branches]
            return {"branches": branches}
        case _:
            return None


def in_the_way(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first column of each row of a Check, as text."""
    return [str(next(iter(row.values()), "")) for row in rows]


class Hands(Protocol):
    """What acts. `at` is the action's place in the journal: the turn's path and the action's key."""

    def act(self, action: Action, at: At, cancel: Cancel) -> Result: ...


@dataclass(frozen=True)
class At:
    path: str
    key: str


_Finished = dict[tuple[str, str], Result]


@dataclass(frozen=True)
class _Acting:
    """What every action of a run needs. `finished` grows: no action is done twice, neither by a resume nor by a retry."""

    hands: Hands
    tell: Tell
    finished: _Finished
    keep_going: bool


def acting(
    hands: Hands,
    tell: Tell,
    cancel: Cancel,
    done: Mapping[tuple[str, str], Result] | None = None,
    *,
    keep_going: bool = False,
) -> Answer:
    """The answer of apply and resume. `done` holds results of actions that an earlier attempt finished.

    keep_going: an item of a `for_each` that fails does not stop the others; the step is then partly done.
    """
    run = _Acting(hands, tell, dict(done or {}), keep_going)

    def answer(turn: Turn) -> Outcome:
        began, attempt = time.monotonic(), 1
        while True:
            try:
                cancel.check()
                with cancel.child() as inner, _deadline(inner, turn):
                    results = _act_all(run, turn.path, keyed(turn.actions), inner)
                return _gone_well(turn, results, time.monotonic() - began, attempt)
            except PlanrunError as exc:
                if not _again(exc, turn.step.retry, attempt):
                    seconds = time.monotonic() - began
                    return failure(turn.step, turn.path, exc, seconds=seconds, attempts=attempt)
                delay = turn.step.retry.delay * (0.5 + random.random())
                of = turn.step.retry.attempts
                tell(Retrying(path=turn.path, attempt=attempt, of=of, delay=delay, message=exc.message))
                _sleep(delay, cancel)
                attempt += 1

    return answer


def _gone_well(turn: Turn, results: Sequence[Result], seconds: float, attempts: int) -> Outcome:
    return Outcome(path=turn.path, state=State.OK, outputs=dict(turn.give(results)), seconds=seconds, attempts=attempts)


def _again(exc: PlanrunError, retry: Retry, attempt: int) -> bool:
    return isinstance(exc, TargetError) and exc.category in retry.on and attempt < retry.attempts


def _sleep(seconds: float, cancel: Cancel) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and cancel.reason is None:
        time.sleep(min(left, 0.05))


def _deadline(cancel: Cancel, turn: Turn) -> Any:
    return cancel.after(
        turn.step.timeout,
        TargetError(
            f"timed out after {turn.step.timeout:g} s" if turn.step.timeout else "",
            hint="raise the step's `timeout:`, or look at what it waits for: planrun doctor",
            category="timeout",
        ),
    )


_Keyed = Sequence[tuple[str, Action]]


def keyed(actions: Sequence[Action]) -> list[tuple[str, Action]]:
    """Give each action a key that is the same in the next attempt: a digest of its content and its occurrence.

    A group of branches has its occurrence alone: when a list has changed, its items still have their keys.
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
    """Do what is not finished. What only reads is asked again, unless something behind it was already done."""
    places = [At(path, key) for key, _ in actions]
    began = (n for n, (_, one) in enumerate(actions) if acts(one) and _begun(places[n], one, run.finished))
    begun = max(began, default=-1)
    results = []
    for number, (at, (_, action)) in enumerate(zip(places, actions, strict=True)):
        if number > begun and not acts(action):
            run.finished.pop((at.path, at.key), None)
        results.append(_act(run, at, action, cancel))
    return results


def _begun(at: At, action: Action, finished: _Finished) -> bool:
    if isinstance(action, Together):
        return any(path == at.path and key.startswith(f"{at.key}/") for path, key in list(finished))
    return (at.path, at.key) in finished


def _act(run: _Acting, at: At, action: Action, cancel: Cancel) -> Result:
    if (old := run.finished.get((at.path, at.key))) is not None:
        return old
    cancel.check()
    if isinstance(action, Together):
        return {"branches": _together(run, at, action, cancel)}
    result = run.hands.act(action, at, cancel)
    run.finished[at.path, at.key] = result
    run.tell(ActionDone(path=at.path, key=at.key, result=result, stamped=bool(result.get("stamped"))))
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
            inner.cancel(PlanrunError("another branch met a bug in planrun"))
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
    flat = keyed([action for branch in group.branches for action in branch])
    start = 0
    for branch in group.branches:
        yield [(f"{at.key}/{key}", action) for key, action in flat[start : start + len(branch)]]
        start += len(branch)
