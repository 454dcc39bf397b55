"""Format the results of cases: a line for each, what did not hold, the sum, as text, JSON data or JUnit. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.cases.case import Case
from runner.cases.result import CaseResult, Failure, RunEnd
from runner.errors import with_code
from runner.report import junit
from runner.report.envelope import envelope
from runner.report.findings import path_from
from runner.words import one_line, plural, seconds, typeable


def head(cases: Sequence[Case]) -> str:
    """Return what is about to happen, and to which databases."""
    what = f"{plural(len(cases), 'case')} of {_plans(cases)}"
    return f"{what}, on a throw-away server: none of your databases is read or changed"


def case_lines(result: CaseResult, *, verbose: bool = False) -> str:
    """Return the line of a case, and what did not hold. verbose: with what each run showed."""
    lines = [f"  {one_line(result.case.title)}  [{result.state}]  {seconds(result.seconds)}"]
    for failure in result.failures:
        lines += _failure_lines(failure)
    if verbose:
        lines += [line for end in result.runs for line in _run_lines(end)]
    lines += [f"    {name} is kept: psql {words}" for name, words in result.databases.items()]
    return "\n".join(lines) + "\n"


def _failure_lines(failure: Failure) -> Iterator[str]:
    first, *more = with_code(failure.code, failure.message).splitlines() or [""]
    yield f"    {failure.where}: {first}"
    yield from (f"      {line}" for line in (*more, *failure.lines))
    if failure.hint:
        yield f"      hint: {one_line(typeable(failure.hint))}"


def _run_lines(end: RunEnd) -> Iterator[str]:
    yield f"    {end.verb}: {end.state}, exit code {end.exit_code}"
    for text in (end.diff, end.report):
        yield from (f"      | {line}".rstrip() for line in text.splitlines())
    if not end.report:
        yield from (f"      | {path}: {step}" for path, step in end.steps.items())


def sum_text(results: Sequence[CaseResult], versions: Sequence[str], took: float) -> str:
    """Return how many cases passed, and what to type to see more of the first that did not."""
    failed = [one for one in results if one.failures]
    counts = [f"{len(results) - len(failed)} ok", *([f"{len(failed)} failed"] if failed else [])]
    what = f"{plural(len(results), 'case')} of {_plans([one.case for one in results])}"
    lines = [f"{what} on PostgreSQL {' and '.join(versions)}: {', '.join(counts)}, in {seconds(took)}"]
    if written := sorted({name for one in results for name in one.written}):
        lines.append(f"wrote {', '.join(written)}: read them before you commit them")
    if failed:
        lines.append(f"next: {next_command(failed[0].case)}")
    return "\n".join(lines) + "\n"


def next_command(case: Case) -> str:
    """Return the command that runs this case alone and shows all of it."""
    return shlex.join(["planrun", "test", case.file, "--case", case.name, "-v"])


def _plans(cases: Sequence[Case]) -> str:
    return plural(len({case.plan.file for case in cases}), "plan")


def as_json(results: Sequence[CaseResult], versions: Sequence[str], took: float) -> dict[str, Any]:
    """Return all results as JSON data."""
    failed = [one for one in results if one.failures]
    return {
        **envelope(state="failed" if failed else "ok"),
        "exit_code": 1 if failed else 0,
        "seconds": round(took, 3),
        "postgres": list(versions),
        "counts": {"ok": len(results) - len(failed), "failed": len(failed)},
        "next": next_command(failed[0].case) if failed else "",
        "cases": [_case_json(one) for one in results],
    }


def _case_json(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name, "plan": case.plan.file, "file": case.file, "line": case.where.line,
        "state": result.state, "seconds": round(result.seconds, 3),
        "failures": [_failure_json(one) for one in result.failures],
        "runs": [
            {
                "run": end.verb, "state": end.state, "exit_code": end.exit_code, "code": end.code,
                "message": end.message, "steps": {path: step.state for path, step in end.steps.items()},
            }
            for end in result.runs
        ],
    }  # fmt: skip


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {
        "where": str(failure.where),
        "message": failure.message,
        "lines": list(failure.lines),
        "code": failure.code,
        "hint": typeable(failure.hint),
    }


def as_junit(results: Sequence[CaseResult], folder: Path) -> str:
    """Return a JUnit report. folder: from which paths of files are told."""
    return junit.report("planrun test", [_junit_case(one, folder) for one in results])


def _junit_case(result: CaseResult, folder: Path) -> junit.Case:
    case, first = result.case, next(iter(result.failures), None)
    return junit.Case(
        name=case.name,
        suite=f"planrun.{case.plan.name}",
        file=path_from(case.file, folder),
        seconds=result.seconds,
        what="failure" if first else "",
        message=f"{first.where}: {with_code(first.code, first.message)}" if first else "",
        kind=first.code if first else "",
        body="\n".join(line for one in result.failures for line in _failure_lines(one)),
        output="\n".join(line for end in result.runs for line in _run_lines(end)) if first else "",
    )
