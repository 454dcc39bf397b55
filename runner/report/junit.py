"""Format problems of plans, or the steps of a diff, as a JUnit report, which most CI systems show. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from runner.errors import PlanrunError, with_code
from runner.model import State
from runner.report import problems
from runner.report.findings import Found, path_from
from runner.report.places import place_of
from runner.report.text import step_lines
from runner.result import RunResult
from runner.words import safe, typeable

_NO_XML = re.compile("[\ufffe\uffff]")
"""Characters that `safe` keeps but XML 1.0 forbids."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case. seconds: how long it took. what: `failure`, `skipped`, or "" for one that passed.

    message: the first line of a failure, or why it was skipped. kind: of a failure. body: its whole text. output: its
    output.
    """

    name: str
    suite: str
    file: str
    seconds: float = 0.0
    what: str = ""
    message: str = ""
    kind: str = ""
    body: str = ""
    output: str = ""


def of_problems(found: Found, folder: Path, source: problems.Source = problems.from_disk) -> str:
    """Return a test case for each plan file; that of an invalid plan fails with all its problems."""
    return report("planrun validate", list(_plans(found, folder, source)))


def _plans(found: Found, folder: Path, source: problems.Source) -> Iterator[Case]:
    for plan, some in found.items():
        file = path_from(plan, folder)
        case = Case(name=file, suite="planrun.validate", file=file)
        if some:
            first, more = some[0], len(some) - 1
            message = f"{problems.place(first)}: {with_code(first.code, first.message)}" + (
                f" (and {more} more)" if more else ""
            )
            body = problems.text(some, source)
            case = Case(
                name=file, suite=case.suite, file=file, what="failure", message=message, kind=first.code, body=body
            )
        yield case


def of_result(result: RunResult, folder: Path) -> str:
    """Return a test case for each step of a diff, with what the diff says of it."""
    return report(f"planrun {result.mode} {result.plan}", list(_steps(result, folder)))


def of_error(exc: PlanrunError) -> str:
    """Return the report of a command that failed before it had a result."""
    case = Case(name="planrun", suite="planrun", file="", what="failure", message=exc.message, body=str(exc))
    return report("planrun", [case])


def _steps(result: RunResult, folder: Path) -> Iterator[Case]:
    for step in result.steps:
        yield Case(
            name=step.path,
            suite=f"planrun.{result.plan}",
            file=path_from(place_of(result, step.path).file, folder),
            seconds=step.seconds,
            what=_ENDS.get(step.state, ""),
            message=step.message or step.state,
            body="\n".join([step.message, *([f"hint: {typeable(step.hint)}"] if step.hint else [])])
            if step.state == State.FAILED
            else "",
            output="\n".join(step_lines(step)),
        )


_ENDS = {State.FAILED.value: "failure", State.SKIPPED.value: "skipped", State.UNKNOWN.value: "skipped"}


def report(name: str, cases: Sequence[Case]) -> str:
    """Return the XML of one suite."""
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(one.what == "failure" for one in cases)),
        "errors": "0",
        "skipped": str(sum(one.what == "skipped" for one in cases)),
        "time": f"{sum(one.seconds for one in cases):.3f}",
    }
    top = Element("testsuites")
    suite = SubElement(top, "testsuite", {"name": _xml(name), **counts})
    for one in cases:
        _add(suite, one)
    ElementTree.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(top, encoding="unicode") + "\n"


def _add(suite: Element, one: Case) -> None:
    words = {"name": one.name, "classname": one.suite, "file": one.file, "time": f"{one.seconds:.3f}"}
    case = SubElement(suite, "testcase", {word: _xml(value) for word, value in words.items() if value})
    if one.what:
        kind = {"type": _xml(one.kind)} if one.kind else {}
        ended = SubElement(case, one.what, {"message": _xml(one.message), **kind})
        ended.text = _xml(one.body) or None
    if one.output:
        SubElement(case, "system-out").text = _xml(one.output)


def _xml(text: str) -> str:
    """Return text that XML can contain; the writer escapes markup."""
    return _NO_XML.sub("\ufffd", safe(text))
