"""Turn the steps of a document into model.Step: kinds, groups and templates, with every name checked.

A template is expanded where it is used; its steps see only its inputs and each other.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from runner import guard, kinds, values
from runner.errors import Mark, PlanError, Problem
from runner.guard import nearest
from runner.kinds.base import BadParam, Kind, Output, build, word
from runner.language import schema
from runner.language.checking import Checker, declarations
from runner.language.compose import MAX_CHAIN, Files, merge
from runner.language.scope import (
    ANYTHING,
    EACH,
    Scope,
    Seen,
    lookup,
    parse_references,
    reference_problems,
    references_by_path,
)
from runner.language.source import Document, Place, Steps
from runner.model import UNKNOWN, Retry, Step
from runner.units import duration
from runner.values import Ref

MAX_STEPS = 20_000
"""Steps of a plan with all templates expanded: templates that use each other twice double at every level."""

SqlCheck = Callable[[Step, Document, Path], Iterable[Problem]]
"""Given a step of a kind, its `with:` and the plan's root folder, return what is wrong with its SQL.

`document.find(("text",)).inside(text, offset)` is the place of a character of `text:`.
"""

_LONGEST = 1e9
"""Seconds, 31 years: the longest time of the operating system's timers."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+\Z")
_FILES = ("file", "template")
"""Params that name a file under the plan's sql/ folder."""


@cache
def _kind_checker(name: str) -> Checker:
    return Checker(schema.params_schema(kinds.get(name).Params))


@dataclass
class Expander:
    """What all blocks of one plan share. `found` collects the problems."""

    files: Files
    found: list[Problem]
    connections: Mapping[str, Any]
    backup: Document | None = None
    sql_check: SqlCheck | None = None
    count: int = 0
    _templates: dict[Path, Document | None] = field(default_factory=dict)

    def block(self, document: Document, path: Steps, scope: Scope, by: Path, chain: tuple[Path, ...]) -> _Block:
        return _Block(self, document, path, scope, by, chain)

    def template(self, path: Path, name: str) -> Document | None:
        """Return a valid template file, or None after reporting once what is wrong with it."""
        if path not in self._templates:
            try:
                document = self.files.open(path, name=name)
                wrong = list(_frame_checker().problems(document.data, document))
            except PlanError as exc:
                document, wrong = Document({}, Place(name, (1, 1))), list(exc.problems)
            self.found += wrong
            usable = isinstance(document.data, dict) and isinstance(document.data.get("steps"), list)
            self._templates[path] = document if usable else None
        return self._templates[path]

    def check_template(self, path: Path, name: str, outer: Scope) -> None:
        """Report what is wrong with a template, whatever the values of its inputs are."""
        template = self.template(path, name)
        if template is None:
            return
        declared = declarations(template.data.get("inputs"), template)
        scope = _template_scope(declared, dict.fromkeys(declared, UNKNOWN), outer, {})
        _, seen = self.block(template, ("steps",), scope, path, (path,)).steps()
        self.outputs(template, _after(scope, seen))

    def outputs(self, template: Document, scope: Scope) -> tuple[dict[str, Any], dict[str, Output]]:
        """Return the outputs of a template as trees, and what is known of each."""
        given = template.data.get("outputs")
        trees: dict[str, Any] = {}
        told: dict[str, Output] = {}
        for name, value in (given if isinstance(given, dict) else {}).items():
            path: Steps = ("outputs", name)
            described = isinstance(value, dict) and set(value) <= {"value", "description"} and "value" in value
            path = (*path, "value") if described else path
            document = Document(value["value"] if described else value, template.find(path))
            trees[name] = tree = _tree(self.found, document, scope)
            output = scope.output(tree) if isinstance(tree, Ref) else None
            doc = str(value.get("description", "")) if described else ""
            told[name] = output or Output(scope.type_of(tree), doc)
        return trees, told


@cache
def _frame_checker() -> Checker:
    return Checker(schema.frame(template=True))


