"""A stand-in for a value that is known only during a run, so that a template can be rendered and parsed offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.model import UNKNOWN

NAME = "unknown_until_run"


class StandIn:
    """Can be used as a text, a name, a number, a list of one item, and an object with any field; a test gives
    `truth`."""

    __hash__ = object.__hash__

    def __init__(self, truth: bool = True) -> None:
        self._truth = truth

    def __str__(self) -> str:
        return NAME

    def __bool__(self) -> bool:
        return self._truth

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[StandIn]:
        yield self

    def __getitem__(self, key: Any) -> StandIn:
        return self

    def _test(self, other: Any) -> bool:
        return self._truth

    def _same(self, other: Any) -> StandIn:
        return self

    def __eq__(self, other: object) -> bool:
        return self._truth

    def __ne__(self, other: object) -> bool:
        return self._truth

    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _test
    __add__ = __radd__ = __sub__ = __rsub__ = _same

    def __neg__(self) -> StandIn:
        return self


def stand_in(data: Any, truth: bool = True) -> Any:
    """Return the data with every UNKNOWN replaced."""
    if data is UNKNOWN:
        return StandIn(truth)
    if isinstance(data, Mapping):
        return {key: stand_in(value, truth) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [stand_in(value, truth) for value in data]
    return data


def has_stand_in(data: Any) -> bool:
    """Return whether the data contains a StandIn, at any depth."""
    if isinstance(data, Mapping):
        return any(map(has_stand_in, data.values()))
    if isinstance(data, list | tuple):
        return any(map(has_stand_in, data))
    return isinstance(data, StandIn)


def fill_standins(data: Any) -> Any:
    """Return the data with every StandIn replaced by a text that is valid as a name and as a literal."""
    if isinstance(data, StandIn):
        return NAME
    if isinstance(data, Mapping):
        return {key: fill_standins(value) for key, value in data.items()}
    if isinstance(data, list | tuple | Iterator):
        return [fill_standins(value) for value in data]
    return data
