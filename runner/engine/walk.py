"""Walk a plan: guard, look, render, then hand over the planned step and wait for its outcome.

`walk` never acts. It yields each PlannedStep and receives the Outcome, so that diff, apply and resume drive the same
walk, and apply does what diff shows.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from runner import guard, values
from runner.errors import (
    ConnectError,
    Interrupted,
    Mark,
    NotKnownYet,
    PlanError,
    PlanrunError,
    Problem,
    RefusedError,
    StaleError,
    TargetError,
)
from runner.fates import ObjectFate, Preview, join, with_basis, worse
from runner.kinds import KINDS
from runner.kinds.base import CatalogReader, Kind, Prospect, Render, SqlParams, build, move_files
from runner.model import (
    UNKNOWN,
    Action,
    Command,
    Note,
    Outcome,
    Plan,
    PlannedStep,
    Result,
    State,
    Step,
    Together,
    Trial,
)
from runner.record import dataclass
from runner.redact import Redactor, secrets_of
from runner.words import PLAN

Walk = Generator[PlannedStep, Outcome, None]
Answer = Callable[[PlannedStep], Outcome]
Recorded = Mapping[str, Outcome]
Approved = Mapping[str, Sequence[ObjectFate]]
"""The fates of the objects in the approved diff, by the path of the step."""

_Scope = Mapping[str, Any]
_Block = Generator[PlannedStep, Outcome, dict[str, Outcome]]

SUCCESSFUL = {State.OK, State.WARNED, State.WOULD}


@dataclass(frozen=True, kw_only=True)
class HookBlock:
    """What the steps of a block of hooks see besides each other. name: that of the block, such as on_exit.

    run: how the run ended, for `${run.x}` and guards. steps: the views of its steps. doubt: why it is unknown whether
    the block runs at all; "" in a run. changed: earlier steps would change what a diff reads now.
    """

    name: str
    run: _Scope
    steps: _Scope
    doubt: str = ""
    changed: bool = False


@dataclass
class _Walker:
    reader: CatalogReader
    render: Render
    base: _Scope
    recorded: Recorded
    redactor: Redactor
    acting: bool
    altered: bool
    approved: Approved | None = None
    hook: HookBlock | None = None
    changed: bool = False
    anew: bool = False
    gone: str = ""
    previews: list[tuple[str, Preview]] = field(default_factory=list)


def walk(
    plan: Plan,
    steps: Sequence[Step],
    reader: CatalogReader,
    render: Render,
    recorded: Recorded | None = None,
    *,
    run: str = "",
    started: str = "",
    altered: bool = False,
    approved: Approved | None = None,
    hook: HookBlock | None = None,
) -> Walk:
    """Yield the planned step of every step in order and receive its outcome. Only this module knows the order.

    `recorded` holds the outcomes of an earlier attempt at the same plan, by path: the planned step of such a path is
    settled, and nothing is looked up for it. `run` is the value of `${run.id}`; a diff has none. `started` is the value
    of `${run.started}`: in a resumed run, the time of its first attempt, so that texts that contain it stay the same.
    altered: the plan has changed since that attempt; steps recorded after a step that acts again are done again,
    because a proof of an earlier state proves nothing now. approved: a step fails before it acts when an object loses
    more than the approved diff said. hook: the steps are those of a block of hooks.
    """
    about = {"id": run or UNKNOWN, "started": started or reader.start_time.isoformat(), "plan": plan.name}
    around: _Scope = {"params": plan.params}
    if hook is not None:
        about |= hook.run
        around = {**around, **hook.steps, "run": about}
    base = {"params": plan.params, "env": plan.env, "run": about}
    redactor = Redactor(plan.env)
    redactor.learn(*secrets_of(plan.notify))
    walker = _Walker(reader, render, base, recorded or {}, redactor, bool(run), altered, approved, hook)
    walker.changed = hook is not None and hook.changed
    prefix, doubt = (f"{hook.name}.", hook.doubt) if hook else ("", "")
    yield from _block(walker, steps, _BlockContext(around, base, prefix, doubt))


@dataclass(frozen=True)
class _BlockContext:
    """The surroundings of a block: the views of steps around it, the roots of `${}`, the path of its group with a dot.

    `doubt` is the reason why it is unknown whether the block runs at all; empty in a run.
    """

    around: _Scope
    base: _Scope
    prefix: str
    doubt: str = ""


@dataclass(frozen=True)
class _StepContext:
    """The surroundings of a step: what its guard and its values see, its path, and the verdict of its guard."""

    visible: _Scope
    scope: _Scope
    path: str
    because: str = ""
    doubt: str = ""


def _block(walker: _Walker, steps: Sequence[Step], place: _BlockContext) -> _Block:
    """Walk the steps of one block in order."""
    done: dict[str, Outcome] = {}
    views: dict[str, Any] = {}
    visible = ChainMap(views, dict(place.around))
    here = _StepContext(visible, {**place.base, "steps": visible}, "")
    so_far = guard.Verdict(True, "")
    for step in steps:
        verdict = _verdict(step, so_far, visible, place.doubt)
        doubt = verdict.because if verdict.holds is None else ""
        at = replace(here, path=place.prefix + step.id, because=verdict.because, doubt=doubt)
        outcome = yield from _step(walker, step, verdict, at)
        done[step.id] = outcome
        views[step.id] = view(outcome, outputs_of(step))
        if not (walker.hook and place.prefix == f"{walker.hook.name}."):  # hooks do not wait for each other
            so_far = _default_guard(so_far, step.id, outcome)
    return done


def _default_guard(verdict: guard.Verdict, name: str, outcome: Outcome) -> guard.Verdict:
    """The default guard, step by step: every earlier step is ok or warned."""
    if verdict.holds is False or outcome.state in SUCCESSFUL:
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


def _step(
    walker: _Walker, step: Step, verdict: guard.Verdict, here: _StepContext
) -> Generator[PlannedStep, Outcome, Outcome]:
    old = None if walker.altered and walker.anew else walker.recorded.get(here.path)
    if step.kind and old:
        return (yield _plan_recorded_step(walker, step, old))
    if step.kind and walker.gone:
        return (yield _settle(step, here.path, State.SKIPPED, walker.gone))
    if verdict.holds is False:
        return (yield _settle(step, here.path, State.SKIPPED, verdict.because))
    try:
        if step.steps:
            return (yield from _group(walker, step, here))
        planned = _plan_kind(walker, step, here)
    except PlanrunError as exc:
        planned = _plan_error(walker, step, here, exc)
    if here.doubt:
        planned = replace(planned, settled=Outcome(path=here.path, state=State.UNKNOWN, message=here.doubt))
    outcome = yield planned
    later = planned.settled is not None and planned.settled.state is State.WOULD
    walker.anew = walker.anew or later or any(map(acts, planned.actions))
    if planned.stale and outcome.state is State.WOULD:
        outcome = replace(outcome, outputs=dict.fromkeys(outcome.outputs, UNKNOWN))
    if outcome.state in (State.WOULD, State.UNKNOWN) and any(map(changes, planned.actions)):
        walker.changed = True
    return outcome


def _plan_recorded_step(walker: _Walker, step: Step, old: Outcome) -> PlannedStep:
    """Plan a finished step. It fails if what the step made is gone, because later steps depend on it."""
    check = getattr(KINDS[step.kind], "check_earlier", None)
    each = [old.outputs] if step.for_each is None else old.outputs.get("results", [])
    gone = [why for outputs in each if check and (why := check(outputs, walker.reader))]
    if gone:
        # other finished steps may depend on it: a proof of this backup is still ok although the backup is gone
        walker.gone = walker.gone or f"the objects that {old.path} made are gone"
        error = StaleError(
            "; ".join(gone),
            hint=f"this run cannot continue without it; start again: planrun apply {PLAN}",
            code="PR0507",
        )
        strict = replace(step, on_error="fail")
        return PlannedStep(step=step, path=old.path, settled=failure(strict, old.path, error))
    return PlannedStep(step=step, path=old.path, because="done by an earlier attempt", settled=old)


def _settle(step: Step, path: str, state: State, message: str) -> PlannedStep:
    return PlannedStep(step=step, path=path, settled=Outcome(path=path, state=state, message=message))


def _plan_error(walker: _Walker, step: Step, here: _StepContext, exc: PlanrunError) -> PlannedStep:
    if needs := _needs(walker, exc):
        return _later(walker, step, here, _UnknownActions(needs))
    return PlannedStep(step=step, path=here.path, settled=failure(step, here.path, exc))


def _needs(walker: _Walker, exc: PlanrunError) -> str:
    """Return what the step needs that is created only during the run, or "" if the error has another cause."""
    if isinstance(exc, NotKnownYet) and not walker.acting:
        return exc.message
    lost = isinstance(exc, TargetError) and exc.category == "connection" and not isinstance(exc, ConnectError)
    if walker.changed and not lost and not isinstance(exc, RefusedError):
        # an earlier step of the same plan may create what is missing now
        return f"what earlier steps change (now: {exc.message})"
    return ""


@dataclass(frozen=True)
class _UnknownActions:
    """Why the actions of a step are unknown until run, and the preview that is possible now."""

    needs: str
    preview: Preview | None = None


@dataclass(frozen=True)
class _KnownActions:
    """The actions of a step, the function that turns their results into outputs, and the preview."""

    actions: tuple[Action, ...]
    give: Callable[[Sequence[Result | None]], Mapping[str, Any]]
    preview: Preview | None


def _later(walker: _Walker, step: Step, here: _StepContext, later: _UnknownActions) -> PlannedStep:
    """Plan a step that would run, but whose actions are known only during the run."""
    walker.changed = walker.changed or bool(step.steps) or getattr(KINDS[step.kind], "CHANGES", False)
    known = "preliminary" if later.preview else "details are unknown until run"
    planned = _settle(step, here.path, State.WOULD, f"{known}; the step needs {later.needs}")
    return replace(planned, because=here.because, preview=later.preview)


def failure(step: Step, path: str, exc: PlanrunError, *, seconds: float = 0.0, attempts: int = 1) -> Outcome:
    """Return the outcome of a step that raised: failed, or warned if the step has `on_error: warn`."""
    soft = step.on_error == "warn" and not isinstance(exc, Interrupted)
    exc.where = exc.where or _place_of_sql(step, exc)
    where = f"{exc.where}: " if exc.where else ""
    return Outcome(
        path=path,
        state=State.WARNED if soft else State.FAILED,
        message=where + exc.message,
        hint=exc.hint,
        code=exc.code,
        seconds=seconds,
        attempts=attempts,
        error=exc,
    )


def _place_of_sql(step: Step, exc: PlanrunError) -> Mark | None:
    """Return the place of the step if the server refused SQL that the author of the plan wrote."""
    refused = isinstance(exc, TargetError) and bool(exc.sqlstate)
    written = bool(step.kind) and issubclass(KINDS[step.kind].Params, SqlParams)
    return step.where if refused and written else None


def _plan_kind(walker: _Walker, step: Step, here: _StepContext) -> PlannedStep:
    if step.for_each is not None:
        return _plan_each(walker, step, here)
    one = _render(walker, step, here.scope)
    if isinstance(one, _UnknownActions):
        return _later(walker, step, here, one)
    return _plan_ready(walker, step, here, one)


def _plan_ready(walker: _Walker, step: Step, here: _StepContext, one: _KnownActions) -> PlannedStep:
    _refuse_worse(walker, here.path, one.preview)
    return PlannedStep(
        step=step,
        path=here.path,
        because=here.because,
        actions=one.actions,
        give=one.give,
        stale=walker.changed,
        preview=one.preview,
    )


def _refuse_worse(walker: _Walker, path: str, preview: Preview | None) -> None:
    """Raise PlanrunError if an object loses more than the approved diff said."""
    if walker.approved is None or path not in walker.approved or preview is None:
        return
    if found := list(worse(walker.approved[path], preview.objects)):
        raise PlanrunError(
            f"this is worse than the diff that was approved: {'; '.join(found)}",
            hint=f"nothing of this step was done; planrun apply {PLAN} --resume shows the new diff and asks again",
            code="PR0506",
        )


def _plan_each(walker: _Walker, step: Step, here: _StepContext) -> PlannedStep:
    """Plan all items of `for_each` as one planned step: a Together with one branch for each item."""
    items = _items(step, here.scope)
    if items is UNKNOWN:
        return _later(walker, step, here, _UnknownActions("the list of for_each"))
    each = [_render(walker, step, {**here.scope, "item": item}) for item in items]
    if unknown := [one for one in each if isinstance(one, _UnknownActions)]:
        return _later(walker, step, here, unknown[0])
    known = [one for one in each if isinstance(one, _KnownActions)]
    group = Together(branches=tuple(one.actions for one in known), jobs=step.jobs)
    gives = [one.give for one in known]

    def give_each(results: Sequence[Result | None]) -> Mapping[str, Any]:
        branches = (
            results[0]["branches"] if gives and results and results[0] else [[None] * len(b) for b in group.branches]
        )
        return {"count": len(gives), "results": [dict(g(b)) for g, b in zip(gives, branches, strict=True)]}

    actions: tuple[Action, ...] = (group,) if gives else (Note(text=_NO_ITEM, idle=True),)
    return _plan_ready(walker, step, here, _KnownActions(actions, give_each, join([one.preview for one in known])))


def _render(walker: _Walker, step: Step, scope: _Scope) -> _KnownActions | _UnknownActions:
    """Return the actions of one kind, or why they are unknown until run."""
    data = _resolve(step, step.values, scope)
    kind = KINDS[step.kind]
    walker.reader.stale = walker.changed
    if values.has_unknown(data):
        missing = [r.text for _, r in values.refs(step.values) if values.has_unknown(values.lookup(r.names, scope))]
        return _UnknownActions(", ".join(dict.fromkeys(missing)), _preview(walker, step, data))
    params = None
    try:
        params = move_files(build(kind.Params, data, walker.reader.folder), walker.reader.file)
        facts = kind.look(params, walker.reader)
        actions = kind.render(params, facts, walker.render)
        _refuse_secret_argv(walker, step, actions)
    except PlanrunError as exc:
        if exc.exit_code == PlanError.exit_code:
            exc.where = exc.where or step.where  # the plan is wrong: name the place
        if params is None or not (needs := _needs(walker, exc)):
            raise
        return _UnknownActions(needs, _preview(walker, step, data, params))
    return _KnownActions(
        actions,
        lambda results: kind.give(params, facts, results),
        _preview(walker, step, data, params, facts, looked=True),
    )


def _preview(
    walker: _Walker, step: Step, data: Any, params: Any = None, facts: Any = None, *, looked: bool = False
) -> Preview | None:
    """Return the preview of a step, None if there is none; in a run, what the step does."""
    kind = KINDS[step.kind]
    known = _fates(kind, params, facts) if looked else None
    if walker.acting:
        return known
    preview = _tell(walker, step, data, params, facts, known)
    return with_basis(preview, getattr(params, "connection", "")) if preview else None


def _tell(walker: _Walker, step: Step, data: Any, params: Any, facts: Any, known: Preview | None) -> Preview | None:
    """Return the kind's preview, or `known` if it has none, and keep it for later steps."""
    if not (tell := getattr(KINDS[step.kind], "preview", None)):
        return known
    try:
        preview: Preview | None = tell(
            Prospect(values=data, params=params, facts=facts, reader=walker.reader, earlier=walker.previews)
        )
    except NotKnownYet:  # offline, or before its requirements exist
        preview = known
    if preview:
        walker.previews.append((step.kind, preview))
    return preview