@dataclass
class _Block:
    """One `steps:` list. The frame has been checked before, so entries that do not fit it are skipped here."""

    all: Expander
    document: Document
    path: Steps
    scope: Scope
    by: Path
    chain: tuple[Path, ...]

    def steps(self) -> tuple[tuple[Step, ...], Mapping[str, Seen]]:
        """Return the steps, and what is known of each."""
        given = lookup(self.document.data, self.path)
        entries = [(i, e) for i, e in enumerate(given if isinstance(given, list) else ()) if isinstance(e, dict)]
        marks = {e["id"]: self.document.at((*self.path, i, "id")) for i, e in reversed(entries) if _has_id(e)}
        scope = self.scope.inside(marks)
        own: dict[str, Seen] = {}
        made = []
        for i, entry in entries:
            one = _One(self, entry, (*self.path, i), scope)
            if (step := one.step()) is not None:
                made.append(step)
            if _has_id(entry):
                self._twice(entry["id"], i, own)
                own[entry["id"]] = seen = Seen(one.outputs, self.document.at((*self.path, i, "id")))
                scope.add(entry["id"], seen)
        return tuple(made), own

    def _twice(self, name: str, index: int, done: Mapping[str, Seen]) -> None:
        if name in done:
            where = self.document.at((*self.path, index, "id"))
            first = done[name].where.line
            self.all.found.append(
                Problem(where, f"the id '{name}' is used twice; first on line {first}", code="PR0117")
            )


def _has_id(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("id"), str)


