"""Format a plan as a Mermaid flow chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner import guard
from runner.model import HOOKS, Plan, Step


def graph(plan: Plan) -> str:
    """Return Mermaid text: a box for each step, a frame for each group, an arrow from each step that a guard names."""
    lines = ["flowchart TD", *_block(plan.steps, "s_", "  ")]
    if plan.rollback:
        lines += ["  subgraph rollback", *_block(plan.rollback, "r_", "    "), "  end"]
    for name, steps in plan.hooks.blocks():
        lines += [f'  subgraph {name}["{name}: {HOOKS[name]}"]', *_block(steps, f"{name}_", "    "), "  end"]
    return "\n".join(lines) + "\n"


def _block(steps: Sequence[Step], prefix: str, indent: str) -> Iterator[str]:
    before = ""
    for step in steps:
        node = prefix + step.id
        yield from _node(step, node, indent)
        yield from _arrows(step, node, before, {s.id for s in steps}, prefix, indent)
        before = node


def _node(step: Step, node: str, indent: str) -> Iterator[str]:
    label = _escape(step.id if step.uses in ("group", step.id) else f"{step.id}: {step.uses}")
    if not step.steps:
        yield f'{indent}{node}["{label}"]'
        return
    yield f'{indent}subgraph {node}["{label}"]'
    yield from _block(step.steps, node + "_", indent + "  ")
    yield f"{indent}end"


def _arrows(step: Step, node: str, before: str, here: set[str], prefix: str, indent: str) -> Iterator[str]:
    if step.when is None:
        if before:
            yield f"{indent}{before} --> {node}"
        return
    asked = list(dict.fromkeys(dotted[0] for dotted in guard.names(step.when) if dotted[0] in here))
    for name in asked or [before.removeprefix(prefix)]:
        if name:
            yield f'{indent}{prefix}{name} -- "{_escape(step.when.text)}" --> {node}'


def _escape(text: str) -> str:
    """Return a label in which nothing can end the quotes or begin a tag."""
    plain = text.replace("&", "#amp;").replace('"', "#quot;")
    return plain.replace("<", "#lt;").replace(">", "#gt;").replace("\n", " ")
