"""The steps of a plan as a tree of nodes, each with what it takes away, protects and makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from runner import values
from runner.errors import PlanrunError
from runner.kinds import KINDS
from runner.kinds.base import SqlReader
from runner.losses import Loss, Protection
from runner.model import UNKNOWN, Plan, Step
from runner.table_name import TableName

_Placed = TypeVar("_Placed", Loss, Protection)

NO_LOOP = -1
UNKNOWN_LENGTH = -2


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One step. order: its number in the plan, groups before what is in them. path: as in a run, without `[0]`.

    given: what its guard sees besides steps. items: the length of its `for_each`, NO_LOOP or UNKNOWN_LENGTH.
    """

    order: int
    path: str
    step: Step
    given: Mapping[str, Any]
    items: int = NO_LOOP
    inside: tuple[Node, ...] = ()
    losses: tuple[Loss, ...] = ()
    protections: tuple[Protection, ...] = ()
    makes: tuple[TableName, ...] = ()

    @property
    def may_be_empty(self) -> bool:
        """Whether it may end ok without having done anything, because its list is empty."""
        return self.items in (0, UNKNOWN_LENGTH)

    @property
    def leaves(self) -> Iterator[Node]:
        """Yield the steps of a kind in order: itself, or those inside."""
        if self.step.kind:
            yield self
        for one in self.inside:
            yield from one.leaves


def block_of(plan: Plan, steps: Sequence[Step], read: SqlReader) -> tuple[Node, ...]:
    """Return the nodes of the plan's steps, or of its rollback. read: tells what SQL does."""
    return _Builder(plan, read).block(steps, "", {"params": plan.params}, _base(plan))


def _base(plan: Plan) -> Mapping[str, Any]:
    return {"params": plan.params, "env": plan.env, "steps": UNKNOWN, "item": UNKNOWN, "run": UNKNOWN}


@dataclass
class _Builder:
    plan: Plan
    read: SqlReader
    count: int = 0

    def block(
        self, steps: Sequence[Step], prefix: str, given: Mapping[str, Any], base: Mapping[str, Any]
    ) -> tuple[Node, ...]:
        return tuple(self.node(step, prefix, given, base) for step in steps)

    def node(self, step: Step, prefix: str, given: Mapping[str, Any], base: Mapping[str, Any]) -> Node:
        path = prefix + step.id
        order, self.count = self.count, self.count + 1
        node = Node(order=order, path=path, step=step, given=given, items=_items(step, base))
        if step.kind:
            return self.leaf(node, _resolve(step.values, base))
        if step.inputs is None:
            inner = {**given, "item": UNKNOWN} if step.for_each is not None else given
            return replace(node, inside=self.block(step.steps, f"{path}.", inner, base))
        inputs = _resolve(step.inputs, base)
        inner = {"inputs": inputs}
        return replace(node, inside=self.block(step.steps, f"{path}.", inner, {**_base(self.plan), **inner}))

    def leaf(self, node: Node, given: Any) -> Node:
        kind = KINDS[node.step.kind]
        if not isinstance(given, Mapping):
            return node
        destroys, protects, makes = (getattr(kind, name, None) for name in ("destroys", "protects", "makes"))
        losses: tuple[Loss, ...] = tuple(destroys(given, self.read)) if destroys else ()
        return replace(
            node,
            losses=tuple(map(self.placed, losses)),
            protections=tuple(map(self.placed, protects(given))) if protects else (),
            makes=makes(given, self.read) if makes else (),
        )

    def placed(self, one: _Placed) -> _Placed:
        """Return what a step does, with the name of the connection that "" stands for."""
        return one if one.place != "" else replace(one, place=_default_connection(self.plan.connections))


def _default_connection(declared: Mapping[str, Any]) -> str:
    if "target" in declared:
        return "target"
    return next(iter(declared)) if len(declared) == 1 else ""


def _items(step: Step, base: Mapping[str, Any]) -> int:
    if step.for_each is None:
        return NO_LOOP
    found = _resolve(step.for_each, base)
    return len(found) if isinstance(found, list | tuple) else 0 if found is None else UNKNOWN_LENGTH


def _resolve(tree: Any, base: Mapping[str, Any]) -> Any:
    try:
        return values.resolve(tree, base)
    except (KeyError, PlanrunError):
        return UNKNOWN
