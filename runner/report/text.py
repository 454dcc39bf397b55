"""Format planned steps and outcomes as plain text: nothing is truncated and nothing is coloured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from runner.errors import with_code
from runner.events import (
    Event,
    HooksBegan,
    Progress,
    Resuming,
    Retrying,
    RunBegan,
    RunEnded,
    StepEnded,
    StepPlanned,
    Waiting,
    Warned,
)
from runner.fates import ObjectFate
from runner.model import HOOKS, Note, PlannedStep, Sql, State
from runner.report import actions, ending, locks
from runner.report import summary as summary_of
from runner.result import RunResult, StepResult
from runner.words import change_line, one_line, plural, printable, seconds, shown_name, size

_ORDER = [state.value for state in (State.WOULD, State.OK, State.WARNED, State.FAILED, State.SKIPPED, State.UNKNOWN)]


def diff(result: RunResult, *, verbose: bool = False) -> str:
    """Return the whole diff: what becomes of each object, each step with its guard, then the counts."""
    notes = [f"  # {one_line(note)}" for note in result.notes]
    lines = [*map(one_line, result.databases), *notes, f"Plan {one_line(result.plan)}: what {result.of} would do", ""]
    if first := list(summary_of.lines(summary_of.summarize(result), way_back=result.way_back, verbose=verbose)):
        lines += [*first, ""]
    lines += [*(f"  ! {one_line(line)}" for line in result.surroundings), *([""] if result.surroundings else [])]
    for step in groups_first(result.steps):
        lines += [*step_lines(step, verbose=verbose), *([""] if not step.planned.step.steps and verbose else [])]
    lines += [] if verbose or not (result.hooks or result.told) else [""]
    lines += hook_lines(result.hooks, verbose=verbose)
    lines += [f"  told of the run: {one_line(told)}" for told in result.told]
    stops = ["Then it stops, as --until says."] if result.state == "paused" else []
    more = [] if verbose or not any(step.planned.actions for step in result.steps) else [_MORE]
    return (
        "\n".join([*lines, *([] if verbose else [""]), counts_text(result.counts), *stops, *more, *_errors(result)])
        + "\n"
    )


def hook_lines(steps: Sequence[StepResult], *, verbose: bool = False) -> list[str]:
    """Return the hooks of a diff, each block below a line that says when it would run."""
    found: list[str] = []
    for name, when in HOOKS.items():
        inside = [step for step in steps if step.path.startswith(f"{name}.")]
        found += [f"  {name}: would run {when}"] if inside else []
        for step in groups_first(inside):
            shown = before_run(step)
            shown = replace(shown, state=shown.state.removesuffix(f" {when}"))  # the heading says it
            found += step_lines(shown, verbose=verbose)
            found += [""] if verbose else []
    return found


def before_run(step: StepResult) -> StepResult:
    """Return a step of a diff; a hook that waits for nothing but the end of the run is said to do so."""
    when = HOOKS.get(step.path.partition(".")[0], "")
    if not when or step.message != when or step.state != State.UNKNOWN:
        return step
    because = "" if step.planned.because == when else step.planned.because
    return replace(step, state=f"would run {when}", message="", planned=replace(step.planned, because=because))


_MORE = "SQL, checks and privilege queries: -v"


class _HasPath(Protocol):
    @property
    def path(self) -> str: ...


S = TypeVar("S", bound=_HasPath)


def groups_first(steps: Iterable[S]) -> list[S]:
    """Return the steps with each group before its steps: it ends after them, but is displayed as their heading."""
    found: list[S] = []
    for step in steps:
        at = len(found)
        while at and found[at - 1].path.startswith((step.path + ".", step.path + "[")):
            at -= 1
        found.insert(at, step)
    return found


def step_lines(step: StepResult, *, verbose: bool = False) -> list[str]:
    """Return one step of a diff; a group is a line, a step has its actions below it."""
    planned = step.planned
    head = f"  {step.path}  {planned.step.uses}  [{step.state}]"
    if planned.step.steps:
        return [head]
    if step.state in (State.OK, State.WARNED):
        return [f"{head}  {planned.because}"]
    body = [one_line(planned.because)] if planned.because else []
    body += protection_lines(step)
    body += _actions(step) if verbose else _facts(step)
    body += locks.step_lines(step, verbose=verbose)
    if step.message not in ("", planned.because) and not (planned.preview and step.state == State.WOULD):
        sign = "!" if step.state in (State.FAILED, State.WARNED) else "#"
        first, *more = _lines(with_code(step.code, step.message))
        body += [f"{sign} {first}", *(f"    {line}" for line in more)]
    if step.hint:
        body.append(f"  hint: {one_line(step.hint)}")
    return [head, *(f"      {line}" for line in body)]


def protection_lines(step: StepResult) -> list[str]:
    """Return how a step that removes something is protected, or why it needs no protection."""
    reason = step.planned.step.acknowledge
    chain = [f"# protected: {one_line(step.protection)}"] if step.protection else []
    return [*chain, *([f"! acknowledged: {one_line(reason)}"] if reason else [])]


def _actions(step: StepResult) -> Iterator[str]:
    """Yield everything that a step would do; if that is unknown until run, what is known now."""
    planned = step.planned
    yield from [_REHEARSED] if step.rehearsed else _preliminary(planned)
    for action in planned.actions:
        yield from map(printable, actions.lines(action, verbose=True))
    if not planned.actions and planned.preview:
        yield from (f"# {one_line(line)}" for line in planned.preview.lines)
    yield from _outputs(step)


_REHEARSED = "# as rehearsed on a scratch copy"


def _preliminary(planned: PlannedStep) -> Iterator[str]:
    if planned.stale and any(one.SEEN for one in planned.actions):
        yield "# preliminary: earlier steps change the database"


def _facts(step: StepResult) -> Iterator[str]:
    """Yield what a reviewer needs to know of a step: its facts and objects, without SQL."""
    planned, preview = step.planned, step.planned.preview
    if step.rehearsed:
        yield _REHEARSED
    if preview and preview.lines:
        yield from (f"# {one_line(line)}" for line in preview.lines)
    else:
        yield from () if step.rehearsed else _preliminary(planned)
        for action in planned.actions:
            if not (preview and isinstance(action, Sql)):  # its objects contain more detail
                yield from map(printable, actions.brief(action))
    told = any(isinstance(one, Note) for one in planned.actions)  # the lines about these objects
    if preview and not told and not preview.locks and len(preview.objects) <= _FEW:
        yield from (f"{summary_of.sign(one)} {one_line(_object(one))}" for one in preview.objects)
    yield from _outputs(step)


_FEW = 3
"""Up to this many objects are also named below their step; otherwise only in the summary."""


def _object(one: ObjectFate) -> str:
    return f"{one.what}: {one.note or one.fate}"


def _outputs(step: StepResult) -> Iterator[str]:
    planned = step.planned
    if planned.stale or any(isinstance(one, Note) for one in planned.actions):
        return
    if given := outputs_text(step.outputs):
        yield f"# {given}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return "3 would run, 1 skipped." """
    words = [f"{counts[state]} {state}" for state in _ORDER if counts.get(state)]
    return f"{', '.join(words) or 'nothing to do'}."


