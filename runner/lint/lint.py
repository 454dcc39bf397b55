"""Lint a plan: the rules over its SQL, squawk's findings if wished, and what comments accept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Mark, Problem
from runner.lint.accepted import Accept, accepts
from runner.lint.rules import Plan, Remark, Text, remarks
from runner.lint.step_sql import StepSql, read_sql
from runner.redact import Redactor
from runner.safesql.statement_locks import StatementLocks, relations_made, statement_locks


@dataclass(frozen=True)
class Accepted:
    """A finding that a comment accepts, with its reason."""

    problem: Problem
    reason: str


@dataclass(frozen=True)
class Linted:
    """What is to be said of a plan. texts: how many SQL texts were looked at.

    other: what the file is if it is no plan, "" for a plan.
    """

    problems: tuple[Problem, ...]
    accepted: tuple[Accepted, ...]
    texts: int
    other: str = ""


def lint(
    file: Path, *, sets: Mapping[str, str] | Sequence[str] = (), env: Mapping[str, str], squawk: bool = False
) -> Linted:
    """Return the findings of a plan. Raises PlanError where the plan is not valid."""
    loaded, texts = read_sql(file, sets, env)
    plan, found, accepted = Plan(), list[Problem](), list[Accepted]()
    for one in texts:
        some, good = _of_text(one, plan, env if squawk else None)
        found += some
        accepted += good
    made = Linted(tuple(dict.fromkeys(sorted(found))), tuple(dict.fromkeys(accepted)), len(texts))
    return Redactor(loaded.env).of(made)


def _of_text(one: StepSql, plan: Plan, squawk: Mapping[str, str] | None) -> tuple[list[Problem], list[Accepted]]:
    statements = statement_locks(one.text, before=plan.made)
    comments = list(accepts(one.text, [each.offset for each in statements]))
    found, accepted = list[Problem](), list[Accepted]()
    for remark, name in _remarks(one, statements, plan, squawk):
        problem = Problem(one.place(remark.offset), remark.message, remark.hint, code=remark.code)
        comment = _acceptance_of(comments, remark, name, statements)
        if comment:
            comment.used.add(name)
            accepted.append(Accepted(problem, comment.reason))
        else:
            found.append(problem)
    plan.made |= set(relations_made(one.text))
    return [*found, *_of_comments(comments, one, squawk is not None)], accepted


def _remarks(
    one: StepSql, statements: Sequence[StatementLocks], plan: Plan, squawk: Mapping[str, str] | None
) -> Iterator[tuple[Remark, str]]:
    """Yield the remarks, each with the name that a comment accepts it by."""
    for remark in remarks(Text(one.text, statements, one.transaction, plan)):
        yield remark, remark.code
    if squawk is None:
        return
    from runner.lint.squawk import findings

    for each in findings(one.text, squawk):
        yield Remark(each.offset, "PR1037", f"squawk {each.rule}: {each.message}", each.hint), each.rule


def _acceptance_of(
    comments: Iterable[Accept], remark: Remark, name: str, statements: Sequence[StatementLocks]
) -> Accept | None:
    starts = [each.offset for each in statements if each.offset <= remark.offset]
    about = starts[-1] if starts else 0
    return next((each for each in comments if each.statement == about and name in each.codes), None)


def _of_comments(comments: Iterable[Accept], one: StepSql, with_squawk: bool) -> Iterator[Problem]:
    for each in comments:
        where = one.place(each.offset)
        if not each.reason:
            yield _unreadable(where)
            continue
        idle = [code for code in each.codes if code not in each.used and (with_squawk or code.startswith("PR"))]
        if idle:
            message = f"nothing is left to accept: the statement has no finding {', '.join(idle)}"
            yield Problem(where, message, "take the comment away", code="PR1038")


def _unreadable(where: Mark) -> Problem:
    hint = "write: -- lint: accept PR1024: why it may be so"
    return Problem(where, "a comment for lint needs a code and a reason", hint, code="PR1039")
