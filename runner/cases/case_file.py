"""Read a file of cases. Raises PlanError with all problems at once, as for a plan."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from runner.cases.case import Case, Fault, Fixture, Move, Text, connections, default_connection
from runner.errors import PlanError, PlanrunError, Problem
from runner.guard import nearest
from runner.language import source
from runner.language.case_schema import DATABASE, case_checks
from runner.language.checking import Checker
from runner.language.compose import may_read, merge, refuse_link_out, root_of, type_of, without
from runner.language.scope import Environment, Scope, parse_references, reference_problems, references_by_path
from runner.language.source import Document, Place, Steps
from runner.model import Plan, Step
from runner.planfile import open_plan
from runner.safesql import syntax
from runner.table_name import TableName
from runner.tools import environment
from runner.units import duration

FOLDER = "tests"
"""The folder beside plans that holds their cases."""

PLACE = "postgresql://postgres@/planrun_test"
"""The address that `${env.DATABASE_URL}` has while a case is checked, before its databases exist."""


def base_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the caller's environment that a case gets: no address, no secret."""
    return environment(env)


def read(path: Path, shown: str, env: Mapping[str, str]) -> tuple[Case, ...]:
    """Return the cases of a file. Raises PlanError with every problem of the file and of the plans that it names.

    shown: how messages call the file. env: the environment of the caller.
    """
    refuse_link_out(path)
    document, _ = source.read(path, shown)
    found: list[Problem] = []
    cases = [case for one in _parts(document, path, found) if (case := _Reader(one, path, env, found).case())]
    _refuse_one_name_twice(cases, found)
    if found:
        raise PlanError(*dict.fromkeys(found))
    return tuple(cases)


def _parts(document: Document, path: Path, found: list[Problem]) -> Iterator[Document]:
    """Yield each case as if it stood alone: merged over what the file says for all of them."""
    if not isinstance(document.data, dict):
        found.append(Problem(document.place.mark, "a case is a mapping of keys", _START, code="PR0114"))
        return
    if "cases" not in document.data:
        named = Document({"name": path.stem}, document.place)
        yield merge(named, document)
        return
    every = document.data["cases"]
    if not isinstance(every, list) or not every:
        found.append(Problem(document.key_at(("cases",)), "cases: is not a list of cases", _START, code="PR0112"))
        return
    shared = without(document, "cases")
    for number, data in enumerate(every):
        place = document.find(("cases", number))
        if isinstance(data, dict):
            yield merge(shared, Document(data, place))
        else:
            found.append(Problem(place.mark, "a case is a mapping of keys", _START, code="PR0114"))


_START = "docs/testing-plans.md has an example"


def _refuse_one_name_twice(cases: list[Case], found: list[Problem]) -> None:
    first: dict[str, Case] = {}
    for case in cases:
        if (earlier := first.setdefault(case.name, case)) is not case:
            message = f"'{case.name}' is the name of the case on line {earlier.where.line}, too"
            found.append(Problem(case.where, message, "give each case a name of its own", code="PR1061"))


# ------------------------------------------------------------------ one case


