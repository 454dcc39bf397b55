"""Collect what a plan does from its walk (runner.run.render or a diff), its SQL, and the verdicts on its steps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.effects.record import PlanEffects, StepEffects
from runner.errors import PlanrunError
from runner.fates import ObjectFate
from runner.impact import StepImpact
from runner.model import UNKNOWN, Action, Check, Command, Exchange, Note, Plan, Query, Sql, Step, Together
from runner.planfile import templates_of
from runner.protection.verdicts import StepVerdict, verdicts
from runner.redact import Redactor
from runner.report import actions
from runner.result import StepResult
from runner.run.hooks import blocks_before_run
from runner.run.render import render_steps
from runner.safesql import syntax
from runner.safesql.destruction import sql_effects
from runner.safesql.lock_table import Certainty, LockMode
from runner.safesql.templates import Templates
from runner.sqltext import Inline
from runner.values import Ref, Text
from runner.words import json_text, one_line

Objects = Mapping[tuple[bool, str], Sequence[ObjectFate]]
"""What becomes of objects, by (of the rollback, path of the step)."""


def effects_of(plan: Plan, env: Mapping[str, str], objects: Objects | None = None) -> PlanEffects:
    """Return what a plan does, as far as its files tell. objects: what a diff of it said, None without a database."""
    templates = templates_of(plan.root)
    judged = {(one.of_rollback, one.path): one for one in verdicts(plan, lambda given: sql_effects(given, templates))}
    steps = [
        _with_objects(one, objects or {})
        for of_rollback in (False, True)
        for one in _steps(plan, judged, templates, of_rollback=of_rollback)
    ]
    steps += [_with_objects(one, objects or {}) for one in _hooks(plan, judged, templates)]
    found = PlanEffects(
        name=plan.name,
        settings=dict(_plan_settings(plan)),
        files={name: _digest(text) for name, text in plan.content.items() if name not in ("params", "planrun")},
        steps=tuple(steps),
        asked=objects is not None,
        problems=tuple(dict.fromkeys(str(one.problem) for one in judged.values() if one.problem)),
    )
    return Redactor(plan.env, env).of(found)


def objects_of(results: Iterable[StepResult], *, of_rollback: bool) -> Objects:
    """Return what a diff said becomes of the objects of each step; the items of a `for_each` are put together."""
    found: dict[tuple[bool, str], list[ObjectFate]] = {}
    for one in results:
        preview = one.planned.preview
        if preview and preview.objects:
            found.setdefault((of_rollback, _path(one.path)), []).extend(preview.objects)
    return found


def _with_objects(one: StepEffects, objects: Objects) -> StepEffects:
    return replace(one, objects=tuple(objects.get(one.key, ())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _path(path: str) -> str:
    return re.sub(r"\[\d+\]", "", path)


# ------------------------------------------------------------------ steps


_Judged = Mapping[tuple[bool, str], StepVerdict]


def _steps(plan: Plan, judged: _Judged, templates: Templates, *, of_rollback: bool) -> Iterator[StepEffects]:
    """Yield every step in the order of the file, each group before what is in it."""
    steps = plan.rollback if of_rollback else plan.steps
    yield from _block(_flat(steps), render_steps(plan, steps), judged, templates, of_rollback=of_rollback)


def _hooks(plan: Plan, judged: _Judged, templates: Templates) -> Iterator[StepEffects]:
    """Yield every hook in the same way."""
    for steps, block in blocks_before_run(plan):
        named = _flat(steps, f"{block.name}.")
        yield from _block(named, render_steps(plan, steps, block), judged, templates, of_rollback=False)


def _block(
    steps: Iterable[tuple[str, Step]],
    results: Iterable[StepResult],
    judged: _Judged,
    templates: Templates,
    *,
    of_rollback: bool,
) -> Iterator[StepEffects]:
    walked: dict[str, list[StepResult]] = {}
    for one in results:
        walked.setdefault(_path(one.path), []).append(one)
    for path, step in steps:
        verdict = judged.get((of_rollback, path))
        done = [action for one in walked.get(path, ()) for action in one.planned.actions]
        statements, others, unknown = _statements_and_actions(step, done, templates)
        yield StepEffects(
            path=path,
            of_rollback=of_rollback,
            uses=step.uses,
            settings=dict(_step_settings(step)),
            statements=tuple(statements),
            actions=tuple(others),
            losses=verdict.what if verdict else (),
            verdict=verdict.verdict.value if verdict else "",
            chain=verdict.chain if verdict else "",
            locks=tuple(dict.fromkeys(line for one in walked.get(path, ()) for line in _locks(one.impact))),
            unknown=unknown,
        )


def _flat(steps: Sequence[Step], prefix: str = "") -> Iterator[tuple[str, Step]]:
    for step in steps:
        path = prefix + step.id
        yield path, step
        yield from _flat(step.steps, f"{path}.")


def _statements_and_actions(
    step: Step, done: Sequence[Action], templates: Templates
) -> tuple[list[str], list[str], str]:
    """Return the statements of a step, its other actions, and why these are not known."""
    statements = [each for one in done for text in _sql_of(one) for each in _statements(text)]
    others = [line for one in done for line in _lines_of(one)]
    if not done and (source := _source(step, templates)):
        return [source], others, "the SQL depends on what only the run knows"
    return statements, others, ""


def _sql_of(action: Action) -> Iterator[str]:
    """Yield the SQL texts of an action that act, or that the plan's author wrote."""
    match action:
        case Sql():
            yield action.text
        case Query(theirs=True) | Check(theirs=True):
            yield action.text
        case Exchange():
            yield from (text for text in (action.before, action.locks, *action.catch_up, action.text) if text)
        case Together():
            yield from (text for branch in action.branches for one in branch for text in _sql_of(one))


