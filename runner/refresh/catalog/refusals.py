"""The reasons why tables cannot be replaced: all reported at once, each with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.errors import TargetError
from runner.refresh.catalog.lost_dependents import Lost
from runner.words import one_line, plural, shown_name


@dataclass(frozen=True, kw_only=True, order=True)
class Refusal:
    """One reason. what: the table or object, as text for people. way: what to do about it, "" when `exclude` is the
    answer.

    exclude: the name of the table that may be left out of the refresh instead. lose: what the plan may accept to lose.
    """

    what: str
    reason: str
    way: str = ""
    exclude: str = ""
    lose: str = ""

    @property
    def line(self) -> str:
        return f"{self.what} ({self.reason})"


def refuse(refusals: Iterable[Refusal]) -> None:
    """Raise TargetError with all refusals, if there are any; its hint has the lines to paste into the plan."""
    every = sorted(set(refusals))
    if every:
        raise TargetError(_message(every), hint=_hint(every), code="PR0801")


def _message(every: Sequence[Refusal]) -> str:
    if len(every) == 1:
        return f"cannot be replaced: {every[0].line}"
    lines = "\n".join(f"  {one_line(one.line)}{f'; {one.way}' if one.way else ''}" for one in every)
    return f"cannot be replaced, {plural(len(every), 'reason')}:\n{lines}"


def _hint(every: Sequence[Refusal]) -> str:
    ways = [every[0].way] if len(every) == 1 and every[0].way else []
    if tables := sorted({one.exclude for one in every if one.exclude}):
        ways.append(f"leave tables as they are with `exclude: [{', '.join(map(_yaml, tables))}]`")
    if lost := sorted({one.lose for one in every if one.lose}):
        ways.append(f"accept the loss with `lose: [{', '.join(map(_yaml, lost))}]`")
    return "; ".join(ways) or "each line says what to do"


def _yaml(name: str) -> str:
    """Return a name as it can be pasted into a YAML list."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and not name[0].isdigit()
    return name if plain and name.lower() not in _YAML_WORDS else "'" + name.replace("'", "''") + "'"


_YAML_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def of_table(name: str, reason: str, way: str = "") -> Refusal:
    """Return the refusal of a table, which may be left out instead."""
    return Refusal(what=shown_name("", name), reason=reason, way=way, exclude=name)


def of_lost(lost: Lost) -> Refusal:
    """Return the refusal for an object that depends on a table and would be lost with the old one."""
    first, _, last = lost.hint.rpartition(", ")
    way = f"{first} or {last}" if first else last
    return Refusal(
        what=lost.what, reason=f"would be lost: {lost.reason}", way=way, lose=lost.what if lost.may_go else ""
    )