@dataclass
class _Reader:
    """Reads one case; what is wrong is added to `found`."""

    document: Document
    path: Path
    env: Mapping[str, str]
    found: list[Problem]
    data: dict[str, Any] = field(default_factory=dict)

    def case(self) -> Case | None:
        """Return the case, None if anything of it is wrong."""
        before = len(self.found)
        self._check_schema()
        if any(problem.code not in _NOT_IN_THE_WAY for problem in self.found[before:]):
            return None
        if (plan := self._plan()) is None:
            return None
        checked = self._checked(plan, complete=len(self.found) == before)
        return checked if len(self.found) == before else None

    def problem(self, path: Steps, message: str, hint: str = "", *, code: str) -> None:
        self.found.append(Problem(self.document.at(path), message, hint, code=code))

    def key_problem(self, path: Steps, message: str, hint: str = "", *, code: str) -> None:
        self.found.append(Problem(self.document.key_at(path), message, hint, code=code))

    def _check_schema(self) -> None:
        """Fill `${params.x}` in, and check the whole."""
        given = self.document.data.get("params")
        params = given if isinstance(given, dict) else {}
        types = {name: type_of(value) for name, value in params.items()}
        scope = Scope(given={"params": params, "env": Environment({}, False)}, declared={"params": types})
        body = without(self.document, "params")
        tree = parse_references(body, self.found)
        self.found.extend(reference_problems(tree, body, scope))
        self.data = scope.resolved(tree) | ({"params": params} if "params" in self.document.data else {})
        refs = references_by_path(tree, body)
        self.found.extend(_checker().problems(self.data, self.document, refs=refs))

    # -------------------------------------------------------------- the plan

    def _plan(self) -> Plan | None:
        """Return the plan of the case, loaded as it will be, but for addresses."""
        file = self._file(("plan",), self.data["plan"])
        if file is None:
            return None
        env = {**base_environment(self.env), "DATABASE_URL": PLACE, **self._texts("env")}
        shown = os.path.relpath(file, Path.cwd()) if file.is_relative_to(Path.cwd()) else str(file)
        try:
            return open_plan(Path(shown), sets=self.sets, env=env)
        except PlanError as exc:
            self.found.extend(map(self._from_the_case, exc.problems))
            return None

    def _from_the_case(self, problem: Problem) -> Problem:
        """Return a problem of the plan; one of a value that the case gives points to the case."""
        if problem.where.file.startswith("--set "):
            name = problem.where.file.removeprefix("--set ")
            return replace(problem, where=self.document.find(("set", name)).mark)
        if problem.code == "PR0202" and problem.message.startswith("${env."):
            return replace(problem, hint="give it in `env:` of the case, as none of yours gets in")
        if problem.code == "PR0205":
            return replace(problem, hint="give it in `set:` of the case")
        return problem

    @property
    def sets(self) -> dict[str, str]:
        given = self.data.get("set", {})
        return {name: one if isinstance(one, str) else json.dumps(one) for name, one in given.items()}

    def _texts(self, key: str) -> dict[str, str]:
        return {name: str(value) for name, value in self.data.get(key, {}).items()}

    def _file(self, path: Steps, text: str) -> Path | None:
        """Return a file or folder that the case names; it stays in the checkout, as those of a plan do."""
        file = (self.path.parent / text).resolve()
        root = _root(self.path.resolve())
        if not may_read(file, root):
            hint = f"files of a case stay in {root.name}/, the nearest folder with .git or sql/"
            self.problem(path, f"'{text}' is outside the root folder of the case", hint, code="PR0115")
        elif not file.exists():
            self.problem(path, f"there is no file '{text}'", f"looked for {file}", code="PR0115")
        else:
            return file
        return None

    # -------------------------------------------------------------- what must fit the plan

    def _checked(self, plan: Plan, *, complete: bool) -> Case:
        """Return the case. complete: every key of it is known, so that what is not there is missing."""
        steps = dict(_paths(plan.steps)) | dict(_paths(plan.rollback))
        moves = self._moves(plan, steps)
        self._check_answers(steps)
        self._check_commands(steps)
        expect = self.data.get("expect", {})
        self._check_outcome(("expect",), expect, steps)
        self._check_databases(plan, expect)
        if complete and not expect and not any(move.expect for move in moves):
            hint = "say what must hold, in `expect:`: steps, rows, tables, queries, an error"
            self.problem(("name",), f"the case '{self.data['name']}' expects nothing", hint, code="PR1062")
        return Case(
            name=self.data["name"],
            path=self.path.resolve(),
            document=self.document,
            plan=plan,
            sets=self.sets,
            env=self._texts("env"),
            databases=self._fixtures(plan),
            moves=moves,
            expect=expect,
            answers=self.data.get("answers", {}),
            commands={path: tuple(argv) for path, argv in self.data.get("commands", {}).items()},
            roles=tuple(dict.fromkeys([*self.data.get("roles", ()), *filter(None, [self.data.get("role")])])),
            role=self.data.get("role", ""),
            postgres=self.data.get("postgres", 0),
            timeout=_seconds(self.data.get("timeout", "2min")),
        )

    def _moves(self, plan: Plan, steps: Mapping[str, Step]) -> tuple[Move, ...]:
        given = self.data.get("run", "apply")
        every = given if isinstance(given, list) else [given]
        moves = []
        for number, one in enumerate(every):
            path: Steps = ("run", number) if isinstance(given, list) else ("run",)
            moves.append(self._move(path, {"run": one} if isinstance(one, str) else one, plan, steps))
        if "fail" in self.data:
            first = next((n for n, move in enumerate(moves) if move.verb), None)
            if first is None or moves[first].fault:
                hint = "`fail:` of the case is about its first run"
                self.key_problem(("fail",), "there is no run for this `fail:`", hint, code="PR1063")
            else:
                fault = self._fault(("fail",), self.data["fail"], plan, steps)
                moves[first] = replace(moves[first], fault=fault)
        if all(move.sql for move in moves):
            self.problem(("run",), "nothing of planrun runs", "add a run: apply", code="PR1063")
        return tuple(moves)

    def _move(self, path: Steps, given: Mapping[str, Any], plan: Plan, steps: Mapping[str, Step]) -> Move:
        if ("run" in given) == ("sql" in given):
            self.problem(path, "give either `run:` or `sql:`", code="PR1063")
        if "sql" in given:
            self._check_sql((*path, "sql"), given["sql"])
        self._check_connection((*path, "on"), given.get("on", ""), plan)
        if until := given.get("until"):
            self._check_step((*path, "until"), until, steps)
        if given.get("run") == "rollback" and not plan.rollback:
            self.problem(path, f"{plan.file} has no `rollback:`", "take this run out", code="PR1063")
        expect = given.get("expect", {})
        self._check_outcome((*path, "expect"), expect, steps)
        fault = self._fault((*path, "fail"), given["fail"], plan, steps) if "fail" in given else None
        sql = self._text((*path, "sql"), given["sql"]) if "sql" in given else None
        return Move(
            verb=given.get("run", ""), path=path, until=given.get("until", ""), fault=fault, expect=expect,
            sql=sql, connection=given.get("on", ""),
        )  # fmt: skip

    def _fault(self, path: Steps, given: Mapping[str, Any], plan: Plan, steps: Mapping[str, Step]) -> Fault:
        kind, step = given["with"], given["step"]
        self._check_step((*path, "step"), step, steps)
        self._check_connection((*path, "on"), given.get("on", ""), plan)
        for word in given.keys() - {"step", "with"} - _WORDS_OF[kind]:
            known = ", ".join(f"`{one}`" for one in sorted(_WORDS_OF[kind])) or "nothing more"
            self.key_problem((*path, word), f"'{word}' does not go with `{kind}`", f"it takes {known}", code="PR1063")
        if kind == "lock":
            self._check_table((*path, "table"), given.get("table", ""), path)
        found = steps.get(step)
        if found and found.steps:
            self.problem((*path, "step"), f"'{step}' is a group", f"name a step in it: {step}.…", code="PR1063")
        elif found and kind == "exit" and found.kind != "command":
            message = f"'{step}' runs no program: it uses {found.uses}"
            self.problem(path, message, "`error` fails any step", code="PR1063")
        hold = given.get("hold")
        return Fault(
            step=step, kind=kind, table=given.get("table", ""), connection=given.get("on", ""),
            hold=None if hold is None else _seconds(hold), code=given.get("code", 1), times=given.get("times", 0),
            after=given.get("after", False),
        )  # fmt: skip

    def _check_step(self, path: Steps, name: str, steps: Mapping[str, Step]) -> None:
        if name not in steps:
            self.problem(path, f"the plan has no step '{name}'", nearest(name, list(steps)), code="PR1063")

    def _check_connection(self, path: Steps, name: str, plan: Plan) -> None:
        if name and name not in connections(plan):
            known = list(connections(plan))
            self.problem(path, f"the plan has no connection '{name}'", nearest(name, known), code="PR1063")

    def _check_table(self, path: Steps, name: str, above: Steps) -> None:
        if not name:
            self.problem(above, "`lock` needs a `table:`", "such as users, or sales.orders", code="PR1063")
            return
        try:
            TableName.parse(name)
        except PlanrunError as exc:
            self.problem(path, exc.message, exc.hint, code=exc.code)

    def _check_sql(self, path: Steps, text: str) -> None:
        """Add what PostgreSQL's parser says of a text."""
        place = self.document.find(path)
        try:
            syntax.statements(text)
        except syntax.BadSql as exc:
            self.found.append(Problem(place.inside(text, exc.offset), exc.message, exc.hint, code="PR0301"))

    def _check_answers(self, steps: Mapping[str, Step]) -> None:
        asking = [path for path, step in steps.items() if step.kind == "confirm"]
        for path in self.data.get("answers", {}):
            if path not in asking:
                hint = nearest(path, asking) if asking else "take `answers:` out"
                self.key_problem(("answers", path), f"no step '{path}' asks anything", hint, code="PR1063")

    def _check_commands(self, steps: Mapping[str, Step]) -> None:
        running = [path for path, step in steps.items() if step.kind == "command"]
        for path in self.data.get("commands", {}):
            if path not in running:
                hint = nearest(path, running) if running else "take `commands:` out"
                self.key_problem(("commands", path), f"no step '{path}' runs a program", hint, code="PR1063")

    def _check_outcome(self, path: Steps, expect: Mapping[str, Any], steps: Mapping[str, Step]) -> None:
        for name in expect.get("steps", {}):
            if name.partition("[")[0] not in steps and name not in steps:
                hint = nearest(name, list(steps))
                self.key_problem((*path, "steps", name), f"the plan has no step '{name}'", hint, code="PR1063")

    def _check_databases(self, plan: Plan, expect: Mapping[str, Any]) -> None:
        """Check names of tables and the queries of what must hold in the databases."""
        if DATABASE.keys() & expect.keys() and not default_connection(plan):
            hint = "write `databases: {NAME: ...}` in `expect:`"
            self.key_problem(("expect",), "the plan has several connections and no `target`", hint, code="PR1063")
        self._check_database(("expect",), expect)
        for name, part in expect.get("databases", {}).items():
            self._check_connection(("expect", "databases", name), name, plan)
            self._check_database(("expect", "databases", name), part)

    def _check_database(self, path: Steps, expect: Mapping[str, Any]) -> None:
        for key in ("rows", "columns"):
            for name in expect.get(key, {}):
                self._check_table((*path, key, name), name, path)
        for key in ("tables", "missing"):
            for number, name in enumerate(expect.get(key, ())):
                self._check_table((*path, key, number), name, path)
        for number, query in enumerate(expect.get("queries", ())):
            self._check_sql((*path, "queries", number, "sql"), query["sql"])

    # -------------------------------------------------------------- fixtures

    def _fixtures(self, plan: Plan) -> dict[str, Fixture]:
        given = self.data.get("databases", {})
        for name in given:
            self._check_connection(("databases", name), name, plan)
        return {name: self._fixture(("databases", name), given.get(name, {})) for name in connections(plan)}

    def _fixture(self, path: Steps, given: Any) -> Fixture:
        if isinstance(given, str):
            self._check_sql(path, given)
            return Fixture(texts=(self._text(path, given),))
        texts = []
        named = given.get("file", ())
        for number, name in enumerate([named] if isinstance(named, str) else named):
            at: Steps = (*path, "file") if isinstance(named, str) else (*path, "file", number)
            if file := self._file(at, name):
                texts.append(self._sql_file(file))
        if "sql" in given:
            self._check_sql((*path, "sql"), given["sql"])
            texts.append(self._text((*path, "sql"), given["sql"]))
        like = self._file((*path, "like"), given["like"]) if "like" in given else None
        return Fixture(like=like, texts=tuple(texts))

    def _text(self, path: Steps, sql: str) -> Text:
        return Text(sql=sql, place=self.document.find(path))

    def _sql_file(self, file: Path) -> Text:
        shown = os.path.relpath(file)
        place = Place(shown, (1, 1))
        try:
            sql = source.decode(source.read_bytes(file, shown), shown)
        except PlanError as exc:
            self.found.extend(exc.problems)
            sql = ""
        place.lines = sql.split("\n")
        return Text(sql=sql, place=place)