def _fates(kind: Kind, params: Any, facts: Any) -> Preview | None:
    tell = getattr(kind, "fates", None)
    return Preview(objects=tuple(tell(params, facts))) if tell else None


def _refuse_secret_argv(walker: _Walker, step: Step, actions: Sequence[Action]) -> None:
    argv = [word for action in actions if isinstance(action, Command | Trial) for word in action.argv]
    if any(map(walker.redactor.holds, argv)):
        raise PlanError(
            Problem(
                step.where,
                "argv would contain a secret from the environment, and every user can read the arguments of a process",
                "name the variable in `env:`, so that the program reads it there",
                code="PR0209",
            )
        )


def _resolve(step: Step, tree: Any, scope: _Scope) -> Any:
    try:
        return values.resolve(tree, scope)
    except KeyError as exc:
        if str(exc.args[0]).startswith("env."):  # only an offline plan has one that is not set
            raise NotKnownYet(f"the variable {exc.args[0].removeprefix('env.')}", code="PR0202") from None
        raise PlanrunError(
            f"${{{exc.args[0]}}} has no value", where=step.where, hint=f"planrun explain {PLAN}", code="PR0208"
        ) from None


_NO_ITEM = "the list of for_each is empty: nothing to do"


def _items(step: Step, scope: _Scope) -> Any:
    items = _resolve(step, step.for_each, scope)
    if items is UNKNOWN or isinstance(items, list | tuple):
        return items
    if items is None:
        return []
    raise PlanrunError(f"for_each needs a list, not {type(items).__name__}", where=step.where, code="PR0208")


