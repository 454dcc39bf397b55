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

from runner.cases import moves
from runner.cases.case import Case, Fixture, Text, connections
from runner.cases.names import Names
from runner.errors import PlanError, Problem
from runner.language import source
from runner.language.case_schema import case_checks
from runner.language.checking import Checker
from runner.language.compose import may_read, merge, refuse_link_out, root_of, type_of, without
from runner.language.scope import Environment, Scope, parse_references, reference_problems, references_by_path
from runner.language.source import Document, Place, Steps
from runner.model import Plan
from runner.planfile import open_plan
from runner.tools import environment

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
        case = self._of_plan(plan, complete=len(self.found) == before)
        return case if len(self.found) == before else None

    def problem(self, path: Steps, message: str, hint: str = "", *, code: str) -> None:
        self.found.append(Problem(self.document.at(path), message, hint, code=code))

    def _check_schema(self) -> None:
        """Fill `${params.x}` in, and check the whole."""
        given = self.document.data.get("params")
        params = given if isinstance(given, dict) else {}
        types = {name: type_of(value) for name, value in params.items()}
        scope = Scope(given={"params": params, "env": Environment({}, False)}, declared={"params": types})
        body = without(self.document, "params")
        tree = parse_references(body, self.found)
        self.found.extend(reference_problems(tree, body, scope))
        self.data = scope.resolve(tree) | ({"params": params} if "params" in self.document.data else {})
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
            return open_plan(Path(shown), sets=self.sets, env=env, tells=False)
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

    def _of_plan(self, plan: Plan, *, complete: bool) -> Case:
        """Return the case. complete: every key of it is known, so that what is not there is missing."""
        names = Names(self.document, self.found, plan)
        runs = moves.read(names, self.data)
        answers, commands = self.data.get("answers", {}), self.data.get("commands", {})
        names.check_answers(answers)
        names.check_commands(commands)
        expect = self.data.get("expect", {})
        names.check_outcome(("expect",), expect)
        names.check_databases(expect)
        if complete and not expect and not any(move.expect for move in runs):
            hint = "say what must hold, in `expect:`: steps, rows, tables, queries, an error"
            self.problem(("name",), f"the case '{self.data['name']}' expects nothing", hint, code="PR1062")
        return Case(
            name=self.data["name"],
            path=self.path.resolve(),
            document=self.document,
            plan=plan,
            sets=self.sets,
            env=self._texts("env"),
            databases=self._fixtures(names),
            moves=runs,
            expect=expect,
            answers=answers,
            commands={path: tuple(argv) for path, argv in commands.items()},
            roles=tuple(dict.fromkeys([*self.data.get("roles", ()), *filter(None, [self.data.get("role")])])),
            role=self.data.get("role", ""),
            postgres=self.data.get("postgres", 0),
            timeout=moves.seconds_of(self.data.get("timeout", "2min")),
        )

    # -------------------------------------------------------------- fixtures

    def _fixtures(self, names: Names) -> dict[str, Fixture]:
        given = self.data.get("databases", {})
        for name in given:
            names.check_connection(("databases", name), name)
        return {
            name: self._fixture(names, ("databases", name), given.get(name, {})) for name in connections(names.plan)
        }

    def _fixture(self, names: Names, path: Steps, given: Any) -> Fixture:
        if isinstance(given, str):
            names.check_sql(path, given)
            return Fixture(texts=(self._text(path, given),))
        texts = []
        named = given.get("file", ())
        for number, name in enumerate([named] if isinstance(named, str) else named):
            at: Steps = (*path, "file") if isinstance(named, str) else (*path, "file", number)
            if file := self._file(at, name):
                texts.append(self._sql_file(file))
        if "sql" in given:
            names.check_sql((*path, "sql"), given["sql"])
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
