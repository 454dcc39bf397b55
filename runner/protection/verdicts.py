"""The verdict on each step of a plan that removes something for good: how it is protected, or an outcome where it is
not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from runner.errors import Problem
from runner.kinds.base import SqlReader
from runner.losses import Good, Loss, same_table
from runner.model import Plan, State, Step
from runner.protection.graph import Node, block_of
from runner.protection.needs import Block, Need, needs_of
from runner.record import dataclass
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.protection.certainty import Certainty
    from runner.protection.outcomes import Counterexample, Event, Exploration

RESUME_BUDGET = 20_000


class Verdict(StrEnum):
    """protected: in every outcome. unprotected: nothing in the plan protects it. acknowledged: by its author.

    around: in some outcome it runs without its protection. unproved: there are too many possible outcomes to examine.
    unsaved: no backup of the plan contains the table. forbidden: it affects a table of `protected:`.
    """

    PROTECTED = "protected"
    UNPROTECTED = "unprotected"
    ACKNOWLEDGED = "acknowledged"
    AROUND = "around"
    UNPROVED = "unproved"
    UNSAVED = "unsaved"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, kw_only=True)
class StepVerdict:
    """The verdict on one step. what: what it removes. chain: how it is protected, or why it is not.

    problem: what is wrong with the plan, None if nothing is. of_rollback: it is a step of `rollback:`.
    """

    path: str
    verdict: Verdict
    what: tuple[str, ...]
    chain: str
    problem: Problem | None = None
    of_rollback: bool = False


def verdicts(plan: Plan, read: SqlReader) -> tuple[StepVerdict, ...]:
    """Return the verdicts on the steps of a plan, its rollback and its hooks. read: returns the effects of SQL."""
    back = _of_block(plan, block_of(plan, plan.rollback, read))
    after: tuple[StepVerdict, ...] = ()
    if plan.hooks.steps:
        from runner.protection.hooks import verdicts_on_hooks

        after = verdicts_on_hooks(plan, read)
    return (
        *_of_block(plan, block_of(plan, plan.steps, read)),
        *(replace(one, of_rollback=True) for one in back),
        *after,
    )


def _of_block(plan: Plan, nodes: Sequence[Node]) -> Iterator[StepVerdict]:
    leaves = [leaf for node in nodes for leaf in node.leaves]
    losing = [leaf for leaf in leaves if leaf.losses]
    block = Block.of(leaves)
    needs = {leaf.order: needs_of(leaf, block) for leaf in losing}
    proof = Proof(nodes, needs)
    for leaf in losing:
        what = tuple(dict.fromkeys(loss.what for loss in leaf.losses))
        yield refuse_protected(plan, leaf, what) or _verdict(leaf, what, needs[leaf.order], proof)


def _verdict(leaf: Node, what: tuple[str, ...], needs: tuple[Need, ...], proof: Proof) -> StepVerdict:
    def step_verdict(verdict: Verdict, chain: str, problem: Problem | None = None) -> StepVerdict:
        return StepVerdict(path=leaf.path, verdict=verdict, what=what, chain=chain, problem=problem)

    if leaf.step.acknowledge:
        return step_verdict(Verdict.ACKNOWLEDGED, f"{leaf.path}: acknowledged: {leaf.step.acknowledge}")
    if not needs:
        return step_verdict(Verdict.UNPROTECTED, f"{leaf.path}: nothing in the plan protects it ({'; '.join(what)})")
    if unsaved := [need for need in needs if not need.any_of]:
        problem = no_backup_problem(leaf, unsaved[0])
        return step_verdict(Verdict.UNSAVED, problem.message, problem)
    if proof.is_certain(leaf, needs):
        return step_verdict(Verdict.PROTECTED, chain(leaf, needs, proof.certainty))
    if around := proof.around(leaf):
        problem = _around_problem(leaf, around)
        return step_verdict(Verdict.AROUND, problem.message, problem)
    if proof.gap:
        problem = _no_proof_problem(leaf, needs, proof.gap)
        return step_verdict(Verdict.UNPROVED, problem.message, problem)
    return step_verdict(Verdict.PROTECTED, f"{leaf.path} <- {_direct(needs)} (in every outcome){_any_backup(needs)}")


# ------------------------------------------------------------------ the proof


class Proof:
    """Proves the protection of the steps of one block, as lazily as possible."""

    def __init__(self, nodes: Sequence[Node], needs: dict[int, tuple[Need, ...]]) -> None:
        self._nodes, self._needs = nodes, {order: every for order, every in needs.items() if every}
        self._explorations: tuple[Exploration, str] | None = None
        protecting = sorted({one.order for every in needs.values() for need in every for one in need.any_of})
        self._bits = {order: 1 << number for number, order in enumerate(protecting)}
        self._perhaps = {order: bit << len(protecting) for order, bit in self._bits.items()}

    @cached_property
    def certainty(self) -> Certainty:
        """What is certain when each step runs; computed on demand, because most plans remove nothing."""
        from runner.protection.certainty import Certainty

        found = Certainty(self._bits, self._perhaps)
        found.block(self._nodes)
        return found

    def is_certain(self, leaf: Node, needs: Iterable[Need]) -> bool:
        runs = self.certainty.of[leaf.order].runs
        return all(any(runs & bit for bit in self._bits_of(need, leaf)) for need in needs)

    def _bits_of(self, need: Need, leaf: Node) -> Iterator[int]:
        yield from (self._bits[one.order] for one in need.any_of)
        yield from (self._perhaps[order] for order in need.same_list(leaf))

    def around(self, leaf: Node) -> Counterexample | None:
        return self._explore()[0].found.get(leaf.order)

    @property
    def gap(self) -> str:
        """Why not all outcomes, including those of a resume, could be examined; "" if they were."""
        return self._explore()[1]

    def _explore(self) -> tuple[Exploration, str]:
        if self._explorations is None:
            self._explorations = self._explore_all()
        return self._explorations

    def _explore_all(self) -> tuple[Exploration, str]:
        from runner.protection.outcomes import Exploration, TooMany

        leaves = (leaf for node in self._nodes for leaf in node.leaves)
        doubtful = {
            leaf.order: self._needs[leaf.order]
            for leaf in leaves
            if leaf.order in self._needs and not self.is_certain(leaf, self._needs[leaf.order])
        }
        one = Exploration(self._nodes, doubtful)
        resumed = Exploration(self._nodes, doubtful, resuming=True, budget=RESUME_BUDGET)
        try:
            one.run()
            if set(one.found) < set(doubtful):
                resumed.run()
        except TooMany as exc:
            return one, str(exc)
        one.found = {**resumed.found, **one.found}
        return one, ""


# ------------------------------------------------------------------ chains


_LEVELS = 6
"""How many guards of a chain are shown; those between them and the protecting steps are left out."""


def _direct(needs: Iterable[Need]) -> str:
    return ", ".join(dict.fromkeys(f"{one.path}.ok" for need in needs for one in need.any_of))


def chain(leaf: Node, needs: Sequence[Need], certainty: Certainty) -> str:
    """Return `cleanup <- prepare.ok <- load.ok, check.ok`: the guards between the step and what protects it."""
    wanted = {one.order for need in needs for one in need.any_of}
    levels, now, seen = [leaf.path], [leaf], {leaf.order}
    while now:
        if len(levels) > _LEVELS:
            return f"{' <- '.join(levels)} <- ... <- {_direct(needs)}{_any_backup(needs)}"
        terms = [term for node in now for term in _terms(node, wanted, certainty)]
        terms = list({term.order: term for term in terms if term.order not in seen}.values())
        seen |= {term.order for term in terms}
        levels += [", ".join(f"{term.step.id}.ok" for term in terms)] if terms else []
        now = [term for term in terms if term.order not in wanted]
    return " <- ".join(levels) + _any_backup(needs)


def _terms(node: Node, wanted: set[int], certainty: Certainty) -> list[Node]:
    """Return the steps between a step and what protects it: those in a group, else those that its guard names."""
    mask = sum(certainty.protecting[order] | certainty.perhaps[order] for order in wanted)
    if inside := [one for one in node.leaves if one.order in wanted and one is not node]:
        return inside
    at: Node | None = node
    while at is not None:
        if found := [one for one in certainty.terms[at.order] if certainty.of[one.order].filled & mask]:
            own = [one for one in found if any(leaf.order in wanted for leaf in one.leaves)]
            return own or found
        at = certainty.parent.get(at.order)
    return []


def _any_backup(needs: Iterable[Need]) -> str:
    rows = [need for need in needs if need.loss.good is Good.ROWS]
    if not rows or all(need.by_name for need in rows):
        return ""
    return " (any backup counts: the tables are known only during the run)"


# ------------------------------------------------------------------ problems


def refuse_protected(plan: Plan, leaf: Node, what: tuple[str, ...]) -> StepVerdict | None:
    for loss in leaf.losses:
        if loss.good is not Good.ROWS or not (hit := _hit(loss, plan.protected, leaf.step)):
            continue
        problem = Problem(
            leaf.step.where,
            f"{loss.what}: {hit}",
            "remove the statement, or remove the table from `protected:`"
            + ('; or say why it does no harm: `acknowledge: "..."`' if loss.opaque else ""),
            code="PR0213",
        )
        return StepVerdict(path=leaf.path, verdict=Verdict.FORBIDDEN, what=what, chain=problem.message, problem=problem)
    return None


def _hit(loss: Loss, protected: Sequence[TableName], step: Step) -> str:
    """Return why a loss is forbidden by `protected:`, "" if it is not."""
    if not protected or (loss.opaque and step.acknowledge):
        return ""
    if loss.tables is not None:
        found = [one for one in protected if any(same_table(one, table) for table in loss.tables)]
    elif loss.schema:
        found = [one for one in protected if one.schema in ("", loss.schema)]
    else:
        return "" if step.acknowledge else f"it may affect a table of `protected:`, such as {protected[0]}"
    return f"{found[0]} is one of the tables of `protected:`" if found else ""


ACKNOWLEDGE = 'or, if this is intended, say why: `acknowledge: "..."`'


def no_backup_problem(leaf: Node, need: Need) -> Problem:
    held = ", ".join(one.path for one in need.without)
    return Problem(
        leaf.step.where,
        f"{need.loss.what}: no backup of the plan contains it ({held} {'do' if len(need.without) > 1 else 'does'} not)",
        f"add it to the `tables:` of the backup; {ACKNOWLEDGE}",
        code="PR0211",
    )


def _around_problem(leaf: Node, around: Counterexample) -> Problem:
    reasons = " and ".join(_why_not_ok(one, leaf, around) for one in around.need.any_of)
    again = ", in a resumed run" if around.resumed else ""
    guard = f"when {leaf.step.when.text}: " if leaf.step.when is not None else ""
    return Problem(
        leaf.step.when.where if leaf.step.when is not None else leaf.step.where,
        f"{around.need.loss.what}: {guard}{leaf.path} runs although {reasons}{again}",
        f"{_cure(leaf, around.need)}; {ACKNOWLEDGE}",
        code="PR0210",
    )


def _why_not_ok(one: Node, leaf: Node, around: Counterexample) -> str:
    """Return in words why a protecting step has not ended ok in an outcome."""
    if one.order > leaf.order:
        return f"{one.path} comes only later"
    events = {event.node.order: event for event in (around.before.path() if around.before else ())}
    if (event := events.get(one.order)) is not None:
        return f"{one.path} {_ending(event, events)}"
    group = next((e for e in reversed(list(events.values())) if one.path.startswith(f"{e.node.path}.")), None)
    return f"{group.node.path} {_ending(group, events)}" if group else f"{one.path} did not run"


def _ending(event: Event, events: dict[int, Event]) -> str:
    match event.ending.state:
        case State.SKIPPED:
            return f"was skipped because {event.because}" if event.because else "was skipped"
        case State.WARNED:
            return "failed, which only warns (on_error: warn)"
        case State.FAILED:
            return "failed"
    return "had nothing to do: the list of its for_each was empty"


def _cure(leaf: Node, need: Need) -> str:
    if all(one.order > leaf.order for one in need.any_of):
        return f"move {need.any_of[0].path.partition('.')[0]} before it"
    names = dict.fromkeys(_visible(leaf, one) for one in need.any_of if one.order < leaf.order)
    asked = " or ".join(name for name, _ in names)
    step = next((step for _, step in names if step != leaf.path), "")
    at = f" of {step}" if step else ""
    empty = [one for one in need.any_of if one.may_be_empty]
    more = f" and {_visible(leaf, empty[0])[0].removesuffix('.ok')}.count > 0" if empty else ""
    return f"add `{asked}{more}` to the `when:`{at}"


def _visible(leaf: Node, one: Node) -> tuple[str, str]:
    """Return how a guard names a protecting step, and the path of the step whose guard can."""
    mine, other = leaf.path.split("."), one.path.split(".")
    depth = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), 0)
    return f"{other[depth]}.ok", ".".join(mine[: depth + 1])


def _no_proof_problem(leaf: Node, needs: Sequence[Need], why: str) -> Problem:
    return Problem(
        leaf.step.when.where if leaf.step.when is not None else leaf.step.where,
        f"{needs[0].loss.what}: planrun cannot prove that {leaf.path} runs only after what protects it: {why}",
        f"{_cure(leaf, needs[0])}; {ACKNOWLEDGE}",
        code="PR0212",
    )
