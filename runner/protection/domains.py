"""Which results of earlier steps the guards of a plan use, until when, and the values that make a difference.

For a number that is only compared with constants, few values matter: each constant, and one on either side of it.
A value used in another way is UNKNOWN: then both truth values of a guard are examined.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner import guard
from runner.kinds import KINDS
from runner.model import UNKNOWN
from runner.protection.graph import NO_LOOP, UNKNOWN_LENGTH, Node

_STATES = ("ok", "warned", "failed", "skipped", "state")
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


@dataclass
class Uses:
    """last: the order of the last step whose guard uses a step. values: the values of its outputs that matter.

    Both by the order of the step that is used.
    """

    last: dict[int, int] = field(default_factory=dict)
    values: dict[int, dict[str, tuple[Any, ...]]] = field(default_factory=dict)

    def endings(self, node: Node) -> Iterator[tuple[tuple[str, Any], ...]]:
        """Yield every combination of outputs of a step that makes a difference."""
        fields = self.values.get(node.order, {})
        for chosen in itertools.product(*fields.values()):
            yield tuple(zip(fields, chosen, strict=True))


def uses_of(nodes: Sequence[Node]) -> Uses:
    """Return what the guards of a block, and of the steps in it, use."""
    uses = Uses()
    constants: dict[int, dict[str, _Constants]] = {}
    named: dict[int, Node] = {}
    for node, names, until in _guards(nodes, {}, NO_LOOP):
        handled = dict(_comparisons(node, names))
        for dotted, part in node.step.when.asked:
            if (target := names.get(dotted[0])) is None:
                continue
            uses.last[target.order] = max(uses.last.get(target.order, 0), until, node.order)
            if len(dotted) < 2 or dotted[1] in _STATES:
                continue
            named[target.order] = target
            found = constants.setdefault(target.order, {}).setdefault(dotted[1], _Constants())
            found.add(handled.get(id(part)) if len(dotted) == 2 else None, part)
    for order, fields in constants.items():
        uses.values[order] = {name: _domain(named[order], name, found) for name, found in fields.items()}
    return uses


@dataclass
class _Constants:
    """The constants that an output is compared with. free: it is used in another way as well. alone: it is a truth
    value itself."""

    values: set[Any] = field(default_factory=set)
    free: bool = False
    alone: bool = False
    ordered: bool = False

    def add(self, found: tuple[list[Any], bool] | None, part: ast.AST) -> None:
        if found is None:
            self.alone = True
            return
        values, ordered = found
        self.ordered = self.ordered or ordered
        try:
            self.values |= set(values)
        except TypeError:
            self.free = True


def _guards(
    nodes: Sequence[Node], around: Mapping[str, Node], until: int
) -> Iterator[tuple[Node, Mapping[str, Node], int]]:
    """Yield the steps with a guard, the names that it sees, and the first step after the loops around it."""
    names = dict(around)
    for node in nodes:
        if node.step.when is not None:
            yield node, names, until
        if node.inside:
            last = max(until, _last(node) + 1) if node.items != NO_LOOP or until != NO_LOOP else NO_LOOP
            yield from _guards(node.inside, names if node.step.inputs is None else {}, last)
        names = {**names, node.step.id: node} if node.inside else names
        names[node.step.id] = node


def _last(node: Node) -> int:
    return _last(node.inside[-1]) if node.inside else node.order


def _comparisons(node: Node, names: Mapping[str, Node]) -> Iterator[tuple[int, tuple[list[Any], bool]]]:
    """Yield, for each name that is compared with constants only, its place in the guard and the constants."""
    for compare in node.step.when.compared:
        sides = [compare.left, *compare.comparators]
        unknown = [side for side in sides if (dotted := guard.name_parts(side)) and dotted[0] in names]
        if len(unknown) != 1:
            continue
        others = [guard.value_of(side, _Given(node.given)) for side in sides if side is not unknown[0]]
        flat = [one for other in others for one in (other if isinstance(other, list) else [other])]
        ordered = any(isinstance(op, _ORDERED) for op in compare.ops)
        if not any(one is UNKNOWN or isinstance(one, list | Mapping) for one in flat):
            yield id(unknown[0]), (flat, ordered)


class _Given(dict[str, Any]):
    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return UNKNOWN


def _domain(node: Node, name: str, found: _Constants) -> tuple[Any, ...]:
    kind = _type(node, name)
    if kind == "boolean" and not found.free:
        return True, False
    if found.free or found.alone:
        return (UNKNOWN,)
    if name == "count" and node.items not in (NO_LOOP, UNKNOWN_LENGTH):
        return (node.items,)
    if kind in ("integer", "number"):
        return _numbers(found.values, whole=kind == "integer", least=0 if node.items != NO_LOOP else None)
    if kind == "string" and not found.ordered:
        texts = sorted(one for one in found.values if isinstance(one, str))
        return (*texts, "".join(texts) + "...", None)
    return (UNKNOWN,)


def _type(node: Node, name: str) -> str:
    if node.items != NO_LOOP:
        return "integer" if name == "count" else ""
    if not node.step.kind or name not in KINDS[node.step.kind].OUTPUTS:
        return ""
    return KINDS[node.step.kind].OUTPUTS[name].type


def _numbers(constants: set[Any], *, whole: bool, least: int | None) -> tuple[Any, ...]:
    numbers = sorted(one for one in constants if isinstance(one, int | float) and not isinstance(one, bool))
    found: set[float] = {0, 1}
    for one in numbers:
        found |= {one - 1, one, one + 1} if not whole else {int(one) - 1, int(one), int(one) + 1}
    if not whole:
        found |= {(one + other) / 2 for one, other in itertools.pairwise(numbers)}
    kept = {one for one in found if least is None or one >= least}
    return tuple(sorted(kept, key=lambda one: (one < 0, one)))