def _root(path: Path) -> Path:
    """Return the folder outside which a case names no file: that of the plans beside its `tests/`."""
    home = next((parent.parent for parent in path.parents if parent.name == FOLDER), path.parent)
    return root_of(home / path.name)


_NOT_IN_THE_WAY = {"PR0110"}
"""Codes of problems with which the rest of a case can still be checked: a key too many."""

_WORDS_OF: Mapping[str, set[str]] = {
    "error": {"times"},
    "connection": {"times", "on"},
    "lock": {"times", "on", "table", "hold"},
    "kill": {"after"},
    "exit": {"times", "code"},
}


@cache
def _checker() -> Checker:
    return Checker(case_checks())


_KEYS = {"plan", "cases", "expect"}
_LOOKS = re.compile(r"^(plan|cases|expect)\s*:", re.MULTILINE)


def is_case_file(path: Path) -> bool:
    """Say whether a YAML file is one of cases, also if it is broken; a plan or a file of another tool is none.

    Raises PlanError if it cannot be read.
    """
    raw = source.read_bytes(path, str(path))
    try:
        data = source.parse(raw, str(path)).data
    except PlanError:
        return bool(_LOOKS.search(raw.decode("utf-8", "replace")))
    return isinstance(data, dict) and bool(_KEYS & data.keys())


def _seconds(value: float | str) -> float:
    return duration(value) if isinstance(value, str) else float(value)


def _paths(steps: tuple[Step, ...], prefix: str = "") -> Iterator[tuple[str, Step]]:
    for step in steps:
        yield prefix + step.id, step
        yield from _paths(step.steps, f"{prefix}{step.id}.")
