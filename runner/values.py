"""`${a.b.c}` in YAML values: parsed once into references, looked up when a step is planned. Never code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.model import UNKNOWN, Plan, Step
from runner.record import dataclass

ROOTS = ("params", "env", "item", "steps", "inputs", "run")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_INSIDE = re.compile(rf"\s*({_NAME}(?:\.(?:{_NAME}|\d+))*)\s*\Z")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Ref:
    """One `${a.b.c}`: its names, what was written, and its offset in the string it stood in."""

    names: tuple[str, ...]
    text: str
    offset: int = 0


@dataclass(frozen=True)
class Text:
    """A string with references inside; each part is text or a Ref."""

    parts: tuple[str | Ref, ...]


class BadValue(ValueError):
    """A `${...}` that is not a dotted name; `offset` counts characters in the string."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse(data: Any) -> Any:
    """Return the tree with every string that holds `${}` made a Ref (alone) or a Text (mixed).

    `$${` is a literal `${`. Raises BadValue for anything else between the braces.
    """
    if isinstance(data, str):
        return _parse_string(data)
    if isinstance(data, Mapping):
        return {key: parse(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [parse(value) for value in data]
    return data


def _parse_string(text: str) -> str | Ref | Text:
    if "${" not in text:
        return text
    parts: list[str | Ref] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[end : match.start()])
        parts.append("${" if match[1] is None else _ref(match))
        end = match.end()
    parts.append(text[end:])
    parts = _join_texts(parts)
    if len(parts) == 1:
        return parts[0]
    return Text(tuple(parts))


def _ref(match: re.Match[str]) -> Ref:
    inside = _INSIDE.match(match[1])
    if not match[0].endswith("}") or not inside:
        raise BadValue(f"`{match[0]}` is not a dotted name such as ${{params.name}}", match.start())
    names = tuple(inside[1].split("."))
    if names[0] not in ROOTS:
        raise BadValue(f"`{match[0]}` starts with '{names[0]}'; known: {', '.join(ROOTS)}", match.start())
    return Ref(names, match[0], match.start())


def _join_texts(parts: Sequence[str | Ref]) -> list[str | Ref]:
    joined: list[str | Ref] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return joined


def refs(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Ref]]:
    """Yield every reference of a parsed tree with the path of the value that contains it."""
    if isinstance(tree, Ref):
        yield path, tree
    elif isinstance(tree, Text):
        yield from ((path, part) for part in tree.parts if isinstance(part, Ref))
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from refs(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from refs(value, (*path, index))


def resolve(tree: Any, scope: Mapping[str, Any]) -> Any:
    """Return the data with every reference looked up in `scope`; UNKNOWN if the value is known only in a run.

    A string that mixes text with an unknown is unknown as a whole. Raises KeyError with the reference that has no value
    (for names in a plan, the checks of load prevent this).
    """
    if isinstance(tree, Ref):
        return lookup(tree.names, scope)
    if isinstance(tree, Text):
        found = [part if isinstance(part, str) else lookup(part.names, scope) for part in tree.parts]
        return UNKNOWN if any(part is UNKNOWN for part in found) else "".join(map(_plain, found))
    if isinstance(tree, Mapping):
        return {key: resolve(value, scope) for key, value in tree.items()}
    if isinstance(tree, list):
        return [resolve(value, scope) for value in tree]
    return tree


def lookup(names: Sequence[str], scope: Any) -> Any:
    """Follow a path through mappings by key and lists by number; any lookup in UNKNOWN gives UNKNOWN."""
    found: Any = scope
    for name in names:
        if found is UNKNOWN:
            return UNKNOWN
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list | tuple) and _is_number(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            raise KeyError(".".join(names))
    return found


def _is_number(name: str) -> bool:
    return name.isdecimal() and len(name) < 10  # Python refuses to parse 4300 digits


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


class _Variables(dict[str, Any]):
    """The environment variables of a plan; each other one is UNKNOWN."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return UNKNOWN


def has_unknown(data: Any) -> bool:
    """Return whether any value of resolved data is still unknown."""
    if isinstance(data, Mapping):
        return any(map(has_unknown, data.values()))
    if isinstance(data, list | tuple):
        return any(map(has_unknown, data))
    return data is UNKNOWN


def steps(plan: Plan) -> Iterator[tuple[Step, Mapping[str, Any]]]:
    """Yield every step of a kind with its values; a value that is known only in a run is UNKNOWN.

    So is that of a variable which is not set where the plan was read offline.
    """
    later = {"steps": UNKNOWN, "item": UNKNOWN, "run": UNKNOWN}
    base = {"params": plan.params, "env": _Variables(plan.env), **later}

    def walk(some: Sequence[Step], scope: Mapping[str, Any]) -> Iterator[tuple[Step, Mapping[str, Any]]]:
        for step in some:
            if step.kind:
                yield step, resolve(step.values, scope)
            inner = scope if step.inputs is None else {**base, "inputs": resolve(step.inputs, scope)}
            yield from walk(step.steps, inner)

    yield from walk(plan.every_step, base)