def _errors(result: RunResult) -> list[str]:
    return (
        [f"error: {one_line(with_code(result.error.code, result.error.message))}"]
        if result.error and not result.steps
        else []
    )


def outputs_text(outputs: Mapping[str, Any]) -> str:
    """Return the outputs that fit into a line: "3 tables, 6,020 rows, 750 kB"; unknown ones are left out."""
    lists = {name for name, value in outputs.items() if isinstance(value, list)}
    words = (_word(name, value) for name, value in outputs.items() if not (name == "count" and lists))
    return ", ".join(word for word in words if word)


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool) or name == "files":
        return ""
    if isinstance(value, int) and name == "bytes":
        return size(value)
    if name.endswith("_ms") and isinstance(value, int | float):
        return f"{name.removesuffix('_ms')} for {seconds(value / 1000)}" if value else ""
    if isinstance(value, int):
        return plural(value, name.removesuffix("s"), name) if name.endswith("s") else f"{name} {value:,}"
    if isinstance(value, list) and value:
        return plural(len(value), name.removesuffix("s").replace("_", " "), name.replace("_", " "))
    if isinstance(value, str) and value.strip() and "\n" not in value.strip():
        return f"{name} {one_line(value)}"
    return ""


def summary(result: RunResult) -> str:
    """Return how a run ended: what failed, the counts, and the next command to type."""
    wrong = [step for step in result.steps if step.state in ("failed", "warned") and not _repeats(step, result.steps)]
    lines = [line for step in wrong for line in _failure_lines(step)]
    lines += [line for step in result.steps for line in _notices(step)]
    lines += [line for warning in result.warnings for line in warning_lines(warning)]
    if result.state == "ok":
        lines += [f"{one.path}: not reached, {one_line(one.message)}" for one in result.steps if _is_unreached(one)]
    plan = one_line(result.plan)
    head = f"{plan}: {result.state} in {seconds(result.seconds)} (run {result.run}): {counts_text(result.counts)}"
    if result.hooks:
        head += f" Hooks: {counts_text(counts_of(result.hooks))}"
    if result.state == "declined":
        head = f"{plan}: declined; nothing was done"
    if result.state == "refused":
        head = f"{plan}: refused: this cannot succeed, whatever the earlier steps do; nothing was started"
    return (
        "\n".join(
            [
                *map(one_line, result.databases),
                *lines,
                head,
                *ending.lines(result),
                *([f"next: {result.next}"] if result.next else []),
            ]
        )
        + "\n"
    )


