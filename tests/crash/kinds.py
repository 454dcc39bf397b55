"""The ways to fail: what is counted, what happens at the n-th of it, and what is typed afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to fail. on: whose points are counted (target, source, event, file, child).

    how: what happens there (wire.Cut or failure_points.PlannedFailure). who: another client that acts while planrun
    waits.
    stays: it stays so until the command has ended. again: how the recovery fails as well, at a point of its own.
    then: what is typed afterwards: what planrun says (named), the same command again (anew), or `abort` and then the
    command (abort). mute: nobody gets to read what it says. few: only about so many points.
    """

    name: str
    on: str
    how: str
    who: str = ""
    stays: bool = False
    again: str = ""
    then: str = "named"
    mute: bool = False
    few: int = 0


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        *(
            Kind(name=f"{on}-{how}", on=on, how=how)
            for on in ("target", "source")
            for how in ("going", "coming", "terminated", "cancelled", "killed-going", "killed-coming", "killed-held")
        ),
        Kind(name="target-going-down", on="target", how="going", stays=True),
        Kind(name="target-coming-down", on="target", how="coming", stays=True),
        Kind(name="event-kill", on="event", how="KILL"),
        Kind(name="event-term", on="event", how="TERM"),
        Kind(name="event-int", on="event", how="INT"),
        Kind(name="output-cut", on="event", how="closed", mute=True),
        Kind(name="output-full", on="event", how="full", mute=True),
        Kind(name="file-error", on="file", how="error"),
        Kind(name="file-full", on="file", how="error", stays=True),
        Kind(name="file-kill", on="file", how="KILL"),
        Kind(name="child-exit", on="child", how="exit"),
        Kind(name="child-half", on="child", how="half"),
        Kind(name="child-orphan", on="child", how="orphan"),
        Kind(name="kill-anew", on="target", how="killed-coming", then="anew"),
        Kind(name="kill-abort", on="target", how="killed-coming", then="abort"),
        Kind(name="twice-killed", on="target", how="killed-coming", again="killed-coming"),
        Kind(name="twice-lost", on="target", how="coming", again="going"),
        Kind(name="twice-told", on="event", how="KILL", again="TERM"),
        Kind(name="server-crash", on="target", how="crash", few=12),
        Kind(name="other-run", on="event", how="pause", who="run", few=12),
        *(
            Kind(name=f"lock-{who}", on="event", how="pause", who=who, few=8)
            for who in ("reader", "brief", "writer", "idle", "autovacuum", "deadlock")
        ),
    )
}
WIRES = ("target", "source")
