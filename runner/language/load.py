"""Turn a plan file into a Plan: composed, typed, every name checked. Raises PlanError with all problems."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import PlanError, PlanrunError, Problem
from runner.guard import nearest
from runner.language import schema, source
from runner.language.checking import Checker, declarations
from runner.language.compose import (
    Files,
    extend,
    merge,
    place_of_set,
    settings,
    value_of,
    with_setting,
)
from runner.language.connections import connections_of
from runner.language.expand import Expander, SqlCheck, declared_types
from runner.language.scope import Environment, Scope, Seen, parse_references, reference_problems, references_by_path
from runner.language.source import Document, Place, Steps
from runner.model import HOOKS, UNKNOWN, Hooks, Plan, Recipient, Step
from runner.redact import MARK, Redactor, is_secret
from runner.table_name import TableName
from runner.version import __version__

if TYPE_CHECKING:
    from runner.language.notifications import TemplateCheck

SETTABLE = ("name", "description", "connections", "backup", "journal")
"""Keys of a plan that `--set` may reach into, besides the params."""


def load(
    file: Path,
    *,
    sets: Mapping[str, str] | Sequence[str] = (),
    env: Mapping[str, str],
    offline: bool = False,
    sql_check: SqlCheck | None = None,
    template_check: TemplateCheck | None = None,
    tells: bool = True,
) -> Plan:
    """Read, compose and check a plan. Raises PlanError with every problem, in the order of the files.

    sets: `name=value` for params, `key.path=value` for the plan's own keys (`backup.path=/srv`).
    env: the variables for `${env.X}`. offline: an unset variable or a param without a value is unknown, not an error.
    sql_check: called for every step of a kind, see runner.language.expand.SqlCheck. template_check: called for every
    template of a message, see runner.language.notifications.TemplateCheck. tells: runs of the plan tell its recipients,
    whose variables must then be set.
    """
    loader = _Loader(Files(file), Environment(env, offline), offline, sql_check, template_check)
    loader.tells = tells
    return loader.plan(str(file), settings(sets))


def is_template(file: Path) -> bool:
    """Return whether a file is a template of steps and not a plan: it has inputs or outputs, and no key of a plan."""
    try:
        keys = set(_mapping(source.read(file, str(file))[0].data))
    except PlanError:
        return False
    return bool(keys & {"inputs", "outputs"}) and not keys & _OF_PLANS


_OF_PLANS = {"connections", "params", "backup", "extends", "rollback", "journal", "protected", "notify", *HOOKS}


def check_template(file: Path, *, env: Mapping[str, str], sql_check: SqlCheck | None = None) -> tuple[Problem, ...]:
    """Return every problem of a template by itself. Its inputs are unknown, and any connection may be one of a plan."""
    loader = _Loader(Files(file), Environment(env, True), True, sql_check)
    scope = Scope(given={"params": {}, "env": loader.env}, declared={"params": {}})
    expander = Expander(loader.files, loader.found, _AnyName(), None, sql_check)
    expander.check_template(loader.files.main, str(file), scope)
    return tuple(dict.fromkeys(loader.found))


def setting_names(file: Path) -> list[tuple[str, str]]:
    """Return what `--set` can set of a plan, with the descriptions: its params, and the settings of its `backup:`."""
    files = Files(file)
    document = extend(files, files.main)
    params = declarations(document.data.get("params"), document)
    backup = {f"backup.{name}": entry for name, entry in _backup_inputs().items()} if "backup" in document.data else {}
    return [(name, str(entry.get("description", ""))) for name, entry in {**params, **backup}.items()]


class _AnyName(dict[str, Any]):
    """Connections of a plan that is not known."""

    def __contains__(self, name: object) -> bool:
        return True


@cache
def _frame_checker() -> Checker:
    return Checker(schema.frame())


class _Loader:
    def __init__(
        self,
        files: Files,
        env: Environment,
        offline: bool,
        sql_check: SqlCheck | None,
        template_check: TemplateCheck | None = None,
    ) -> None:
        self.files, self.env, self.offline, self.sql_check = files, env, offline, sql_check
        self.template_check, self.tells = template_check, True
        self.found: list[Problem] = []

    def plan(self, shown: str, sets: Mapping[str, str]) -> Plan:
        document = extend(self.files, self.files.main)
        document, given = self.with_sets(document, sets)
        self.found.extend(_frame_checker().problems(document.data, document))
        params = self.params(document, given)
        types = declared_types(declarations(document.data.get("params"), document))
        scope = Scope(given={"params": params, "env": self.env}, declared={"params": types})
        connections = connections_of(document, scope, self.found)
        steps, rollback, hooks = self.steps(document, scope, connections)
        notify = self.recipients(document)
        if self.found:
            raise PlanError(*dict.fromkeys(self.found))
        return Plan(
            name=str(document.data.get("name", self.files.main.stem)),
            file=shown,
            folder=self.files.main.parent,
            root=self.files.root,
            digest=self.files.digest(dict(sets), params, __version__),
            content={**self.files.texts(), **_params_text(Redactor(self.env.used).of(params))},
            sets=tuple(f"{name}={MARK if is_secret(name) else text}" for name, text in sets.items()),
            steps=steps,
            rollback=rollback,
            description=str(document.data.get("description", "")),
            connections=connections,
            params=params,
            env=dict(self.env.used),
            journal=str(document.data.get("journal", "")),
            protected=self.protected_tables(document),
            hooks=hooks,
            notify=notify,
        )

    # -------------------------------------------------------------- --set and params

    def with_sets(self, document: Document, sets: Mapping[str, str]) -> tuple[Document, dict[str, str]]:
        """Return the document with the plan's own keys set, and the texts given for params."""
        params = _mapping(document.data.get("params"))
        given = {}
        for name, text in sets.items():
            path = tuple(name.split("."))
            if text == MARK and is_secret(name):
                hint = "type the value itself: planrun does not store or show secrets"
                self.found.append(
                    Problem(
                        place_of_set(name).mark, f"'{MARK}' is shown instead of a secret value", hint, code="PR0206"
                    )
                )
            if name.removeprefix("params.") in params:
                given[name.removeprefix("params.")] = text
            elif path[0] in SETTABLE and all(path):
                document = with_setting(document, path, value_of(text, self.types_at(path)))
            else:
                known = [*params, *(key for key in SETTABLE if key in document.data), *_backup_paths(document)]
                hint = nearest(name, known) or "the plan declares no params"
                where = place_of_set(name).mark
                self.found.append(Problem(where, f"there is no param or setting '{name}'", hint, code="PR0206"))
        return document, given

    def types_at(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Return the JSON types that a setting may have."""
        if path[0] != "backup":
            return ("string",)
        if len(path) == 1:
            return ("object",)
        return tuple(schema.types_of(_backup_inputs().get(path[1], {})))

    def params(self, document: Document, given: Mapping[str, str]) -> dict[str, Any]:
        """Return the final value of every declared param; UNKNOWN for one that is missing offline."""
        entries = declarations(document.data.get("params"), document)
        return {name: self.param(document, name, entry, given) for name, entry in entries.items()}

    def param(self, document: Document, name: str, entry: Mapping[str, Any], given: Mapping[str, str]) -> Any:
        path = ("params", name)
        if name in given:
            value = value_of(given[name], schema.types_of(entry))
            return self.check_value(entry, value, Document(value, place_of_set(name)), document, path)
        if "default" not in entry:
            if schema.is_required(entry) and not self.offline:
                where = document.key_at(path)
                doc = f" ({entry['description']})" if entry.get("description") else ""
                self.found.append(
                    Problem(where, f"the param '{name}' needs a value{doc}", f"--set {name}=...", code="PR0205")
                )
            return UNKNOWN if schema.is_required(entry) else None
        default = Document(entry["default"], document.find((*path, "default")))
        scope = Scope(given={"env": self.env, "params": {}}, declared={"params": {}})
        tree = parse_references(default, self.found)
        self.found.extend(reference_problems(tree, default, scope))
        refs = references_by_path(tree, default)
        return self.check_value(entry, scope.resolve(tree), default, document, path, refs)

    def check_value(
        self,
        entry: Mapping[str, Any],
        value: Any,
        at: Document,
        document: Document,
        path: tuple[str, ...],
        refs: Mapping[Steps, str] | None = None,
    ) -> Any:
        """Return the value of a param. A wrong value is reported once and is then unknown wherever it is used."""
        name = path[-1]
        try:
            problems = list(Checker(schema.value_schema(entry)).problems(value, at, refs=refs or {}))
        except ValueError:
            where = document.at((*path, "pattern"))
            self.found.append(Problem(where, "pattern: is not a regular expression", code="PR0207"))
            return UNKNOWN
        self.found += [
            Problem(p.where, f"{name}: {p.message.removeprefix(name + ': ')}", p.hint, code=p.code) for p in problems
        ]
        return UNKNOWN if problems else value

    def protected_tables(self, document: Document) -> tuple[TableName, ...]:
        """Return the tables that no SQL of the plan may touch. Raises PlanError for an invalid name."""
        found = []
        for index, name in enumerate(document.data.get("protected", ())):
            try:
                found.append(TableName.parse(name))
            except PlanrunError as exc:
                where = document.at(("protected", index))
                raise PlanError(Problem(where, exc.message, exc.hint, code=exc.code)) from None
        return tuple(found)

    # -------------------------------------------------------------- steps

    def steps(
        self, document: Document, scope: Scope, connections: Mapping[str, Any]
    ) -> tuple[tuple[Step, ...], tuple[Step, ...], Hooks]:
        block = Document(document.data["backup"], document.find(("backup",))) if "backup" in document.data else None
        usable = block if block and isinstance(block.data, dict) else None
        all_ = Expander(self.files, self.found, connections, usable, self.sql_check)
        if usable:
            self.check_backup(usable, scope)
        if "steps" not in document.data:
            if not usable:
                hint = "add `steps:`, or a `backup:` block"
                self.found.append(Problem(document.place.mark, "the plan has no steps", hint, code="PR0114"))
                return (), (), Hooks()
            document = _with_backup_step(document)
        by = self.files.main
        steps, seen = all_.block(document, ("steps",), scope, by, ()).steps()
        rollback: tuple[Step, ...] = ()
        if "rollback" in document.data:
            rollback, back = all_.block(document, ("rollback",), scope, by, ()).steps()
            seen = {**back, **seen}
        hooks = self.hooks(all_, document, scope, seen)
        if usable and not self.found and not any(map(_uses_sessions, (*steps, *rollback, *hooks.steps))):
            self.check_use_of_backup(document)
        return steps, rollback, hooks

    def hooks(self, all_: Expander, document: Document, scope: Scope, seen: Mapping[str, Seen]) -> Hooks:
        """Return the steps of the hooks, which see the steps of the plan or of its rollback, and how the run ended.

        None of them fails: at most it is warned, as with `on_error: warn`.
        """
        around = replace(scope.inside({}), hook=True)
        for name, one in seen.items():
            around.add(name, one)
        made = {}
        for block in (name for name in HOOKS if name in document.data):
            steps, _ = all_.block(document, (block,), around, self.files.main, ()).steps()
            made[block] = tuple(replace(step, on_error="warn") for step in steps)
            self.check_on_error(document, block)
        return Hooks(**made)

    def check_on_error(self, document: Document, block: str) -> None:
        """Report `on_error: fail` of a hook, because no hook can make a run fail."""
        given = document.data[block]
        for index, entry in enumerate(given if isinstance(given, list) else ()):
            if isinstance(entry, dict) and entry.get("on_error") == "fail":
                where = document.key_at((block, index, "on_error"))
                hint = "leave it out: a hook that fails is a warning of the run"
                self.found.append(Problem(where, "a hook cannot make the run fail", hint, code="PR1089"))

    def recipients(self, document: Document) -> tuple[Recipient, ...]:
        if "notify" not in document.data:
            return ()
        from runner.language.notifications import Notifications

        return Notifications(
            document, self.files, self.env, self.offline or not self.tells, self.found, self.template_check
        ).recipients()

    def check_use_of_backup(self, document: Document) -> None:
        """Report settings that no step of the file uses; settings of an extended file may be for other plans."""
        where = document.key_at(("backup",))
        if where.file == document.key_at(("steps",)).file:
            hint = (
                "add `- {id: save, uses: backup}` to `steps:`, with `when: save.ok` on what needs it; or remove "
                "the `backup:` block"
            )
            self.found.append(Problem(where, "no step uses `backup`, so nothing would be saved", hint, code="PR0123"))

    def check_backup(self, block: Document, scope: Scope) -> None:
        """Check the settings of `backup:` also when no step uses them."""
        tree = parse_references(block, self.found)
        self.found.extend(reference_problems(tree, block, scope))
        whole = schema.declared_schema(_backup_inputs())
        whole.pop("required", None)
        if whole.get("properties"):
            self.found.extend(Checker(whole).problems(scope.resolve(tree), block))


def _params_text(params: Mapping[str, Any]) -> dict[str, str]:
    """Return what the digest covers besides files: one param per line, and the version."""
    told = {name: MARK if is_secret(name) else value for name, value in params.items()}
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}\n" for name, value in told.items())
    return {"params": "".join(lines), "planrun": f"{__version__}\n"}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@cache
def _backup_inputs() -> Mapping[str, Any]:
    path = schema.bundled_templates().get("backup")
    return _mapping(source.read(path, path.name)[0].data.get("inputs")) if path else {}


def _backup_paths(document: Document) -> list[str]:
    return [f"backup.{key}" for key in _backup_inputs()] if "backup" in document.data else []


_OF_SESSIONS = {"pg_dump", "pg_restore", "verify_backup", "retention"}


def _uses_sessions(step: Step) -> bool:
    return step.kind in _OF_SESSIONS or any(map(_uses_sessions, step.steps))


def _with_backup_step(document: Document) -> Document:
    """`backup:` alone is a plan of one step."""
    head = document.key_at(("backup",))
    data: Any = {"steps": [{"id": "backup", "uses": "backup"}]}
    place = Place(head.file, (head.line, head.column))
    step, steps = Place(head.file, place.spot), Place(head.file, place.spot)
    step.keys = step.parts = {"id": place, "uses": place}
    steps.parts = [step]
    place.keys, place.parts = {"steps": steps}, {"steps": steps}
    return merge(document, Document(data, place))