def _repeats(step: StepResult, steps: Sequence[StepResult]) -> bool:
    """Return whether a group only says that a step of it failed, which that step says with the reason."""
    inside = (f"{step.path}.", f"{step.path}[")
    told = any(one.path.startswith(inside) and one.state in ("failed", "warned") for one in steps)
    return bool(step.planned.step.steps) and not step.code and told


def counts_of(steps: Sequence[StepResult]) -> Mapping[str, int]:
    """Return how many steps of a kind ended in each state."""
    return Counter(step.state for step in steps if step.planned.step.kind)


def warning_lines(warning: Warned) -> list[str]:
    """Return what went wrong beside the steps of a run, and what to type."""
    first, *more = _lines(with_code(warning.code, warning.message))
    hint = [f"  hint: {one_line(warning.hint)}"] if warning.hint else []
    return [f"warning: {one_line(warning.about)}: {first}", *(f"    {line}" for line in more), *hint]


def _notices(step: StepResult) -> list[str]:
    """Return what a successful step did not do, left out or lost; a group does not repeat those of its steps."""
    if step.state == State.OK and step.message:
        return [f"{step.path}: {one_line(step.message)}"]
    if step.state != State.OK or not step.planned.step.kind:
        return []
    lines = [change_line(each) for each in _mappings(step, "changed") if "restore" in each]
    left = step.outputs.get("left")
    lines += [each for each in left if isinstance(each, str)] if isinstance(left, list) else []
    if "session" in step.outputs:
        lines += [
            f"left out {shown_name(str(each.get('schema') or ''), str(each.get('name')))}: {each['reason']}"
            for each in _mappings(step, "left_out")
            if "reason" in each
        ]
    return [f"{step.path}: ! {one_line(line)}" for line in lines] + _notices_of_trial(step)


def _notices_of_trial(step: StepResult) -> list[str]:
    """Return what a command would lose, by its run in a scratch copy, and what that copy could not show."""
    given = step.outputs
    if not given.get("seen"):
        return []
    head = "seen in " if given["loses"] else "nothing would be lost, as seen in "
    lines = [f"! would be lost: {one}" for one in str(given["losses"]).splitlines()]
    lines += [f"{_old_name(each)} would become {each['now']}" for each in _mappings(step, "renamed")]
    lines += [f"! not in the copy: {each['what']}: {each['reason']}" for each in _mappings(step, "unseen")]
    return [f"{step.path}: {one_line(line)}" for line in [*lines, head + str(given["seen"])]]