@dataclass
class _One:
    """One entry of `steps:`. `outputs` are those that later steps may use; None if they are unknown."""

    block: _Block
    entry: Mapping[str, Any]
    path: Steps
    scope: Scope
    outputs: Mapping[str, Output] | None = None

    # -------------------------------------------------------------- small things

    @property
    def document(self) -> Document:
        return self.block.document

    def problem(self, message: str, hint: str = "", *, code: str, key: str = "", at_key: bool = False) -> None:
        path = (*self.path, key) if key else self.path
        where = self.document.key_at(path) if at_key else self.document.at(path)
        self.block.all.found.append(Problem(where, message, hint, code=code))

    def part(self, key: str) -> Document:
        return Document(self.entry.get(key), self.document.find((*self.path, key)))

    def tree(self, document: Document, scope: Scope | None = None) -> Any:
        """Parse the references of a value and report those that name nothing."""
        return _tree(self.block.all.found, document, scope or self.scope)

    # -------------------------------------------------------------- the step

    def step(self) -> Step | None:
        self.block.all.count += 1
        if self.block.all.count > MAX_STEPS:
            where = self.document.at(self.path)
            last = Problem(where, f"more than {MAX_STEPS:,} steps after templates are expanded", code="PR0118")
            raise PlanError(*dict.fromkeys([*self.block.all.found, last]))
        each, inner = self._for_each()
        common = {
            "id": str(self.entry.get("id", "")),
            "where": self.document.at(self.path),
            "description": str(self.entry.get("description", "")),
            "when": self._guard(),
            "for_each": each,
            "jobs": self._static("jobs", 1),
            "on_error": "warn" if self.entry.get("on_error") == "warn" else "fail",
            "acknowledge": str(self.entry.get("acknowledge", "")),
            "retry": self._retry(),
            "timeout": self._seconds("timeout"),
        }
        step = self._body(common, inner)
        if each is not None:
            self.outputs = EACH
        return step

    def _body(self, common: dict[str, Any], inner: Scope) -> Step | None:
        uses, steps = self.entry.get("uses"), self.entry.get("steps")
        if uses is not None and steps is not None:
            self.problem("a step has either `uses` or `steps`, not both", code="PR0119", key="steps", at_key=True)
            return None
        if steps is not None:
            return self._group(common, inner)
        if uses is None:
            self.problem("a step needs `uses` or `steps`", "name a kind, such as `uses: sql`", code="PR0111")
            return None
        if not isinstance(uses, str) or not uses:
            return None
        if uses.startswith(".") or uses.endswith((".yml", ".yaml")):
            return self._template_file(uses, common, inner)
        if uses in kinds.names():
            return self._kind(uses, common, inner)
        if uses in schema.bundled_templates():
            path = schema.bundled_templates()[uses]
            return self._template(path, f"planrun:plans/steps/{path.name}", common, inner)
        known = [*kinds.names(), *schema.bundled_templates()]
        self.problem(f"there is no kind or template '{uses}'", nearest(uses, known), code="PR0124", key="uses")
        return None

    # -------------------------------------------------------------- guard, loop, retry

    def _guard(self) -> guard.Guard | None:
        text = self.entry.get("when")
        if isinstance(text, bool):
            text = str(text).lower()
        if not isinstance(text, str) or not text:
            return None
        place = self.document.find((*self.path, "when"))
        try:
            # a guard on several lines is one expression; columns count from 0 in the whole text
            parsed_guard = guard.parse(text.replace("\n", " "), place.mark._replace(column=0))
            wrong = guard.check(parsed_guard, self.scope.guard_shape, self._hint_of_unknown_step)
        except PlanError as exc:
            parsed_guard, wrong = None, list(exc.problems)
        lead = len(text) - len(text.lstrip())
        for one in wrong:
            where = place.inside(text, one.where.column + lead)
            self.block.all.found.append(dataclasses.replace(one, where=where))
        return dataclasses.replace(parsed_guard, where=place.inside(text, 0)) if parsed_guard else None

    def _hint_of_unknown_step(self, name: str) -> str:
        return "a step cannot wait for itself" if name == self.entry.get("id") else self.scope.step_hint(name)

    def _for_each(self) -> tuple[Any, Scope]:
        """Return the parsed list and the scope inside the loop."""
        document = self.part("for_each")
        if not isinstance(document.data, str | list) or not document.data:
            return None, self.scope
        if isinstance(document.data, str) and _DOTTED.match(document.data):
            tree = self._bare(document)
        else:
            tree = self.tree(document)
        if isinstance(tree, str) or self.scope.type_of(tree) not in ("array", "object", ANYTHING):
            self.problem("for_each needs a list", "such as `for_each: detect.tables`", code="PR0112", key="for_each")
        return tree, dataclasses.replace(self.scope, item=self._item(tree))

    def _bare(self, document: Document) -> Ref:
        """`detect.tables` is short for `${steps.detect.tables}`."""
        names = tuple(document.data.split("."))
        names = names if names[0] in values.ROOTS else ("steps", *names)
        ref = Ref(names, document.data)
        self.block.all.found.extend(reference_problems(ref, document, self.scope))
        return ref

    def _item(self, tree: Any) -> Any:
        output = self.scope.output(tree) if isinstance(tree, Ref) else None
        if output and output.fields:
            return dict.fromkeys(output.fields, ANYTHING)
        if isinstance(tree, list) and tree and all(isinstance(one, dict) for one in tree):
            return {key: ANYTHING for one in tree for key in one}
        return ANYTHING

    def _static(self, key: str, default: int) -> int:
        """Return a whole number that must be known before the run."""
        if key not in self.entry:
            return default
        value = self.scope.resolve(self.tree(self.part(key)))
        if value is UNKNOWN:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.problem(f"{key}: {self.entry[key]} is not a number from 1", code="PR0112", key=key)
            return default
        return value

    def _seconds(self, *path: str) -> float | None:
        given: Any = self.entry
        for key in path:
            given = given.get(key) if isinstance(given, dict) else None
        if given is None:
            return None
        document = Document(given, self.document.find((*self.path, *path)))
        value = self.scope.resolve(self.tree(document))
        if value is UNKNOWN:
            return None
        try:
            return min(duration(value), _LONGEST)
        except ValueError:
            if "${" in str(given):  # the frame has reported all others
                self.block.all.found.append(
                    Problem(document.place.mark, f"{path[-1]}: {given} is not a duration", code="PR0112")
                )
            return None

    def _retry(self) -> Retry:
        given = self.entry.get("retry")
        if not isinstance(given, dict):
            return Retry()
        attempts, on = given.get("attempts", 3), given.get("on")
        return Retry(
            attempts=attempts if isinstance(attempts, int) else 1,
            delay=self._seconds("retry", "delay") or Retry().delay,
            on=tuple(map(str, on)) if isinstance(on, list) else Retry().on,
        )

    # -------------------------------------------------------------- groups

    def _not_for_groups(self, what: str) -> None:
        for key in ("jobs", "retry", "timeout", "acknowledge"):
            if key in self.entry:
                hint = "give it to the steps inside" if what == "group" else "a template's steps have their own"
                self.problem(f"`{key}` is not for a {what}", hint, code="PR0125", key=key, at_key=True)

    def _group(self, common: dict[str, Any], inner: Scope) -> Step:
        self._not_for_groups("group")
        if "with" in self.entry:
            self.problem("`with` goes with `uses`, not with `steps`", code="PR0125", key="with", at_key=True)
        path = (*self.path, "steps")
        steps, _ = self.block.all.block(self.document, path, inner, self.block.by, self.block.chain).steps()
        self.outputs = {}
        return Step(**common, steps=steps)

    # -------------------------------------------------------------- kinds

    def _with(self) -> Document:
        document = self.part("with")
        if not isinstance(document.data, dict):
            head = self.document.find(self.path)
            empty = Place(head.file, head.spot)
            empty.keys, empty.parts = {}, {}
            document = Document({}, empty)
        backup = self.block.all.backup
        if self.entry.get("uses") == "backup" and backup is not None and not self.scope.template:
            return merge(backup, document)
        return document

    def _kind(self, name: str, common: dict[str, Any], inner: Scope) -> Step:
        kind = kinds.get(name)
        self.outputs = kind.OUTPUTS
        if "jobs" in self.entry and "for_each" not in self.entry:
            self.problem("`jobs` needs a `for_each`", code="PR0125", key="jobs", at_key=True)
        document = self._with()
        tree = self.tree(document, inner)
        data = inner.resolve(tree)
        wrong = list(_kind_checker(name).problems(data, document, refs=_references(tree, document, inner)))
        wrong += [*self._connections(kind, data, document), *self._sql_files(kind, data, document)]
        if not wrong:
            wrong += self._try_params(kind, data, document)
        wrong = list(_at_origins(wrong, tree, document, inner))
        step = Step(**common, kind=name, values=tree)
        if self.block.all.sql_check and not wrong:
            wrong += self.block.all.sql_check(step, document, self.block.all.files.root)
        self.block.all.found.extend(wrong)
        return step

    def _try_params(self, kind: Kind, data: Mapping[str, Any], document: Document) -> Iterator[Problem]:
        """Build the Params if all values are known: a kind may refuse a combination of values."""
        if values.has_unknown(data):
            return
        try:
            build(kind.Params, data, self.block.all.files.main.parent)
        except BadParam as exc:
            where = document.at(exc.path) if exc.path else self.document.at(self.path)
            yield Problem(where, exc.message, exc.hint, code=exc.code)

    def _connections(self, kind: Kind, data: Mapping[str, Any], document: Document) -> Iterator[Problem]:
        known = self.block.all.connections
        for param in dataclasses.fields(kind.Params):
            name = data.get(word(param))
            if param.metadata.get("connection") and isinstance(name, str) and name and name not in known:
                hint = nearest(name, known) or "declare it under `connections:`"
                yield Problem(document.at((word(param),)), f"there is no connection '{name}'", hint, code="PR0122")

    def _sql_files(self, kind: Kind, data: Mapping[str, Any], document: Document) -> Iterator[Problem]:
        files = self.block.all.files
        bundled = not self.block.by.is_relative_to(files.root)
        for param in dataclasses.fields(kind.Params):
            name = data.get(param.name) if param.name in _FILES and not bundled else None
            if isinstance(name, str) and name and not param.metadata.get("path"):
                where = document.at((param.name,))
                try:
                    files.read_bytes(files.sql_file(name, where))
                except PlanError as exc:
                    yield from exc.problems
                except OSError as exc:
                    yield Problem(where, f"cannot read '{name}': {exc.strerror}", code="PR0115")

    # -------------------------------------------------------------- templates

    def _template_file(self, uses: str, common: dict[str, Any], inner: Scope) -> Step | None:
        try:
            path = self.block.all.files.find_file(uses, self.block.by.parent, self.document.at((*self.path, "uses")))
        except PlanError as exc:
            self.block.all.found.extend(exc.problems)
            return None
        return self._template(path, self.block.all.files.display_path(path), common, inner)

    def _template(self, path: Path, name: str, common: dict[str, Any], inner: Scope) -> Step | None:
        self._not_for_groups("template")
        if path in self.block.chain:
            self.problem(f"the template {name} uses itself", "remove one `uses`", code="PR0116", key="uses")
            return None
        if len(self.block.chain) >= MAX_CHAIN:
            self.problem(f"more than {MAX_CHAIN} templates use one another in a row", code="PR0118", key="uses")
            return None
        template = self.block.all.template(path, name)
        if template is None:
            return None
        inputs, given, origins = self._inputs(template, inner)
        scope = _template_scope(declarations(template.data.get("inputs"), template), given, self.scope, origins)
        scope = dataclasses.replace(scope, hook=self.scope.hook)
        block = self.block.all.block(template, ("steps",), scope, path, (*self.block.chain, path))
        steps, seen = block.steps()
        outputs, self.outputs = self.block.all.outputs(template, _after(scope, seen))
        template_name = str(self.entry["uses"])
        return Step(**common, steps=steps, template=template_name, inputs=inputs, outputs=outputs)

    def _inputs(self, template: Document, inner: Scope) -> tuple[dict[str, Any], dict[str, Any], Mapping[str, Mark]]:
        """Return the inputs as trees, as far as they are known offline, and the places of those that are given."""
        declared = declarations(template.data.get("inputs"), template)
        document = self._with()
        tree = self.tree(document, inner)
        given = {key: inner.resolve(value) for key, value in tree.items()}
        origins = {name: inner.origin(value) or document.at((name,)) for name, value in tree.items()}
        wrong = self._wrong_inputs(template, declared, given, document, _references(tree, document, inner))
        self.block.all.found.extend(_at_origins(wrong, tree, document, inner))
        defaults = {name: self._default(template, name, entry) for name, entry in declared.items()}
        trees = {name: tree.get(name, default) for name, default in defaults.items()}
        known = {name: given.get(name, inner.resolve(default)) for name, default in defaults.items()}
        # a mistake here must not be reported again for every step that uses it
        return trees, dict.fromkeys(known, UNKNOWN) if wrong else known, origins

    def _default(self, template: Document, name: str, entry: Mapping[str, Any]) -> Any:
        document = Document(entry.get("default"), template.find(("inputs", name, "default")))
        return self.tree(document, _template_scope({}, {}, self.scope, {}))

    def _wrong_inputs(
        self,
        template: Document,
        declared: Mapping[str, Any],
        given: Mapping[str, Any],
        document: Document,
        refs: Mapping[Steps, str],
    ) -> list[Problem]:
        try:
            return list(Checker(schema.declared_schema(declared)).problems(given, document, refs=refs))
        except ValueError as exc:
            where = template.at(("inputs",))
            return [Problem(where, f"these inputs are not usable: {str(exc).splitlines()[0]}", code="PR0112")]


