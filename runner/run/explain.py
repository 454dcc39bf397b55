"""Ask the server what the SQL of a plan would work on. None of it runs: EXPLAIN only plans it, READ ONLY.

Source: PostgreSQL docs, EXPLAIN; standard_ExecutorStart lets EXPLAIN of an INSERT pass in a READ ONLY transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runner.errors import RefusedError, TargetError
from runner.kinds.base import StatementFacts
from runner.safesql import cascades, syntax, targets
from runner.safesql.cascades import Root
from runner.safesql.syntax import Statement
from runner.safesql.targets import Target
from runner.safesql.templates import Rendered

Ask = Callable[[str], list[dict[str, Any]]]

_MISSING = {"42P01", "42703", "42883", "42704", "3F000", "42501", "42804", "42601", "42P10"}
"""SQLSTATEs for a missing relation, column, function, type or schema, a missing right, or wrong types: a run would fail
too."""

_EXPLAIN = "explain (format json) "


def explain(
    text: str,
    ask: Ask,
    describe: Callable[[list[str]], str],
    find_dependents: Callable[[Sequence[Root]], str],
    *,
    stale: bool,
) -> tuple[StatementFacts, ...]:
    """Return what each statement of a text works on, and what it takes along by CASCADE.

    ask: runs a query with the search_path of the role. describe: the query of sql/sql/targets.sql.j2 for names.
    find_dependents: the query of sql/sql/cascades.sql.j2. stale: earlier steps may create what the text names. Raises
    RefusedError if the server refuses a statement that does not depend on an earlier one.
    """
    found = syntax.statements(text)
    named = {name for one in found if (target := targets.target(one)) for name in target.names}
    there = {row["name"]: row for row in ask(describe(sorted(named)))} if named else {}
    ends = [*(one.offset for one in found[1:]), len(text)]
    pieces = zip(found, ends, targets.after_changes(found), strict=True)
    facts = [each for one, end, late in pieces for each in _facts(text, one, end, there, ask, late=late or stale)]
    return (*facts, *_dependents(found, facts, ask, find_dependents))


def _dependents(
    found: Sequence[Statement],
    facts: Sequence[StatementFacts],
    ask: Ask,
    find: Callable[[Sequence[Root]], str],
) -> Iterator[StatementFacts]:
    """Yield what goes with the objects of DROP and TRUNCATE, as of now; what a statement names is known already."""
    roots = [root for one in found for root in cascades.roots(one)]
    named = {one.name for one in facts if one.verb.startswith("drop ")}
    for row in ask(find(roots)) if roots else ():
        if row["name"] not in named:
            verb = "truncate" if row["emptied"] else "drop"
            yield StatementFacts(
                verb=f"{verb} with {roots[row['at']].display_name}",
                text="",
                kind=row["kind"],
                name=row["name"],
                there=True,
            )


def _facts(
    text: str, one: Statement, end: int, there: Mapping[str, Mapping[str, Any]], ask: Ask, *, late: bool
) -> Iterator[StatementFacts]:
    words = " ".join(text[one.offset : end].split()).removesuffix(";")
    target = targets.target(one)
    rows = _row_estimate(text, one, end, ask, late=late) if one.kind in (*targets.ROWS, "select_stmt") else None
    if target is None:
        yield StatementFacts(verb="", text=words)
        return
    if not late and not target.optional:
        _refuse_missing(text, one, target, there)
    for name in target.names:
        row = there[name]
        yield StatementFacts(
            verb=target.verb,
            text=words,
            kind=row["kind"] if row["there"] else "table",
            name=row["full_name"] if row["there"] else name,
            there=bool(row["there"]),
            analyzed=bool(row["analyzed"]),
            touched=rows,
        )


def _refuse_missing(text: str, one: Statement, target: Target, there: Mapping[str, Mapping[str, Any]]) -> None:
    missing = [name for name in target.names if not there[name]["there"]]
    if missing:
        where = text.place(one.offset) if isinstance(text, Rendered) else None
        raise RefusedError(f"{target.verb}: there is no {', '.join(missing)}", where=where, hint=_HINT, code="PR0312")


_HINT = "correct the SQL, or the search_path of the role that connects"


def _row_estimate(text: str, one: Statement, end: int, ask: Ask, *, late: bool) -> int | None:
    """Return the estimated number of rows that a statement changes; None for a query, or if the server cannot plan it
    yet."""
    try:
        plan = ask(_EXPLAIN + text[one.offset : end])
    except TargetError as exc:
        if late or exc.sqlstate not in _MISSING:
            return None
        raise RefusedError(exc.message, where=exc.where, hint=exc.hint or _HINT, code=exc.code) from exc
    if one.kind == "select_stmt":
        return None
    top = next(iter(plan[0].values()))
    top = json.loads(top) if isinstance(top, str) else top
    below = top[0]["Plan"].get("Plans") or [top[0]["Plan"]]
    return sum(int(each["Plan Rows"]) for each in below if each.get("Parent Relationship") != "InitPlan")
