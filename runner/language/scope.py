"""The names that a step may use, and what is known about them before a run."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from runner import values
from runner.errors import Mark, Problem
from runner.guard import nearest
from runner.kinds.base import Output
from runner.language.source import Document, Steps
from runner.model import HOOKS, UNKNOWN
from runner.record import dataclass
from runner.values import Ref

STATES = {"ok": "boolean", "warned": "boolean", "failed": "boolean", "skipped": "boolean", "state": "string"}
EACH = {
    "count": Output("integer", "How many items there were."),
    "results": Output("array", "The outputs of every item, in order."),
}
RUN = {"id": "string", "started": "string", "plan": "string"}
RUN_END = {
    **{"state": "string", "ok": "boolean", "failed": "boolean", "interrupted": "boolean", "paused": "boolean"},
    **{"mode": "string", "step": "string", "error": "string", "code": "string", "hint": "string", "next": "string"},
    **{"exit_code": "integer", "seconds": "number"},
}
"""What the hooks of a run also see of it: how it ended."""

Shape = Mapping[str, Any]
ANYTHING = ""
"""The shape of a name about which nothing is known: any field may exist."""


@dataclass(frozen=True)
class Seen:
    """What later steps know of a step: its outputs, or None if it has too many errors."""

    outputs: Mapping[str, Output] | None
    where: Mark

    @property
    def shape(self) -> Any:
        if self.outputs is None:
            return ANYTHING
        return STATES | {name: output.type for name, output in self.outputs.items()}


class Environment(Mapping[str, Any]):
    """The environment as a plan sees it: `used` collects what was read; an unset variable is UNKNOWN, and an error
    unless offline."""

    def __init__(self, env: Mapping[str, str], offline: bool) -> None:
        self._env, self._offline = env, offline
        self.used: dict[str, str] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._env:
            return UNKNOWN
        self.used[name] = self._env[name]
        return self._env[name]

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)

    def problem(self, ref: Ref) -> tuple[str, str] | None:
        """Return message and hint if the variable of a reference is not set."""
        if len(ref.names) != 2:
            return f"{ref.text}: write ${{env.NAME}}", ""
        if self._offline or ref.names[1] in self._env:
            return None
        return f"{ref.text}: the environment has no {ref.names[1]}", f"export {ref.names[1]}=..., or use a param"


@dataclass(frozen=True)
class Scope:
    """The names that a block of steps can see.

    `given` has the values known offline (params, env, inputs), UNKNOWN for those known only in a run; `declared` the
    JSON types of params and inputs; `item` the shape of `${item}`, None outside a loop; `all` the places of all ids of
    the block; `origins` the places where the inputs of a template were given. `steps` and `shapes` describe the steps
    before the current one: they grow while a block is read, because a copy for each step would make 3,000 steps slow.
    hook: it is that of a hook, which sees how the run ended.
    """

    given: Mapping[str, Any]
    declared: Mapping[str, Mapping[str, Any]]
    item: Any = None
    template: bool = False
    all: Mapping[str, Mark] = field(default_factory=dict)
    origins: Mapping[str, Mark] = field(default_factory=dict)
    steps: dict[str, Seen] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    hook: bool = False

    def inside(self, ids: Mapping[str, Mark]) -> Scope:
        """Return the scope of a block below this one, with these ids."""
        return replace(self, all=ids, steps=dict(self.steps), shapes=dict(self.shapes))

    def add(self, name: str, seen: Seen) -> None:
        """Make a step visible to later steps."""
        self.steps[name], self.shapes[name] = seen, seen.shape

    @property
    def guard_shape(self) -> Shape:
        """The names that a guard may use."""
        outside = "inputs" if self.template else "params"
        around: dict[str, Any] = {outside: self.declared[outside]}
        if self.item is not None:
            around["item"] = self.item
        if self.hook and not self.template:
            around["run"] = self._run
        return ChainMap(around, self.shapes)

    @property
    def _run(self) -> Shape:
        return RUN | RUN_END if self.hook else RUN

    def _roots(self) -> dict[str, Any]:
        roots: dict[str, Any] = {"steps": self.shapes, "run": self._run, "env": ANYTHING}
        roots |= {"inputs": self.declared["inputs"]} if self.template else {"params": self.declared["params"]}
        return roots | ({"item": self.item} if self.item is not None else {})

    def output(self, ref: Ref) -> Output | None:
        """Return the output of a step if a value is just a reference to it."""
        if len(ref.names) == 3 and ref.names[0] == "steps" and (seen := self.steps.get(ref.names[1])):
            return (seen.outputs or {}).get(ref.names[2])
        return None

    def origin(self, tree: Any) -> Mark | None:
        """Return where an input was given, if a parsed value is just a reference to it."""
        named = isinstance(tree, Ref) and len(tree.names) == 2 and tree.names[0] == "inputs"
        return self.origins.get(tree.names[1]) if named else None

    def type_of(self, tree: Any) -> str:
        """Return the JSON type of a parsed value, as far as it is known."""
        if isinstance(tree, values.Text):
            return "string"
        if not isinstance(tree, Ref):
            names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
            return names.get(type(tree), ANYTHING)
        level: Any = self._roots()
        for name in tree.names:
            level = level.get(name, ANYTHING) if isinstance(level, Mapping) else ANYTHING
        return level if isinstance(level, str) else "object"

    def unknown(self, ref: Ref) -> tuple[str, str] | None:
        """Return message and hint if a reference names something that does not exist."""
        roots = self._roots()
        root = ref.names[0]
        if root not in roots:
            return _not_here(ref, self.template)
        if root == "env":
            env: Environment = self.given["env"]
            return env.problem(ref)
        level: Any = roots
        for depth, name in enumerate(ref.names):
            if not isinstance(level, Mapping):
                return self._deeper(ref, level, ".".join(ref.names[:depth]))
            if name not in level:
                return self._unknown_name(ref, depth, level)
            level = level[name]
        if isinstance(level, Mapping) and len(ref.names) <= 2 and root != "item":
            return f"{ref.text} has no value of its own", nearest("", level)
        return None

    def _deeper(self, ref: Ref, level: Any, head: str) -> tuple[str, str] | None:
        types = level if isinstance(level, list) else [level]
        if {"array", "object", ANYTHING} & set(types):
            return None
        return f"{ref.text}: '{head}' is {' or '.join(types)} and has no fields", ""

    def _unknown_name(self, ref: Ref, depth: int, level: Mapping[str, Any]) -> tuple[str, str]:
        name = ref.names[depth]
        if ref.names[0] == "steps" and depth == 1:
            return f"{ref.text}: no step '{name}' comes before this one", self.step_hint(name)
        kinds_of = {"params": "param", "inputs": "input"}
        if ref.names[0] == "run" and name in RUN_END:
            return f"{ref.text}: only hooks know how the run ended", _ONLY_HOOKS
        if depth == 1 and (what := kinds_of.get(ref.names[0])):
            return f"{ref.text}: there is no {what} '{name}'", nearest(name, level)
        return f"{ref.text}: '{'.'.join(ref.names[:depth])}' has no '{name}'", nearest(name, level)

    def step_hint(self, name: str) -> str:
        """Return a hint for an unknown step name."""
        if name == "run":
            return "a template does not see it; pass it as an input" if self.hook else _ONLY_HOOKS
        if name in self.all:
            return f"'{name}' comes later, on line {self.all[name].line}; move it up"
        return nearest(name, self.shapes)

    def resolve(self, tree: Any) -> Any:
        """Return the data of a parsed tree as far as it is known offline."""
        if isinstance(tree, dict):
            return {key: self.resolve(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.resolve(value) for value in tree]
        if not isinstance(tree, Ref | values.Text):
            return tree
        try:
            return values.resolve(tree, {"steps": UNKNOWN, "item": UNKNOWN, "run": UNKNOWN, **self.given})
        except KeyError:  # reference_problems reports it
            return UNKNOWN


_ONLY_HOOKS = f"only hooks see how the run ended: {', '.join(HOOKS)}"


def _not_here(ref: Ref, template: bool) -> tuple[str, str]:
    if ref.names[0] == "item":
        return f"{ref.text}: there is no item outside of a `for_each`", "give the step a `for_each`"
    if template:
        return f"{ref.text}: a template does not see the plan's params", "declare an input"
    return f"{ref.text}: inputs are only known in a template", "use ${params...}"


def parse_references(document: Document, found: list[Problem]) -> Any:
    """Return the data of a document with its `${}` parsed; a malformed one becomes UNKNOWN and is reported."""
    return _parse(document.data, document, (), found)


def _parse(data: Any, document: Document, path: Steps, found: list[Problem]) -> Any:
    if isinstance(data, dict):
        return {key: _parse(value, document, (*path, key), found) for key, value in data.items()}
    if isinstance(data, list):
        return [_parse(value, document, (*path, i), found) for i, value in enumerate(data)]
    try:
        return values.parse(data)
    except values.BadValue as exc:
        where = document.find(path).inside(data, exc.offset)
        found.append(Problem(where, str(exc), "write $${ for a plain ${", code="PR0201"))
        return UNKNOWN


def reference_problems(tree: Any, document: Document, scope: Scope) -> Iterator[Problem]:
    """Yield the references of a parsed tree that name nothing."""
    for path, ref in values.refs(tree):
        if told := scope.unknown(ref):
            text = lookup(document.data, path)
            yield Problem(document.find(path).inside(text, ref.offset), *told, code="PR0202")


def references_by_path(tree: Any, document: Document) -> dict[Steps, str]:
    """Return the written text of every value that contains references, by its path."""
    return {path: str(lookup(document.data, path)) for path, _ in values.refs(tree)}


def lookup(data: Any, path: Steps) -> Any:
    """Return the value at a path, which must exist."""
    for step in path:
        data = data[step]
    return data