def _lines_of(action: Action) -> Iterator[str]:
    match action:
        case Sql() | Query() | Check() | Note():
            return
        case Exchange():
            yield f"# {action.what}"
        case Command():
            yield next(actions.review(action))
        case Together():
            yield from (line for branch in action.branches for one in branch for line in _lines_of(one))
        case _:
            yield from actions.review(action)


def _locks(impact: StepImpact | None) -> Iterator[str]:
    """Yield a line for each lock that makes others wait: `ACCESS EXCLUSIVE on t, which blocks reads and writes`."""
    for one in impact.statements if impact else ():
        for lock in one.locks:
            if blocks := LockMode(lock.mode).blocks:
                yield f"{'' if lock.certain else 'perhaps '}{lock.mode} on {lock.name}, which blocks {blocks}"
        if one.rewrite != Certainty.NO:
            yield f"{'' if one.rewrite == Certainty.YES else 'perhaps '}a rewrite of the whole table: {one.what}"


def _statements(text: str) -> Iterator[str]:
    """Yield each statement of a text in one line, without comments and white space around words."""
    try:
        found = syntax.statements(text)
        words = syntax.tokens(text)
    except syntax.BadSql:
        yield " ".join(text.split())
        return
    ends = [*(one.offset for one in found[1:]), len(text)]
    for one, end in zip(found, ends, strict=True):
        yield _one_statement(text, [word for word in words if one.offset <= word.start < end])


def _one_statement(text: str, words: Sequence[syntax.Token]) -> str:
    """Return the words of a statement in one line, with one space where there is any; comments are no words."""
    made, last = "", None
    for word in words:
        if word.kind in syntax.COMMENTS:
            continue
        said = text[word.start : word.end]
        made += " " * (last is not None and word.start > last)
        made += said.lower() if _WORD.fullmatch(said) else said
        last = word.end
    return one_line(made.removesuffix(";").rstrip())


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
"""What PostgreSQL reads in any case of letters: a keyword or a name without quotes."""


def _source(step: Step, templates: Templates) -> str:
    """Return the template of a step's SQL as it is written, "" where it has none or only a run knows which."""
    if not isinstance(step.values, Mapping):
        return ""
    file, text = step.values.get("file") or step.values.get("template"), step.values.get("text")
    try:
        if isinstance(file, str):
            return templates.source(file)
        return templates.source(Inline(text)) if isinstance(text, str) else ""
    except PlanrunError:
        return ""


# ------------------------------------------------------------------ settings


def _step_settings(step: Step) -> Iterator[tuple[str, str]]:
    """Yield what the author wrote about a step, each setting as one line, without its SQL and its description."""
    yield from (("when", step.when.text),) if step.when is not None else ()
    yield from (("for_each", _line(step.for_each)),) if step.for_each is not None else ()
    yield from (("on_error", step.on_error),) if step.on_error != "fail" else ()
    yield from (("jobs", str(step.jobs)),) if step.jobs != 1 else ()
    yield from (("acknowledge", step.acknowledge),) if step.acknowledge else ()
    yield from (("timeout", f"{step.timeout:g} s"),) if step.timeout is not None else ()
    if step.retry.attempts != 1:
        on = ", ".join(step.retry.on)
        yield "retry", f"{step.retry.attempts} attempts, {step.retry.delay:g} s apart, on {on}"
    given = step.values if step.kind else step.inputs
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if name != "text":
            yield from _flat_setting(f"with.{name}", value)


def _plan_settings(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "name", plan.name
    yield from (("journal", plan.journal),) if plan.journal else ()
    yield from (("protected", ", ".join(map(str, plan.protected))),) if plan.protected else ()
    for one in plan.notify:
        told = f"{', '.join(one.on)}{f', worded by {one.template}' if one.template else ''}"
        yield f"notify {one.kind} {one.variable}", told
    for name, words in plan.connections.items():
        yield f"connection {name}", ", ".join(f"{word}={value}" for word, value in words.items()) or "no words"
    for name, value in plan.params.items():
        yield f"param {name}", "needs a value" if value is UNKNOWN else _line(value)


def _flat_setting(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat_setting(f"{name}.{key}", inner)
    else:
        yield name, _line(value)


def _line(value: Any) -> str:
    """Return a value as one line; a reference is shown as it is written."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json_text(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return value.text
    if isinstance(value, Text):
        return "".join(part if isinstance(part, str) else part.text for part in value.parts)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return "unknown until run" if value is UNKNOWN else value