def _group(walker: _Walker, step: Step, here: _StepContext) -> Generator[PlannedStep, Outcome, Outcome]:
    if step.for_each is None:
        place = _BlockContext(here.visible, here.scope, here.path + ".", here.doubt)
        done, outputs = yield from _body(walker, step, place)
        return (yield _plan_group(step, here, done.values(), outputs))
    items = _items(step, here.scope)
    if items is UNKNOWN:
        return (yield _later(walker, step, here, _UnknownActions("the list of for_each")))
    rounds: list[Outcome] = []
    results: list[Any] = []
    for number, item in enumerate(items):
        if any(one.state is State.FAILED for one in rounds):
            break
        around, base = {**here.visible, "item": item}, {**here.scope, "item": item}
        place = _BlockContext(around, base, f"{here.path}[{number}].", here.doubt)
        done, outputs = yield from _body(walker, step, place)
        rounds += done.values()
        results.append(dict(outputs))
    return (yield _plan_group(step, here, rounds, {"count": len(items), "results": results}))


def _body(
    walker: _Walker, step: Step, place: _BlockContext
) -> Generator[PlannedStep, Outcome, tuple[dict[str, Outcome], Mapping[str, Any]]]:
    """Walk a group's steps. A template's steps see only its inputs; a plain group's also see the steps around it."""
    if step.inputs is None:
        return (yield from _block(walker, step.steps, place)), {}
    inputs = _resolve(step, step.inputs, place.base)
    inner = {**walker.base, "inputs": inputs}
    del inner["params"]
    done = yield from _block(walker, step.steps, replace(place, around={"inputs": inputs}, base=inner))
    views = {s.id: view(done[s.id], outputs_of(s)) for s in step.steps}
    return done, _resolve(step, step.outputs, {**inner, "steps": views})


