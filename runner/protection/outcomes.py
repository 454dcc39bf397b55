"""Every outcome of a plan: each step may end ok, warned, failed or skipped, by the rules of the engine.

Results that no later guard uses are dropped at once, so that a long plan has few different outcomes at any step. The
rules themselves are those of runner.engine.walk and runner.guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from runner import guard
from runner.engine.walk import SUCCESSFUL, group_state, outputs_of, view
from runner.model import UNKNOWN, Outcome, State, Step
from runner.protection.domains import Uses, uses_of
from runner.protection.graph import NO_LOOP, UNKNOWN_LENGTH, Node
from runner.protection.needs import Need

MOST = 60_000
"""How many steps are examined, one for each different outcome before it: about a second."""

ROUNDS = 8


class TooMany(Exception):
    """Not all outcomes can be examined; the text says why."""

    def __init__(self, why: str = "there are too many possible outcomes to examine") -> None:
        super().__init__(why)


class Ending(NamedTuple):
    """How a step ended. outputs: those that a guard uses. empty: it had nothing to do."""

    state: State
    outputs: tuple[tuple[str, Any], ...] = ()
    empty: bool = False


@dataclass(frozen=True)
class Event:
    """A step that ended, the reason for the result of its guard, and what happened before it."""

    node: Node
    ending: Ending
    because: str
    before: Event | None

    def path(self) -> list[Event]:
        """Return what happened, in order."""
        found: list[Event] = [self]
        while found[-1].before is not None:
            found.append(found[-1].before)
        return found[::-1]


class PartialOutcome(NamedTuple):
    """A possible outcome of the steps so far. ok: protecting steps that ended ok. odd: how many steps did not end ok.

    done: in a resume, the steps that ended ok or warned. seen: by the order of a step, or by a word for a block.
    """

    seen: Mapping[Any, Any]
    ok: frozenset[int]
    last: Event | None = None
    odd: int = 0
    done: frozenset[tuple[int, Ending]] = frozenset()

    def but(self, **seen: Any) -> PartialOutcome:
        return self._replace(seen={**self.seen, **seen})


@dataclass(frozen=True)
class Counterexample:
    """An outcome in which a step runs without what it needs."""

    need: Need
    because: str
    before: Event | None
    odd: int
    resumed: bool = False


Recorded = Mapping[int, Ending]


@dataclass
class Exploration:
    """Walks through all outcomes of a block. needs: by the order of the step. found: a counterexample for each of
    them."""

    nodes: Sequence[Node]
    needs: Mapping[int, tuple[Need, ...]]
    resuming: bool = False
    budget: int = MOST
    found: dict[int, Counterexample] = field(default_factory=dict)
    _uses: Uses = field(default_factory=Uses)
    _protecting: frozenset[int] = frozenset()
    _recorded: Recorded = field(default_factory=dict)
    _attempts: set[frozenset[tuple[int, Ending]]] = field(default_factory=set)

    def run(self) -> None:
        """Examine all outcomes. Raises TooMany; what was found until then stays in `found`."""
        self._uses = uses_of(self.nodes)
        self._protecting = frozenset(
            one.order for every in self.needs.values() for need in every for one in need.any_of
        )
        if not self.resuming:
            self._block(self.nodes, [PartialOutcome({}, frozenset())], {}, "")
            return
        if any(node.items != NO_LOOP for node in _groups(self.nodes)):
            raise TooMany("planrun does not examine how a resume continues the rounds of a group with for_each")
        seen: set[frozenset[tuple[int, Ending]]] = set()
        self._attempts = {frozenset()}
        while new := self._attempts - seen:
            seen |= new
            for done in sorted(new, key=len):
                self._recorded = dict(done)
                self._block(self.nodes, [PartialOutcome({}, frozenset(), done=done)], {}, "")

    # -------------------------------------------------------------- blocks

    def _block(
        self, nodes: Sequence[Node], partials: list[PartialOutcome], names: Mapping[str, Node], prefix: str
    ) -> list[PartialOutcome]:
        """Return the outcomes of a block; `seen` then has the worst state of its steps under `prefix#`."""
        names = dict(names)
        fresh = {f"{prefix}*": "", f"{prefix}#": None}
        partials = [one.but(**fresh) for one in partials]
        for node in nodes:
            partials = self._merge(
                self._end_step(node, partial, prefix) for partial in self._step(node, partials, names, prefix)
            )
            names[node.step.id] = node
        inside = {node.order for node in nodes} | {f"{prefix}*"}
        return [one._replace(seen={k: v for k, v in one.seen.items() if k not in inside}) for one in partials]

    def _end_step(self, node: Node, partial: PartialOutcome, prefix: str) -> PartialOutcome:
        """Add the ending of a step to the block, and drop what no later guard uses."""
        ending: Ending = partial.seen[node.order]
        worst, blocked = partial.seen[f"{prefix}#"], partial.seen[f"{prefix}*"]
        if not blocked and ending.state not in SUCCESSFUL:
            blocked = f"{node.step.id} is {ending.state.value}"
        seen = {k: v for k, v in partial.seen.items() if isinstance(k, str) or self._uses.last.get(k, -1) > node.order}
        seen |= {f"{prefix}#": group_state([ending.state, *([worst] if worst else [])]), f"{prefix}*": blocked}
        if self.resuming:
            self._attempts.add(partial.done)
        return partial._replace(seen=seen)

    def _merge(self, partials: Iterable[PartialOutcome]) -> list[PartialOutcome]:
        """Of outcomes that no later step can distinguish, keep the most ordinary one."""
        kept: dict[Any, PartialOutcome] = {}
        for one in partials:
            self.budget -= 1 + len(one.seen) // 8
            if self.budget < 0:
                raise TooMany()
            key = frozenset(one.seen.items()), one.ok, one.done
            if key not in kept or kept[key].odd > one.odd:
                kept[key] = one
        return list(kept.values())

    # -------------------------------------------------------------- steps

    def _step(
        self, node: Node, partials: Sequence[PartialOutcome], names: Mapping[str, Node], prefix: str
    ) -> Iterator[PartialOutcome]:
        running: list[tuple[PartialOutcome, str]] = []
        for partial in partials:
            if node.step.kind and (old := self._recorded.get(node.order)):
                yield self._end(node, partial, old, "done by an earlier attempt")
                continue
            for holds, because in _truths(node, partial, names, prefix):
                if holds:
                    self._judge(node, partial, because)
                    running.append((partial, because))
                else:
                    yield self._end(node, partial, Ending(State.SKIPPED), because)
        if node.step.kind:
            for partial, because in running:
                for ending in self._endings(node):
                    yield self._end(node, partial, ending, because)
        elif running:
            yield from self._group(node, [partial for partial, _ in running], names)

    def _endings(self, node: Node) -> Iterator[Ending]:
        for outputs in self._uses.endings(node):
            count = dict(outputs).get("count") if node.items != NO_LOOP else None
            if isinstance(count, int) or not node.may_be_empty:
                yield Ending(State.OK, outputs, empty=count == 0 or node.items == 0)
            else:
                yield from (Ending(State.OK, outputs, empty=empty) for empty in (False, True))
        yield Ending(State.WARNED if node.step.on_error == "warn" else State.FAILED)

    def _end(self, node: Node, partial: PartialOutcome, ending: Ending, because: str) -> PartialOutcome:
        odd = partial.odd + (ending.state is not State.OK or ending.empty)
        ok = partial.ok
        if node.order in self._protecting and ending.state is State.OK:
            ok = ok | {_empty(node.order) if ending.empty else node.order}
        done = partial.done
        if self.resuming and node.step.kind and ending.state in (State.OK, State.WARNED):
            done = done | {(node.order, ending)}
        seen = {**partial.seen, node.order: ending}
        return PartialOutcome(seen, ok, Event(node, ending, because, partial.last), odd, done)

    def _judge(self, node: Node, partial: PartialOutcome, because: str) -> None:
        for need in self.needs.get(node.order, ()) if node.items != 0 else ():
            same = need.same_list(node)
            if any(one.order in partial.ok for one in need.any_of) or any(_empty(one) in partial.ok for one in same):
                continue
            old = self.found.get(node.order)
            if old is None or old.odd > partial.odd:
                self.found[node.order] = Counterexample(need, because, partial.last, partial.odd, bool(self._recorded))

    # -------------------------------------------------------------- groups

    def _group(self, node: Node, partials: list[PartialOutcome], names: Mapping[str, Node]) -> Iterator[PartialOutcome]:
        around = names if node.step.inputs is None else {}
        prefix = f"{node.path}."
        if node.items == NO_LOOP:
            for one in self._block(node.inside, partials, around, prefix):
                yield from self._end_group(node, one, 1, prefix)
            return
        own = frozenset(order for one in node.leaves for order in (one.order, _empty(one.order)))
        if node.items in (0, UNKNOWN_LENGTH):
            for one in partials:
                yield from self._end_group(node, one.but(**{f"{prefix}#": None}), 0, prefix)
        if node.items != 0:
            for one in self._rounds(node, partials, around, prefix, own):
                yield from self._end_group(node, one, 1, prefix)

    def _rounds(
        self, node: Node, partials: list[PartialOutcome], names: Mapping[str, Node], prefix: str, own: frozenset[int]
    ) -> list[PartialOutcome]:
        """Return the outcomes of one round and of more. A step in it counts as ok if it ended ok in every round."""
        kept, worst = f"{prefix}&", f"{prefix}^"
        every: list[PartialOutcome] = []
        now = [one.but(**{kept: own, worst: None}) for one in partials]
        for _ in range(ROUNDS):
            rounds = self._block(node.inside, now, names, prefix)
            new = self._merge(_end_round(one, prefix, own) for one in rounds)
            keys = {(frozenset(one.seen.items()), one.ok) for one in every}
            new = [one for one in new if (frozenset(one.seen.items()), one.ok) not in keys]
            every += new
            now = [one for one in new if one.seen[worst] is not State.FAILED]
            if not now:
                break
        else:
            raise TooMany()
        return [
            one._replace(
                ok=one.ok | one.seen[kept],
                seen={k: v for k, v in one.seen.items() if k not in (kept, worst)} | {f"{prefix}#": one.seen[worst]},
            )
            for one in every
        ]

    def _end_group(self, node: Node, partial: PartialOutcome, rounds: int, prefix: str) -> Iterator[PartialOutcome]:
        worst = partial.seen[f"{prefix}#"]
        state = group_state([worst] if worst else [])
        if state is State.FAILED and node.step.on_error == "warn":
            state = State.WARNED
        seen = {k: v for k, v in partial.seen.items() if k != f"{prefix}#"}
        for outputs in self._uses.endings(node):
            count = dict(outputs).get("count")
            if node.items == NO_LOOP or not isinstance(count, int) or (count > 0) == (rounds > 0):
                ending = Ending(state, outputs, empty=rounds == 0)
                yield self._end(node, partial._replace(seen=seen), ending, "")


def _empty(order: int) -> int:
    """Return the key for a step that ended ok but had nothing to do."""
    return -order - 1


def _end_round(partial: PartialOutcome, prefix: str, own: frozenset[int]) -> PartialOutcome:
    """Merge the result of a round into the loop; the next round begins without it."""
    worst, last = partial.seen[f"{prefix}^"], partial.seen[f"{prefix}#"]
    seen = {k: v for k, v in partial.seen.items() if k != f"{prefix}#"}
    seen |= {
        f"{prefix}&": partial.seen[f"{prefix}&"] & partial.ok,
        f"{prefix}^": group_state([last, *([worst] if worst else [])]),
    }
    return partial._replace(seen=seen, ok=partial.ok - own)


def _groups(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        if node.inside:
            yield node
            yield from _groups(node.inside)


def _truths(node: Node, partial: PartialOutcome, names: Mapping[str, Node], prefix: str) -> Iterator[tuple[bool, str]]:
    """Yield the truth values that the guard of a step may have, each with the values that decide it."""
    when = node.step.when
    if when is None:
        blocked = partial.seen[f"{prefix}*"]
        yield not blocked, blocked
        return
    roots = {dotted[0] for dotted, _ in when.asked} & names.keys()
    scope = {**node.given, **{root: _view(partial.seen[names[root].order], names[root].step) for root in roots}}
    verdict = guard.evaluate(when, scope)
    if verdict.holds is None:
        yield from ((True, verdict.because), (False, verdict.because))
    else:
        yield verdict.holds, verdict.because


def _view(ending: Ending, step: Step) -> Mapping[str, Any]:
    return _view_of(ending, outputs_of(step), step.kind == "" and step.for_each is None)


@cache
def _view_of(ending: Ending, names: tuple[str, ...], template: bool) -> Mapping[str, Any]:
    """Return what a guard sees. A template gives its outputs however it ends, unless its own guard skipped it."""
    known = ending.state is State.OK or (template and ending.state is not State.SKIPPED)
    outputs: dict[str, Any] = dict.fromkeys(names, UNKNOWN) if known or template else {}
    return view(Outcome(path="", state=ending.state, outputs=outputs | dict(ending.outputs)), names)
