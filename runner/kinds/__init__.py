"""All step kinds: each module in this folder is one, and is imported when a plan names it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import cast

from runner.kinds.base import Kind


@cache
def names() -> tuple[str, ...]:
    """Return the name of every kind, sorted, without importing any."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and m.name[0] != "_"))


def get(name: str) -> Kind:
    """Import a kind. Raises KeyError when there is none of this name."""
    if name not in names():
        raise KeyError(name)
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))


class _Kinds(Mapping[str, Kind]):
    def __getitem__(self, name: str) -> Kind:
        return get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())


KINDS: Mapping[str, Kind] = _Kinds()
