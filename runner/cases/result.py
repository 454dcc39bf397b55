"""What came of a case: how its runs ended, and what did not hold. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.cases.case import Case
from runner.errors import Mark


@dataclass(frozen=True, kw_only=True)
class StepEnd:
    """How a step ended: its state, and the code and message of its error, "" without one."""

    state: str
    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.state, self.code, f"({self.message})" if self.message else ""]))


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run of a case ended. exit_code: that of the command. diff, report: what was shown before and after it."""

    verb: str
    state: str
    exit_code: int
    code: str = ""
    message: str = ""
    steps: Mapping[str, StepEnd] = field(default_factory=dict)
    diff: str = ""
    report: str = ""
    is_reached: bool = True


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One thing that did not hold. lines: the difference, each line with its sign: - expected, + got."""

    where: Mark
    message: str
    lines: tuple[str, ...] = ()
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What came of a case. seconds: of its own, without its server's start. runs: as far as it came.

    databases: how to reach them with psql, by connection; only while they are kept. written: files of `--update`.
    """

    case: Case
    seconds: float
    failures: tuple[Failure, ...] = ()
    runs: tuple[RunEnd, ...] = ()
    databases: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        return "failed" if self.failures else "ok"
