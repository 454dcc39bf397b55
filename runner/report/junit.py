"""Format problems of plans as a JUnit report, which most CI systems show. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from runner.report import problems
from runner.report.findings import Found, path_from, rule_of
from runner.words import safe

_NO_XML = re.compile("[\ufffe\uffff]")
"""Characters that `safe` leaves and XML 1.0 does not have."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case. seconds: how long it took. what: `failure`, `skipped`, or "" for one that passed.

    message: the first line of a failure, or why it was skipped. kind: of a failure. body: all of it. output: what it
    said.
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
    """Return a test case for each plan's file; that of an invalid plan fails with all its problems."""
    return report("planrun validate", list(_plans(found, folder, source)))


def _plans(found: Found, folder: Path, source: problems.Source) -> Iterator[Case]:
    for plan, some in found.items():
        file = path_from(plan, folder)
        case = Case(name=file, suite="planrun.validate", file=file)
        if some:
            first, more = some[0], len(some) - 1
            message = f"{problems.place(first)}: {first.message}" + (f" (and {more} more)" if more else "")
            body = problems.text(some, source)
            case = Case(
                name=file, suite=case.suite, file=file, what="failure", message=message, kind=rule_of(first), body=body
            )
        yield case


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
    """Return text that XML can hold; the writer quotes what would be markup."""
    return _NO_XML.sub("\ufffd", safe(text))
