"""Format problems as GitHub workflow commands: each becomes an annotation of a line in a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.report.findings import Finding
from runner.words import safe


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What a reviewer sees beside a line. level: error, warning or notice. file: "" for the whole run; line from 1."""

    level: str
    message: str
    file: str = ""
    line: int = 1
    column: int = 1
    title: str = "planrun"


def of_findings(every: Iterable[Finding]) -> str:
    """Return an annotation for each problem, all of them: the log shows also those that GitHub does not."""
    return text(
        Annotation(level="error", message=one.message, file=one.file, line=one.line, column=one.column) for one in every
    )


def text(every: Iterable[Annotation]) -> str:
    """Return one workflow command a line."""
    return "".join(f"{_command(one)}\n" for one in every)


def _command(one: Annotation) -> str:
    where = f"file={_property(one.file)},line={one.line},col={one.column}," if one.file else ""
    return f"::{one.level} {where}title={_property(one.title)}::{_message(one.message)}"


def _message(value: str) -> str:
    return safe(value).replace("%", "%25").replace("\n", "%0A")


def _property(value: str) -> str:
    return _message(value).replace(":", "%3A").replace(",", "%2C")
