"""The verdicts on hooks. They run after steps that may have stopped anywhere, so only their own guards count.

A hook may remove something only when it is certain by its guard (runner.protection.certainty) that what protects it has
ended ok. Unlike a step of the plan, it may not remove what nothing in the plan protects, unless its author says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner import guard
from runner.engine.walk import outputs_of, view
from runner.errors import Problem
from runner.kinds.base import SqlReader
from runner.model import UNKNOWN, Outcome, Plan, State, Step
from runner.protection.certainty import ALWAYS
from runner.protection.graph import Node, block_of
from runner.protection.needs import Block, Need, needs_of
from runner.protection.verdicts import (
    ACKNOWLEDGE,
    Proof,
    StepVerdict,
    Verdict,
    chain,
    no_backup_problem,
    refuse_protected,
)


def verdicts_on_hooks(plan: Plan, read: SqlReader) -> tuple[StepVerdict, ...]:
    """Return the verdict on each hook that removes something: the worse of those after an apply and a rollback."""
    found = {one.path: one for one in _after(plan, plan.steps, plan.rollback, read)}
    if plan.rollback:
        for one in _after(plan, plan.rollback, plan.steps, read):
            if one.problem and not found[one.path].problem and one.verdict is not Verdict.UNSAVED:
                found[one.path] = one
    return tuple(found.values())


def _after(plan: Plan, steps: Sequence[Step], others: Sequence[Step], read: SqlReader) -> Iterator[StepVerdict]:
    """Yield the verdicts on the hooks of a run of these steps; the others are skipped in it."""
    own = {step.id for step in steps}
    given: dict[str, Any] = {"run": UNKNOWN}
    given |= {step.id: _outputs_without_run(step) for step in others if step.id not in own}
    nodes = block_of(plan, (*steps, *_groups(plan)), read, given)
    leaves = [leaf for node in nodes for leaf in node.leaves]
    after = [leaf for node in nodes[len(steps) :] for leaf in node.leaves if leaf.losses]
    block = Block.of(leaves)
    needs = {leaf.order: needs_of(leaf, block) for leaf in after}
    proof = Proof(nodes, needs)
    for leaf in after:
        what = tuple(dict.fromkeys(loss.what for loss in leaf.losses))
        yield refuse_protected(plan, leaf, what) or _verdict(leaf, what, needs[leaf.order], proof)


def _outputs_without_run(step: Step) -> Mapping[str, Any]:
    return view(Outcome(path="", state=State.SKIPPED), outputs_of(step))


def _groups(plan: Plan) -> Iterator[Step]:
    """Yield each block of hooks as a group that may run after any outcome; a hook without a guard always runs."""
    for name, steps in plan.hooks.blocks():
        always = guard.parse("true", steps[0].where)
        guarded = (replace(step, when=step.when or guard.parse("true", step.where)) for step in steps)
        yield Step(id=name, where=steps[0].where, when=always, on_error="warn", steps=tuple(guarded))


def _verdict(leaf: Node, what: tuple[str, ...], needs: tuple[Need, ...], proof: Proof) -> StepVerdict:
    def verdict(kind: Verdict, text: str, problem: Problem | None = None) -> StepVerdict:
        return StepVerdict(path=leaf.path, verdict=kind, what=what, chain=text, problem=problem)

    if proof.certainty.of[leaf.order].runs == ALWAYS:
        return verdict(Verdict.PROTECTED, f"{leaf.path}: its guard is never true")
    if leaf.step.acknowledge:
        return verdict(Verdict.ACKNOWLEDGED, f"{leaf.path}: acknowledged: {leaf.step.acknowledge}")
    if not needs:
        message = f"{'; '.join(what)}: a hook may not remove what nothing in the plan protects"
        hint = f"add a step that protects it, such as a `backup`, and name it in `when:`; {ACKNOWLEDGE}"
        problem = Problem(leaf.step.where, message, hint, code="PR1091")
        return verdict(Verdict.UNPROTECTED, message, problem)
    if unsaved := [need for need in needs if not need.any_of]:
        problem = no_backup_problem(leaf, unsaved[0])
        return verdict(Verdict.UNSAVED, problem.message, problem)
    if proof.is_certain(leaf, needs):
        return verdict(Verdict.PROTECTED, chain(leaf, needs, proof.certainty))
    where = leaf.step.when.where if leaf.step.when is not None else leaf.step.where
    message = (
        f"{needs[0].loss.what}: {leaf.path} may run although {needs[0].any_of[0].path} is not ok: a hook runs after any"
        " end of the steps"
    )
    problem = Problem(where, message, f"{_cure(leaf, needs[0])}; {ACKNOWLEDGE}", code="PR1091")
    return verdict(Verdict.AROUND, message, problem)


def _cure(leaf: Node, need: Need) -> str:
    block, name, *_ = leaf.path.split(".")
    found = dict.fromkeys(one.path.removeprefix(f"{block}.").partition(".")[0] for one in need.any_of)
    return f"add `{' or '.join(f'{one}.ok' for one in found)}` to the `when:` of {block}.{name}"
