"""What a folder of backups holds: the sessions as retention and lists see them, and which one is the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runner.errors import PlanrunError, VerifyError
from runner.words import PLAN


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """One folder of a backup path as retention sees it.

    `state` is complete, damaged (a file or the manifest has changed, or a verification failed), partial (interrupted,
    nobody writes it), writing (somebody writes it) or foreign (not made by planrun). `taken` is None for foreign ones.
    `verified` is the highest level that passed, 0 if none was tried. `run` of `plan` made the session, of `database`.
    clock_ahead: seconds by which the clock of the machine was ahead of the database server's when the session was made;
    if it was wrong by more than `SKEW`, `taken` is the server's time.
    """

    name: str
    state: str
    taken: datetime | None = None
    verified: int = 0
    tables: int = 0
    rows: int = 0
    bytes: int = 0
    plan: str = ""
    run: str = ""
    database: str = ""
    clock_ahead: float = 0.0

    @property
    def age_key(self) -> tuple[datetime, str]:
        """The key that sorts sessions by age; those without a time are the oldest."""
        return self.taken or _NEVER, self.name


_NEVER = datetime.min.replace(tzinfo=UTC)

SKEW = timedelta(hours=1)
"""Two clocks that differ by more than this: one of them is wrong."""

AHEAD = timedelta(days=1)
"""A session dated further in the future than this shows that a clock was or is wrong."""


def newest(every: Sequence[SessionFacts], now: datetime, where: str, *, good: bool = False) -> SessionFacts:
    """Return the newest session, damaged or not; with `good`, the newest that is complete.

    Raises VerifyError if the newest one has a date in the future, PlanrunError if there is none.
    """
    states = ("complete",) if good else ("complete", "damaged")
    found = sorted((s for s in every if s.state in states and s.taken), key=lambda s: s.age_key)
    if not found:
        raise PlanrunError(
            "there is no complete session yet", where=where, hint=f"planrun backups list {PLAN}", code="PR0714"
        )
    last = found[-1]
    if last.taken and last.taken > now + AHEAD:
        raise VerifyError(
            f"session {last.name} has a date in the future: the clock was wrong then, or is wrong now",
            where=where,
            hint=f"name the session that you mean: planrun backups list {PLAN}",
            code="PR0714",
        )
    return last


def refuse_damaged(chosen: SessionFacts, every: Sequence[SessionFacts], now: datetime, where: str) -> None:
    """Raise VerifyError for a damaged session; the error names the newest good session and how much older it is."""
    if chosen.state != "damaged":
        return
    older = [s for s in every if s.state == "complete" and s.taken]
    hint = f"planrun backups verify {PLAN} says what is wrong with it; there is no undamaged one"
    if older and chosen.taken:
        good = newest(older, now, where, good=True)
        age = chosen.taken - good.taken if good.taken else timedelta()
        hint = f"the newest good one is {good.name}, {_age(age)} older: name it, or --newest-good"
    raise VerifyError(f"the newest session is damaged: {chosen.name}", where=where, hint=hint, code="PR0714")


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return (
        f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes"
    )