def _plan_group(step: Step, here: _StepContext, inside: Iterable[Outcome], outputs: Mapping[str, Any]) -> PlannedStep:
    found, path, because = list(inside), here.path, here.because
    state = group_state([one.state for one in found])
    first = next((one for one in found if one.state is State.FAILED), None)
    if state is State.FAILED and step.on_error == "warn":
        state = State.WARNED
    message = "" if found else _NO_ITEM
    if first:
        message = f"{first.path.removeprefix(path + '.')} failed"
    outcome = Outcome(
        path=path, state=state, message=message, outputs=outputs, seconds=sum(one.seconds for one in found)
    )
    return PlannedStep(step=step, path=path, because=because, settled=outcome)


def group_state(states: Sequence[State]) -> State:
    """Return the state of a group: the worst state of its steps, except those that their own guard skipped."""
    for state in (State.FAILED, State.WOULD, State.UNKNOWN, State.WARNED, State.OK):
        if state in states:
            return state
    return State.SKIPPED if states else State.OK


def outputs_of(step: Step) -> tuple[str, ...]:
    """Return the names of the outputs of a step."""
    if step.for_each is not None:
        return ("count", "results")
    return tuple(KINDS[step.kind].OUTPUTS) if step.kind else tuple(step.outputs)


def view(outcome: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """Return what guards and values of later steps see of an outcome.

    A diff assumes that a step that would run succeeds. Everything else about it is unknown.
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
    """Return whether this action may change what a diff read from the database."""
    if isinstance(action, Together):
        return any(changes(one) for branch in action.branches for one in branch)
    return action.CHANGES


def acts(action: Action) -> bool:
    """Return whether the action does more than read or report."""
    if isinstance(action, Together):
        return any(acts(one) for branch in action.branches for one in branch)
    return not action.READS
