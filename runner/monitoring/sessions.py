"""The sessions of a plan, and their measures.

Only folders are read, never a database: this works while the server is down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runner.backup import catalog
from runner.model import Plan
from runner.session_facts import SessionFacts

_TOLERANCE = timedelta(minutes=5)
"""How far ahead of this clock a session may be: that of the machine that made it may differ a little."""
LEVELS = (1, 2, 3)
SESSION_STATES = ("complete", "damaged", "partial", "writing")


def of_plan(plan: Plan) -> tuple[SessionFacts, ...] | None:
    """Return the sessions of a plan, oldest first; None if no step of it makes any.

    Sessions of other plans in the same folder are left out: theirs would hide that this plan makes none. A folder
    whose manifest cannot be read may be of any plan, and counts. Raises TargetError for a folder that cannot be read.
    """
    if not catalog.folders(plan):
        return None
    ours = (facts for _, facts in catalog.list_sessions(plan) if facts.plan in ("", plan.name))
    return tuple(sorted((one for one in ours if one.taken), key=lambda one: one.age_key))


@dataclass(frozen=True, kw_only=True)
class SessionMeasures:
    """counts: sessions by state. bytes: of all. newest: the newest good one. verified: level -> the newest session that
    passed at least this level."""

    counts: Mapping[str, int]
    bytes: int
    newest: SessionFacts | None
    verified: Mapping[int, SessionFacts] = field(default_factory=dict)


def measure(every: Sequence[SessionFacts], now: datetime) -> SessionMeasures:
    """Return the measures of sessions. A session with a date in the future is counted, but is never the newest good."""
    good = [one for one in every if one.state == "complete" and not is_ahead(one, now)]
    verified = {level: [one for one in good if one.verified >= level] for level in LEVELS}
    counts = Counter(one.state for one in every)
    return SessionMeasures(
        counts={state: counts[state] for state in SESSION_STATES},
        bytes=sum(one.bytes for one in every),
        newest=good[-1] if good else None,
        verified={level: found[-1] for level, found in verified.items() if found},
    )


def is_ahead(one: SessionFacts, now: datetime) -> bool:
    """Return whether a session has a date in the future, so that nothing is known of its age."""
    return one.taken is not None and one.taken > now + _TOLERANCE
