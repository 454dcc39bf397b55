"""Frozen dataclasses whose methods are compiled when they are first used.

`dataclasses.dataclass` compiles six methods of each class when its module is imported: 0.4 ms for a frozen one. With
the 61 classes that `validate` loads this was a quarter of its time, and most of them get no instance. To a type checker
this is the decorator of the standard library; `fields`, `replace`, `asdict` and `match` work as with that.
Source of the rules for __eq__, __hash__ and __repr__: Python docs, dataclasses.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, order=False, eq=True, kw_only=False):
        """Make a dataclass; one that is frozen and has no order gets its methods when they are used."""

        def make(cls):
            if order or not frozen:
                return dataclasses.dataclass(cls, frozen=frozen, order=order, eq=eq, kw_only=kw_only)
            return _frozen(cls, eq, kw_only)

        return make if cls is None else make(cls)


def _frozen(cls: type, eq: bool, kw_only: bool) -> type:
    # without a docstring, dataclass() makes one of the signature, which takes longer than all the rest
    cls.__doc__ = cls.__doc__ or cls.__name__
    made: Any = dataclasses.dataclass(cls, init=False, repr=False, eq=False, kw_only=kw_only)

    def begin(self: Any, *values: Any, **words: Any) -> None:
        made.__init__ = _compile_init(made)
        made.__init__(self, *values, **words)

    defaults: dict[str, Any] = {"__init__": begin, "__repr__": _repr, "__setattr__": _set, "__delattr__": _delete}
    cls.__signature__ = _Signature()  # type: ignore[attr-defined]
    if eq:
        defaults |= {"__eq__": _equal, "__hash__": _hash}
    for name, method in defaults.items():
        if vars(cls).get(name) is None:  # a class with __eq__ has a __hash__ of None
            setattr(cls, name, method)
    return cls


def _compile_init(cls: Any) -> Callable[..., None]:
    """Return __init__ of a class. It writes to __dict__, because the class refuses to set attributes."""
    every = [one for one in dataclasses.fields(cls) if one.init]
    scope: dict[str, Any] = {"_missing": dataclasses.MISSING}
    words, body = list[str](), ["_into = self.__dict__"]
    for number, one in enumerate(sorted(every, key=lambda one: bool(one.kw_only))):
        if one.kw_only and "*" not in words:
            words.append("*")
        word, value = one.name, one.name
        if one.default_factory is not dataclasses.MISSING:
            scope[f"factory{number}"] = one.default_factory
            word, value = f"{one.name}=_missing", f"factory{number}() if {one.name} is _missing else {one.name}"
        elif one.default is not dataclasses.MISSING:
            scope[f"default{number}"] = one.default
            word = f"{one.name}=default{number}"
        words.append(word)
        body.append(f"_into[{one.name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    lines = [f"def make({', '.join(scope)}):", f" def __init__({', '.join(['self', *words])}):"]
    text = "\n".join([*lines, *(f"  {line}" for line in body), " return __init__"])
    places: dict[str, Any] = {}
    exec(text, vars(sys.modules[cls.__module__]), places)  # where the texts of its annotations have a meaning
    made: Callable[..., None] = places["make"](**scope)
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = {one.name: one.type for one in every} | {"return": None}
    return made


class _Signature:
    """The signature of a class, for those who inspect it before it has an instance."""

    def __get__(self, instance: object, cls: Any) -> inspect.Signature:
        import inspect

        if cls.__init__.__name__ != "__init__":
            cls.__init__ = _compile_init(cls)
        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


_VALUES: dict[type, Callable[[Any], object]] = {}
"""For each class the function that returns the values that two of its instances are compared by."""


def _values(of: Any) -> object:
    cls = type(of)
    if cls not in _VALUES:
        names = [one.name for one in dataclasses.fields(cls) if one.compare]
        _VALUES[cls] = attrgetter(*names) if names else lambda _: ()
    return _VALUES[cls](of)


def _equal(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({shown})"


def _set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