def _tree(found: list[Problem], document: Document, scope: Scope) -> Any:
    """Parse the references of a value; add those that name nothing to the problems that were found."""
    tree = parse_references(document, found)
    found.extend(reference_problems(tree, document, scope))
    return tree


def _template_scope(
    declared: Mapping[str, Any], given: Mapping[str, Any], outer: Scope, origins: Mapping[str, Mark]
) -> Scope:
    known = {"inputs": given, "env": outer.given["env"]}
    return Scope(given=known, declared={"inputs": declared_types(declared)}, template=True, origins=origins)


def _references(tree: Any, document: Document, scope: Scope) -> dict[Steps, str]:
    """Return the text of values that contain references, by path; for given inputs, the values say more than the
    text."""
    texts = references_by_path(tree, document)
    return {path: text for path, text in texts.items() if scope.origin(lookup(tree, path)) is None}


def _at_origins(problems: Iterable[Problem], tree: Any, document: Document, scope: Scope) -> Iterator[Problem]:
    """Yield the problems where the user can correct them: where an input was given, not where a template passes it
    on."""
    origins = {
        document.at(path): origin
        for path, _ in values.refs(tree)
        if (origin := scope.origin(lookup(tree, path))) is not None
    }
    for problem in problems:
        if origin := origins.get(problem.where):
            used = f" (used in {problem.where.file}:{problem.where.line})"
            problem = dataclasses.replace(problem, where=origin, message=problem.message + used)
        yield problem


def _after(scope: Scope, seen: Mapping[str, Seen]) -> Scope:
    after = scope.inside({})
    for name, one in seen.items():
        after.add(name, one)
    return after


def declared_types(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON type of every declared param or input; unknown if it may have several."""
    types = {name: entry.get("type") for name, entry in declared.items()}
    return {name: one if isinstance(one, str) else ANYTHING for name, one in types.items()}
