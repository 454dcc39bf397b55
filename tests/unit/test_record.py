"""Frozen dataclasses that compile their methods late behave like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from dataclasses import field
from typing import Any

import pytest

from runner.record import dataclass


@dataclass(frozen=True, kw_only=True)
class Words:
    """With a default, a factory and a field that is not compared."""

    name: str
    rows: int = 0
    parts: list[str] = field(default_factory=list, hash=False)
    note: str = field(default="", compare=False, repr=False)

    @property
    def both(self) -> tuple[str, int]:
        return self.name, self.rows


@dataclass(frozen=True)
class Pair:
    left: int
    right: int = 2
    d: str = "x"

    def __post_init__(self) -> None:
        if self.left > self.right:
            raise ValueError("the wrong way round")


@dataclass(frozen=True)
class Triple(Pair):
    last: int = 3


@dataclass(frozen=True, eq=False)
class Itself:
    value: int = 1


@dataclass(frozen=True, order=True)
class Ordered:
    value: int


@dataclass(frozen=True)
class Empty:
    pass


def same_by_the_library(cls: Any) -> Any:
    """Return the same class, decorated by the standard library."""
    fields = [(one.name, one.type, copy.copy(one)) for one in dataclasses.fields(cls)]
    return dataclasses.make_dataclass(cls.__name__, fields, frozen=True)


def test_it_is_made_compared_shown_and_hashed_like_one_of_the_library() -> None:
    theirs = same_by_the_library(Words)
    for words in ({"name": "a"}, {"name": "a", "rows": 3, "note": "b"}):
        ours, other = Words(**words), theirs(**words)
        assert repr(ours) == repr(other)
        assert dataclasses.asdict(ours) == dataclasses.asdict(other)
        assert dataclasses.replace(ours, rows=7).both == ("a", 7)
        assert pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours) == ours
    assert Words(name="a", note="1") == Words(name="a", note="2") != Words(name="b")
    assert Words(name="a").parts is not Words(name="a").parts
    assert hash(Pair(1)) == hash(Pair(1, 2)) and Pair(1) != Triple(1) and Pair(1) not in list[Any]([(1, 2, "x")])
    assert repr(Triple(1, 5)) == "Triple(left=1, right=5, d='x', last=3)"
    assert Itself() != Itself() and Ordered(1) < Ordered(2) and Empty() == Empty() and hash(Empty()) == hash(())
    assert Empty.__doc__ == "Empty" and Words.__match_args__ == ()
    match Pair(1, 2):
        case Pair(left, right):
            assert (left, right) == (1, 2)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda: Words(), TypeError),  # type: ignore[call-arg]
        (lambda: Words("a"), TypeError),  # type: ignore[call-arg]
        (lambda: Words(name="a", no=1), TypeError),  # type: ignore[call-arg]
        (lambda: Pair(3), ValueError),
        (lambda: setattr(Pair(1), "left", 2), dataclasses.FrozenInstanceError),
        (lambda: delattr(Pair(1), "left"), dataclasses.FrozenInstanceError),
        (lambda: setattr(Empty(), "more", 2), dataclasses.FrozenInstanceError),
    ],
)
def test_what_the_library_refuses_is_refused(wrong: Any, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        wrong()


def test_methods_are_compiled_when_they_are_used() -> None:
    """A module of many classes costs little as long as nobody makes an instance."""

    @dataclass(frozen=True, kw_only=True)
    class Late:
        value: int = 1

    first = vars(Late)["__init__"]
    assert Late().value == 1 and vars(Late)["__init__"] is not first
    for name in ("__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__"):
        assert vars(Late)[name] is vars(Pair)[name]


def test_its_signature_is_known_before_there_is_an_instance() -> None:
    """Hypothesis and help() ask for it."""

    @dataclass(frozen=True, kw_only=True)
    class Late:
        pair: Pair
        value: int = 1

    assert list(inspect.signature(Late).parameters) == ["pair", "value"]
    assert typing.get_type_hints(Late.__init__, localns=locals())["value"] is int