def _old_name(each: Mapping[str, Any]) -> str:
    table = shown_name(str(each["schema"]), str(each["name"]))
    return f"{table}, column {shown_name('', str(each['column']))}" if each["column"] else table


def _mappings(step: StepResult, name: str) -> list[Mapping[str, Any]]:
    value = step.outputs.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _is_unreached(step: StepResult) -> bool:
    """Return whether a step without a guard of its own was skipped: its author may have meant it to run."""
    return step.state == State.SKIPPED and step.planned.step.when is None


def _failure_lines(step: StepResult) -> list[str]:
    """Return why a step failed, line by line, and what to type."""
    first, *more = _lines(with_code(step.code, step.message))
    hint = [f"  hint: {one_line(step.hint)}"] if step.hint else []
    return [f"{step.path}: {first}", *(f"    {line}" for line in more), *hint]


def _lines(message: str) -> list[str]:
    return [printable(line.strip()) for line in message.splitlines()] or [""]


def event_line(event: Event, *, brief: bool = False) -> str:
    """Return the line of an event, or "" if the event is only for a live display.

    brief: without the reason of a failure, which a summary behind it says with its hint.
    """
    match event:
        case RunBegan():
            head = f"run {event.run} of plan {one_line(event.plan)} ({event.mode}), digest {event.digest[:12]}"
            return "\n".join([*map(one_line, event.databases), head])
        case Resuming():
            return "\n".join(resume_lines(event))
        case StepPlanned(planned=planned) if planned.settled is None:
            return f"{planned.path}: {planned.step.uses} begins{_because(planned)}"
        case StepEnded(outcome=outcome):
            words = [f"{outcome.path}: {outcome.state.value}"]
            if outcome.recorded:
                words.append("(by an earlier attempt)")
            said = outcome_message(event, brief=brief)
            words += [one_line(word) for word in (said, outputs_text(outcome.outputs)) if word]
            if outcome.seconds >= 0.001:
                words.append(f"in {seconds(outcome.seconds)}")
            return ", ".join(words)
        case Retrying():
            of = f" of {event.of}" if event.of else ""
            failed = f"attempt {event.attempt}{of} failed ({one_line(event.message)})"
            return f"{event.path}: {failed}; again in {seconds(event.delay)}"
        case Waiting(connection=connection, message=message):
            return one_line(f"connection {connection} {message}" if connection else message)
        case Progress(unit="line"):
            return f"{event.path}| {printable(event.what.rstrip())}"
        case HooksBegan():
            verb = "follow" if len(event.blocks) > 1 else "follows"
            return f"the run {ENDS.get(event.state, event.state)}; {' and '.join(event.blocks)} {verb}"
        case Warned():
            return "\n".join(warning_lines(event))
        case RunEnded() | Progress():
            return ""
        case _:
            return ""


def outcome_message(event: StepEnded, *, brief: bool) -> str:
    """Return the message of an outcome; brief: nothing of a failure."""
    told_later = brief and event.outcome.state in (State.FAILED, State.WARNED)
    return "" if told_later else event.outcome.message


ENDS = {"ok": "succeeded", "failed": "failed", "interrupted": "was interrupted", "paused": "is paused"}
"""The states of a run as the end of a sentence."""


def resume_lines(event: Resuming) -> list[str]:
    """Return what a resume found of the previous attempt: what is done, and what will be repeated."""
    last = f", last record {event.last[:19].replace('T', ' ')} UTC" if event.last else ""
    done = [f"  done before, not repeated: {one_line(', '.join(event.done))}"] if event.done else []
    begun = [f"  {one_line(path)}: {one_line(what)}" for path, what in event.begun.items()]
    return [
        *map(one_line, event.databases),
        f"resuming run {event.run}: {event.state}{last} ({one_line(event.who)})",
        *done,
        *begun,
    ]


def _because(planned: PlannedStep) -> str:
    return f" ({one_line(planned.because)})" if planned.because else ""
