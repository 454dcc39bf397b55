"""What is certain whenever a step runs: which protecting steps have then ended ok. Each step is examined once.

The results also hold in a resume. A step that ended ok stays so, together with the results that its guard used, which
were recorded before it. What is not found may still be true: runner.protection.outcomes examines every outcome.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from runner import guard
from runner.engine.walk import view
from runner.model import UNKNOWN, Outcome, State
from runner.protection.graph import Node
from runner.record import dataclass

ALWAYS = -1
"""The mask of a step that never runs: everything is true of it."""

_VALUED = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)
_NAMES = ("ok", "warned", "failed", "skipped", "state")


@dataclass(frozen=True, kw_only=True)
class Certain:
    """Bit masks of the steps that have ended ok: when this one runs, when it ends ok, when it has not failed.

    filled: when it ends ok and its `for_each` had an item.
    """

    runs: int
    ok: int
    gone_well: int
    filled: int


@dataclass
class Certainty:
    """The masks of every step, by its order. protecting: the bit of each protecting step, by its order.

    perhaps: the bit for having ended ok, perhaps with nothing to do.
    terms: the steps whose results the guard of a step uses. parent: the group around a step.
    """

    protecting: Mapping[int, int]
    perhaps: Mapping[int, int]
    of: dict[int, Certain] = field(default_factory=dict)
    terms: dict[int, Sequence[Node]] = field(default_factory=dict)
    parent: dict[int, Node] = field(default_factory=dict)

    def block(self, nodes: Sequence[Node], around: Mapping[str, Node] | None = None, base: int = 0) -> None:
        """Find the masks of the steps of a block. base: what is certain when the block begins."""
        names = dict(around or {})
        so_far = base
        giving: tuple[Node, ...] = ()
        for node in nodes:
            self.terms[node.order] = giving if node.step.when is None else _guard_steps(node, names)
            runs = base | (so_far if node.step.when is None else self._guard(node, names))
            self._step(node, runs, names)
            names[node.step.id] = node
            if (so_far | self.of[node.order].gone_well) != so_far:
                so_far, giving = so_far | self.of[node.order].gone_well, (*giving, node)

    def _step(self, node: Node, runs: int, names: Mapping[str, Node]) -> None:
        if node.step.kind:
            own, perhaps = self.protecting.get(node.order, 0), self.perhaps.get(node.order, 0)
            filled, ok = runs | own | perhaps, runs | perhaps | (0 if node.may_be_empty else own)
            soft = node.step.on_error == "warn"
            self.of[node.order] = Certain(runs=runs, ok=ok, gone_well=runs if soft else ok, filled=filled)
            return
        self.parent |= {one.order: node for one in node.inside}
        # the steps of a template do not see what is around it
        self.block(node.inside, names if node.step.inputs is None else None, runs)
        inside = self._inside(node, strict=True), self._inside(node, strict=False)
        ok, gone_well = (runs | (0 if node.may_be_empty else mask) for mask in inside)
        soft = node.step.on_error == "warn"
        self.of[node.order] = Certain(runs=runs, ok=ok, gone_well=runs if soft else gone_well, filled=runs | inside[0])

    def _inside(self, node: Node, *, strict: bool) -> int:
        """Return what is certain after a group in which no step failed; with `strict`, none warned either."""
        views: dict[str, Any] = {}
        found, default = 0, True
        for one in node.inside:
            held = default
            if one.step.when is not None:
                held = guard.evaluate(one.step.when, _Names({**one.given, **views})).holds is True
            mask = self.of[one.order]
            soft = one.step.on_error == "warn"
            ends_ok = held and bool(one.step.kind) and (strict or not soft)
            if held:
                found |= mask.ok if (strict and one.step.kind) else mask.gone_well
            views[one.step.id] = _view_of(ends_ok)
            default = default and held and bool(one.step.kind)
        return found

    # -------------------------------------------------------------- guards

    def _guard(self, node: Node, names: Mapping[str, Node]) -> int:
        return self._true(node.step.when.tree, _Guard(node.given, names), True)

    def _true(self, tree: ast.AST, at: _Guard, truth: bool) -> int:
        """Return what is certain if this part of a guard has this truth value."""
        known = guard.value_of(tree, _Names(at.given))
        if known is not UNKNOWN:
            return 0 if (known is True) == truth else ALWAYS
        match tree:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._true(operand, at, not truth)
            case ast.BoolOp(op=op, values=parts):
                masks = [self._true(part, at, truth) for part in parts]
                if isinstance(op, ast.And) != truth:
                    return _any(masks)
                return _all([*masks, *self._rounds_of(parts, at, truth)])
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compare(left, op, right, at, truth)
        dotted = guard.name_parts(tree)
        return self._state(at.names[dotted[0]], dotted[1], truth) if len(dotted) == 2 and dotted[0] in at.names else 0

    def _rounds_of(self, parts: Sequence[ast.expr], at: _Guard, truth: bool) -> Iterator[int]:
        """Yield what is certain if a guard requires that a loop over steps is ok and its `count` is above 0."""
        ok = {dotted[0] for part in parts if (dotted := guard.name_parts(part))[1:] == ("ok",) and truth}
        for part in parts if ok else ():
            match part:
                case ast.Compare(
                    left=ast.Attribute(attr="count") as left, ops=[ast.Gt()], comparators=[ast.Constant(0)]
                ):
                    name = guard.name_parts(left)[0]
                    if name in ok & at.names.keys() and at.names[name].inside:
                        yield self.of[at.names[name].order].filled

    def _state(self, node: Node, word: str, truth: bool) -> int:
        mask = self.of[node.order]
        if not truth:
            return 0
        if word == "ok":
            return mask.ok
        return mask.runs if word in ("warned", "failed") else 0

    def _compare(self, left: ast.AST, op: ast.cmpop, right: ast.AST, at: _Guard, truth: bool) -> int:
        dotted, other = guard.name_parts(left), right
        if len(dotted) != 2 or dotted[0] not in at.names:
            dotted, other = guard.name_parts(right), left
        if len(dotted) != 2 or dotted[0] not in at.names:
            return 0
        node, word = at.names[dotted[0]], dotted[1]
        if word == "state":
            return self._word(node, op, other, truth)
        if word in _NAMES or not truth or not (node.step.kind or node.step.for_each is not None):
            return 0
        constant = guard.value_of(other, _Names(at.given))
        if isinstance(op, _VALUED):
            positive = isinstance(constant, int | float) and _excludes_zero(op, constant, left is not other)
        elif isinstance(op, ast.Eq) and constant is not None and constant is not UNKNOWN:
            positive = constant != 0
        else:
            return 0
        mask = self.of[node.order]
        if not node.step.kind:  # a loop over steps has a count in every state
            return mask.runs
        return mask.filled if word == "count" and node.step.for_each is not None and positive else mask.ok

    def _word(self, node: Node, op: ast.cmpop, other: ast.AST, truth: bool) -> int:
        words = guard.value_of(other, {})
        words = words if isinstance(words, list) else [words]
        equal = isinstance(op, ast.Eq | ast.In) if truth else isinstance(op, ast.NotEq | ast.NotIn)
        if not equal or UNKNOWN in words:
            return 0
        return _any([self._state(node, word, True) for word in words if isinstance(word, str)])


@dataclass(frozen=True)
class _Guard:
    given: Mapping[str, Any]
    names: Mapping[str, Node]


class _Names(dict[str, Any]):
    """Values by name; for a step that it does not contain, everything is unknown."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return UNKNOWN


def _excludes_zero(op: ast.cmpop, constant: float, on_the_left: bool) -> bool:
    """Return whether `x.count OP constant` is false for 0; if not `on_the_left`, whether `constant OP x.count` is."""
    left, right = (0.0, constant) if on_the_left else (constant, 0.0)
    return not {
        ast.Gt: left > right,
        ast.GtE: left >= right,
        ast.Lt: left < right,
        ast.LtE: left <= right,
    }[type(op)]


def _view_of(ends_ok: bool) -> Mapping[str, Any]:
    return _Names(view(Outcome(path="", state=State.OK), ()) if ends_ok else {})


def _guard_steps(node: Node, names: Mapping[str, Node]) -> tuple[Node, ...]:
    found = {dotted[0]: names[dotted[0]] for dotted, _ in node.step.when.asked if dotted[0] in names}
    return tuple(found.values())


def _all(masks: Sequence[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def _any(masks: Sequence[int]) -> int:
    found = ALWAYS
    for mask in masks:
        found &= mask
    return found
