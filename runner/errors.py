"""Every failure that a user may meet, with the place that it points to and the next command to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from runner.words import typeable


class Mark(NamedTuple):
    """A place in a text file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def with_code(code: str, message: str) -> str:
    """Return a message with the code of its kind of error before it."""
    return f"{code} {message}" if code else message


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a plan, a template or a guard. code: its kind, such as PR0110 (docs/errors.md)."""

    where: Mark
    message: str
    hint: str = ""
    code: str = field(kw_only=True)

    def __str__(self) -> str:
        hint = f"\n  hint: {typeable(self.hint)}" if self.hint else ""
        return f"{self.where}: {self.code} {self.message}{hint}"


class PlanrunError(Exception):
    """Base of all expected errors. `exit_code` is the exit code of the command (docs/reference.md, exit codes).

    code: the kind of error, such as PR0401 (docs/errors.md). A class that stands for one kind has it as CODE.
    """

    exit_code = 1
    CODE: ClassVar[str] = ""

    def __init__(self, message: str, *, where: Mark | str | None = None, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint, self.code = message, where, hint, code or self.CODE

    def __str__(self) -> str:
        head = (
            f"{self.where}: {with_code(self.code, self.message)}" if self.where else with_code(self.code, self.message)
        )
        return f"{head}\n  hint: {typeable(self.hint)}" if self.hint else head


class PlanError(PlanrunError):
    """The plan, a template, a guard or a value is invalid; nothing was changed.

    `problems` holds every one of them, in the order of the files.
    """

    exit_code = 5

    def __init__(self, *problems: Problem) -> None:
        first = problems[0]
        super().__init__(first.message, where=first.where, hint=first.hint, code=first.code)
        self.problems = tuple(sorted(problems))

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ChangedError(PlanrunError):
    """The plan changed since the run to resume began; nothing was changed."""

    exit_code = 5


class TargetError(PlanrunError):
    """PostgreSQL, one of its programs or the disk reported an error; the transaction is rolled back.

    `category` is the word in `retry.on`: lock, deadlock, connection, timeout, or "" for anything else.
    """

    def __init__(
        self,
        message: str,
        *,
        where: Mark | str | None = None,
        hint: str = "",
        category: str = "",
        sqlstate: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint, code=code)
        self.category, self.sqlstate = category, sqlstate


class ConnectError(TargetError):
    """The server cannot be reached, or it refuses the role."""

    exit_code = 4


class PartlyDone(PlanrunError):
    """Some items of a step failed and the others were done, because of `--keep-going`."""

    exit_code = 3
    CODE = "PR0514"

    def __init__(self, failed: Sequence[PlanrunError], of: int) -> None:
        said = "\n".join(str(one.message) for one in failed)
        super().__init__(f"{len(failed)} of {of} failed, the others are done:\n{said}", hint=failed[0].hint)


class NotKnownYet(PlanrunError):
    """Only the database, or the run itself, can give this value; what depends on it is unknown until then."""


class RefusedError(PlanrunError):
    """A step cannot succeed with the existing objects, whatever earlier steps do; a diff fails with this error."""


class StaleError(PlanrunError):
    """What an earlier step made, or a saved diff, no longer fits the database: a new run or a new diff must begin."""


class VerifyError(PlanrunError):
    """Data differs from the snapshot, or a backup does not restore."""

    exit_code = 6


class LockedError(PlanrunError):
    """Another run holds the lock of this database and plan area."""

    exit_code = 11


class UsageError(PlanrunError):
    """The options and arguments of the command line contradict each other."""

    exit_code = 64


class UnknownStateError(PlanrunError):
    """planrun cannot find out the state of the database; a person must check."""

    exit_code = 75


class Interrupted(PlanrunError):
    """A signal stopped the run. The exit code is 130 after SIGINT, 143 after SIGTERM."""

    CODE = "PR0513"

    def __init__(self, message: str, *, signal: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signal, self.exit_code = signal, 128 + signal
