"""Format runs from the journal: status, history, explain. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from runner.errors import with_code
from runner.events import plain
from runner.journal.history import RunRecord
from runner.journal.records import Record
from runner.model import Plan
from runner.report import progress
from runner.words import one_line, printable, seconds

NEVER = "never run"
_AT_WORK = "at work"
_BEGUN = "begun, no end written"
_LEFT = "left undone by an earlier attempt"


def run_json(run: RunRecord) -> dict[str, Any]:
    """Return a run without its steps."""
    return {
        "run": run.id, "plan": run.plan, "mode": run.mode, "state": run.state, "exit_code": run.exit_code,
        "digest": run.digest,
        "began": run.began.isoformat() if run.began else None, "ended": run.ended.isoformat() if run.ended else None,
        "attempts": run.attempts, "host": run.host, "pid": run.pid, "user": run.user, "message": run.message,
        "next": run.next, "warnings": [_warning_json(one) for one in run.warnings],
    }  # fmt: skip


def _warning_json(record: Record) -> dict[str, str]:
    return {key: str(record.get(key, "")) for key in ("about", "message", "hint", "code")}


def _steps_json(run: RunRecord, step: str = "") -> list[dict[str, Any]]:
    """Return the steps of a run, then its hooks."""
    own = [_step_json(run, path) for path in run.every() if path == step or not step]
    return [*own, *(_steps_json(run.hooks, step) if run.hooks else [])]


def _step_json(run: RunRecord, path: str) -> dict[str, Any]:
    outcome = run.outcomes.get(path)
    ended = {"state": _LEFT if path in run.earlier else _BEGUN} if outcome is None else outcome
    kept = ("state", "message", "hint", "code", "outputs", "seconds", "attempts", "recorded")
    planned = run.every()[path]
    return {
        "path": path, "uses": planned.get("uses", ""), "because": planned.get("because", ""),
        **{key: planned[key] for key in ("acknowledge",) if key in planned},
        "actions": planned.get("actions", []), **{key: ended[key] for key in kept if key in ended},
    }  # fmt: skip


def status_json(
    run: RunRecord | None, plan: Plan, holder: str, refreshes: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the last run with its steps, and in `next` the command to type now, if any."""
    at_work = run.progress() if run else None
    noted = {"at_work": plain(dataclasses.asdict(at_work)) if at_work else None}
    last = {**run_json(run), **noted, "steps": _steps_json(run)} if run else None
    if run and last and holder and run.state == "cut off":
        last["state"] = _AT_WORK
    told = {"running": holder or None, "last": last, "refreshes": list(refreshes)}
    return {"next": next_command(run, plan, holder), **told}


def next_command(run: RunRecord | None, plan: Plan, holder: str) -> str:
    """Return the command to type after the last run; "" if a run is at work, or if the last one is complete."""
    if run is None:
        return plan.command("diff")
    if holder or not run.is_unfinished:
        return ""
    if run.ended and not run.next:
        return ""
    anew = bool(run.next) and "--resume" not in run.next
    return plan.again(run.mode, () if run.state == "paused" else run.options, anew=anew)


def status(run: RunRecord | None, plan: Plan, holder: str) -> str:
    """Return the state of the last run: each step's state, what is unfinished, the next command."""
    lines = [f"running now: {holder}"] if holder else []
    command = next_command(run, plan, holder)
    last = [f"next: {command}"] if command else []
    if run is None:
        return "\n".join([*lines, f"{plan.name}: {NEVER}", *last]) + "\n"
    lines += [_headline(run, at_work=bool(holder)), *(_step_line(run, path) for path in run.every())]
    if at_work := run.progress():
        lines.append(f"  {'' if holder else 'last seen: '}{progress.line(at_work)}")
    lines += _hook_lines(run)
    if run.is_cut_off_in_hooks and not holder:
        begun = ", ".join(run.hooks.paths_at_work()) if run.hooks else ""
        when = f"while {begun} was at work" if begun else "between its hooks"
        lines.append(f"its steps had ended ({run.verdict['state']}); it was cut off {when}")
    elif run.state == "cut off" and not holder:
        begun = ", ".join(run.paths_at_work())
        when = f"while {begun} was at work" if begun else "before its first step" if run.earlier else "between steps"
        lines.append(f"the run was cut off (planrun was killed, or its machine stopped) {when}")
    if "--resume" in command and run.digest != plan.digest:
        lines.append("the plan has changed since; a resume shows the changes, and continues when you accept them")
    return "\n".join([*lines, *last]) + "\n"


def _hook_lines(run: RunRecord) -> list[str]:
    """Return the hooks of the last attempt, and its warnings."""
    hooks = [_step_line(run.hooks, path) for path in run.hooks.every()] if run.hooks else []
    words = [f"  warning: {one_line(one['about'])}: {one_line(one['message'])}" for one in run.warnings]
    return hooks + words


def _headline(run: RunRecord, *, at_work: bool = False) -> str:
    state = _AT_WORK if at_work and run.state == "cut off" else run.state
    began = f"{run.began:%Y-%m-%d %H:%M:%S} UTC" if run.began else "?"
    took = f" after {seconds((run.ended - run.began).total_seconds())}" if run.ended and run.began else ""
    more = f", {run.attempts} attempts" if run.attempts > 1 else ""
    head = f"run {run.id} of {one_line(run.plan)} ({run.mode})"
    return f"{head}: {state}{took}; began {began}{more}, by {run.user}@{run.host}"


def _step_line(run: RunRecord, path: str) -> str:
    outcome = run.outcomes.get(path)
    if outcome is None:
        return f"  {path}: {_LEFT if path in run.earlier else _BEGUN}"
    message = f": {one_line(with_code(outcome.get('code', ''), outcome['message']))}" if outcome.get("message") else ""
    hint = f"\n    hint: {one_line(outcome['hint'])}" if outcome.get("hint") else ""
    return f"  {path}: {outcome['state']}{message}{hint}"


def history(runs: Sequence[RunRecord]) -> str:
    """Return one line a run, newest last."""
    return "".join(_headline(run) + "\n" for run in runs) or f"{NEVER}\n"


def explain_json(run: RunRecord, step: str) -> dict[str, Any]:
    return {**run_json(run), "steps": _steps_json(run, step)}


def explain(run: RunRecord, step: str) -> str:
    """Return, for each step: its guard and the values that decided, its actions, its state, its outputs."""
    lines = [_headline(run)]
    for found in _steps_json(run, step):
        lines += ["", f"{found['path']}  {found['uses']}  [{found['state']}]"]
        lines += [f"  because {one_line(found['because'])}"] if found["because"] else []
        lines += [f"  acknowledged: {one_line(found['acknowledge'])}"] if found.get("acknowledge") else []
        lines += [f"  {one_line(with_code(found.get('code', ''), found['message']))}"] if found.get("message") else []
        lines += [f"  hint: {one_line(found['hint'])}"] if found.get("hint") else []
        lines += [f"  {line}" for action in found["actions"] for line in _action(action)]
        lines += [f"  gave {name} = {_value(value)}" for name, value in found.get("outputs", {}).items()]
    return "\n".join(lines) + "\n"


def _action(action: dict[str, Any]) -> list[str]:
    name, text = action.get("action", "?"), action.get("text")
    if isinstance(text, str):
        return [f"{name}:", *(f"  {printable(line)}" for line in text.strip("\n").splitlines())]
    rest = {key: value for key, value in action.items() if key != "action"}
    return [f"{name}: {_value(rest)}"]


def _value(value: Any) -> str:
    text = one_line(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text):,} characters; -o json shows all)"
