"""What recipients are told of a run: the facts of its events, as a text by a Jinja template, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner import resources
from runner.errors import Mark, PlanError, Problem
from runner.safesql.templates import Templates
from runner.sqltext import Inline
from runner.version import __version__
from runner.words import one_line, seconds

FORMAT_VERSION = 1
OWN = "notify/message.txt.j2"

LONGEST = 4_000
"""Characters of an error in a text; a webhook gets the whole."""


class SendError(Exception):
    """A recipient was not told, or not surely. The text says why, and may hold a secret."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a message tells. moment: start, success, failure, paused, or test.

    at: when it was made (RFC 3339, UTC). state: as in the result of a run; `not begun` if it could not begin. attempt:
    apply, resume or rollback. step, code, error: of the first failure. seconds: how long the steps took; None before
    their end. next: the command to type. warnings: what went wrong beside the steps. report: its path or link.
    """

    moment: str
    at: str
    run: str
    plan: str
    file: str
    attempt: str
    host: str
    user: str
    state: str = ""
    exit_code: int | None = None
    seconds: float | None = None
    databases: tuple[str, ...] = ()
    step: str = ""
    code: str = ""
    error: str = ""
    next: str = ""
    way_back: str = ""
    report: str = ""
    warnings: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def as_json(facts: Facts) -> dict[str, Any]:
    """Return the document that a webhook gets; fields may be added later within one format_version."""
    return {
        "format_version": FORMAT_VERSION, "event": facts.moment, "at": facts.at, "title": title(facts),
        "plan": facts.plan, "file": facts.file, "run": facts.run, "attempt": facts.attempt, "state": facts.state,
        "exit_code": facts.exit_code, "seconds": facts.seconds, "databases": list(facts.databases), "step": facts.step,
        "code": facts.code, "error": facts.error, "next": facts.next, "way_back": facts.way_back,
        "report": facts.report, "warnings": list(facts.warnings), "counts": dict(facts.counts), "host": facts.host,
        "user": facts.user, "planrun": __version__,
    }  # fmt: skip


def title(facts: Facts) -> str:
    """Return the message in one line: planrun: prod failed at swap after 3 min 20 s."""
    head, after = f"planrun: {one_line(facts.plan)}", f" after {seconds(facts.seconds)}" if facts.seconds else ""
    if facts.moment == "failure":
        at = f" at {one_line(facts.step)}" if facts.step else ""
        how = {"interrupted": "was interrupted", "not begun": "could not begin"}.get(facts.state, "failed")
        return f"{head} {how}{at}{after}"
    words = {"start": "has begun", "paused": "is paused", "test": "test message", "success": "succeeded"}
    return f"{head}{':' if facts.moment == 'test' else ''} {words[facts.moment]}{after}"


def text(facts: Facts, template: str = "", name: str = "") -> tuple[str, str]:
    """Return the first line of a message and the rest. template: the text of a Jinja template, "" for planrun's own.

    Raises PlanError with the place in the template, which `name` calls.
    """
    given = _values(facts)
    made = _own().text(OWN, **given) if not template else _own().text(Inline(template), **given)
    head, _, body = made.strip().partition("\n")
    return head.strip(), body.strip("\n")


def template_problems(template: str, name: str) -> Iterable[Problem]:
    """Return what is wrong with a template of a message. name: that of its file."""
    for facts in samples():
        try:
            head, _ = text(facts, template)
        except PlanError as exc:
            where = exc.problems[0].where
            return [Problem(Mark(name, where.line, where.column), exc.message, exc.hint, code="PR1092")]
        if not head:
            why = f"it gives no text for the moment `{facts.moment}`"
            return [Problem(Mark(name, 1, 1), why, "the first line is the title of the message", code="PR1092")]
    return []


def samples() -> Iterable[Facts]:
    """Yield facts of each moment, as a run has them."""
    start = Facts(
        moment="start", at="2025-07-20T12:26:55+00:00", run="20250720T122655Z-3f9a", plan="prod", file="plans/prod.yml",
        attempt="apply", host="db1", user="app",
    )  # fmt: skip
    yield start
    yield replace(start, moment="test")
    yield replace(start, moment="success", state="ok", exit_code=0, seconds=1.5)
    yield replace(start, moment="paused", state="paused", exit_code=0, seconds=1.5, next="planrun apply")
    yield replace(
        start, moment="failure", state="failed", exit_code=1, seconds=1.5, step="swap", code="PR0401", error="why",
        next="next", databases=("target: prod",), warnings=("a: b",), report="report.html",
    )  # fmt: skip


def _own() -> Templates:
    return Templates((resources.SQL,))


def _values(facts: Facts) -> dict[str, Any]:
    """Return what a template sees: texts in which nothing drives a terminal or begins a line of its own."""
    return {
        "moment": facts.moment, "at": facts.at, "title": title(facts), "plan": one_line(facts.plan),
        "file": one_line(facts.file), "run": facts.run, "attempt": facts.attempt, "state": facts.state,
        "exit_code": "" if facts.exit_code is None else facts.exit_code, "seconds": facts.seconds or 0,
        "took": seconds(facts.seconds) if facts.seconds else "", "databases": list(map(one_line, facts.databases)),
        "step": one_line(facts.step), "code": facts.code, "error": one_line(facts.error)[:LONGEST],
        "next": one_line(facts.next), "way_back": one_line(facts.way_back), "report": one_line(facts.report),
        "warnings": list(map(one_line, facts.warnings)), "counts": dict(facts.counts), "host": one_line(facts.host),
        "user": one_line(facts.user),
    }  # fmt: skip
