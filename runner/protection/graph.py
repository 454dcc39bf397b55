"""The steps of a plan as a tree of nodes, each with what it removes, protects and creates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, TypeVar

from runner import values
from runner.errors import PlanrunError
from runner.kinds import KINDS
from runner.kinds.base import SqlReader
from runner.losses import Loss, Protection
from runner.model import UNKNOWN, Plan, Step
from runner.record import dataclass
from runner.table_name import TableName
from runner.values import Ref

_OnConnection = TypeVar("_OnConnection", Loss, Protection)

NO_LOOP = -1
UNKNOWN_LENGTH = -2


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One step. order: its number in the plan, groups before what is in them. path: as in a run, without `[0]`.

    given: the values that its guard sees besides steps. items: the length of its `for_each`, NO_LOOP or UNKNOWN_LENGTH.
    own_list: the list of its `for_each`, by a name that all loops over it share. lists: that, and those of the
    loops around it.
    """

    order: int
    path: str
    step: Step
    given: Mapping[str, Any]
    items: int = NO_LOOP
    own_list: str = ""
    lists: frozenset[str] = frozenset()
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


def block_of(
    plan: Plan, steps: Sequence[Step], read: SqlReader, given: Mapping[str, Any] | None = None
) -> tuple[Node, ...]:
    """Return the nodes of the plan's steps, or of its rollback. read: returns the effects of SQL.

    given: what guards see besides the params and the steps.
    """
    seen = {"params": plan.params, **(given or {})}
    return _Builder(plan, read).block(steps, _BlockContext("", seen, _base(plan)))


def _base(plan: Plan) -> Mapping[str, Any]:
    return {"params": plan.params, "env": plan.env, "steps": UNKNOWN, "item": UNKNOWN, "run": UNKNOWN}


@dataclass(frozen=True)
class _BlockContext:
    """The surroundings of a block. steps: the path of each step that it sees. loops: the lists of loops around it."""

    prefix: str
    given: Mapping[str, Any]
    base: Mapping[str, Any]
    steps: Mapping[str, str] = field(default_factory=dict)
    loops: frozenset[str] = frozenset()


@dataclass
class _Builder:
    plan: Plan
    read: SqlReader
    count: int = 0

    def block(self, steps: Sequence[Step], place: _BlockContext) -> tuple[Node, ...]:
        paths = dict(place.steps)
        found = []
        for step in steps:
            found.append(self.node(step, replace(place, steps=paths)))
            paths[step.id] = found[-1].path
        return tuple(found)

    def node(self, step: Step, place: _BlockContext) -> Node:
        path, own = place.prefix + step.id, _list_of(step, place)
        order, self.count = self.count, self.count + 1
        loops = place.loops | ({own} if own else frozenset())
        items = _items(step, place.base)
        node = Node(order=order, path=path, step=step, given=place.given, items=items, own_list=own, lists=loops)
        if step.kind:
            return self.leaf(node, _resolve(step.values, place.base))
        inner = replace(place, prefix=f"{path}.", loops=loops)
        if step.inputs is not None:
            inputs = {"inputs": _resolve(step.inputs, place.base)}
            inner = replace(inner, given=inputs, base={**_base(self.plan), **inputs}, steps={})
        elif step.for_each is not None:
            inner = replace(inner, given={**place.given, "item": UNKNOWN})
        return replace(node, inside=self.block(step.steps, inner))

    def leaf(self, node: Node, given: Any) -> Node:
        kind = KINDS[node.step.kind]
        if not isinstance(given, Mapping):
            return node
        destroys, protects, makes = (getattr(kind, name, None) for name in ("destroys", "protects", "makes"))
        losses: tuple[Loss, ...] = tuple(destroys(given, self.read)) if destroys else ()
        return replace(
            node,
            losses=tuple(map(self.with_connection, losses)),
            protections=tuple(map(self.with_connection, protects(given))) if protects else (),
            makes=makes(given, self.read) if makes else (),
        )

    def with_connection(self, one: _OnConnection) -> _OnConnection:
        """Return a loss or protection with the name of the default connection in place of ""."""
        return one if one.place != "" else replace(one, place=_default_connection(self.plan.connections))


def _default_connection(declared: Mapping[str, Any]) -> str:
    if "target" in declared:
        return "target"
    return next(iter(declared)) if len(declared) == 1 else ""


def _list_of(step: Step, place: _BlockContext) -> str:
    """Return a name for the list of a `for_each`, "" if no other loop can have the same list."""
    tree = step.for_each
    if not isinstance(tree, Ref):
        return ""
    root, *names = tree.names
    if root == "params":
        return ".".join(tree.names)
    if root == "steps" and names and names[0] in place.steps:
        return " ".join([place.steps[names[0]], *names[1:]])
    return ""


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
