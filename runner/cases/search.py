"""Find the case files of plans and folders: YAML files below a folder `tests/` that stand beside the plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.cases import case_file
from runner.cases.case import Case
from runner.cases.case_file import FOLDER
from runner.errors import Mark, PlanError, Problem, UsageError
from runner.language import source
from runner.words import close_matches

_FOREIGN = {"node_modules", "__pycache__"}
_SUFFIXES = (".yml", ".yaml")


def find(names: Sequence[str], env: Mapping[str, str]) -> tuple[Case, ...]:
    """Return the cases of plans, folders and case files. Raises PlanError with the problems of all of them.

    A folder means all cases below it; a plan means those of the `tests/` beside it that name the plan.
    """
    problems: list[Problem] = []
    found: dict[tuple[str, str], Case] = {}
    for name in names or (".",):
        try:
            for case in _cases_of(name, env, problems):
                found.setdefault((case.file, case.name), case)
        except PlanError as exc:
            problems += exc.problems
    if problems:
        raise PlanError(*dict.fromkeys(problems))
    return tuple(found.values())


def _cases_of(name: str, env: Mapping[str, str], problems: list[Problem]) -> Iterator[Case]:
    path = Path(name)
    if path.is_dir():
        files, plan = _below(path), None
    elif not path.exists():
        raise PlanError(Problem(Mark(name, 1, 1), "cannot read this file: No such file or directory", code="PR0102"))
    elif case_file.is_case_file(path):
        files, plan = iter([path]), None
    else:
        files, plan = _beside(path), path.resolve()
    found = [case for file in files for case in _read(file, env, problems, only=plan)]
    if not found and not problems:
        raise _no_case_error(path)
    yield from found


def _read(file: Path, env: Mapping[str, str], problems: list[Problem], *, only: Path | None) -> tuple[Case, ...]:
    """Return the cases of a file; of a plan's if `only` names one. A file of something else has none."""
    shown = os.path.normpath(file)
    try:
        if not case_file.is_case_file(file):
            return ()
        if only and only not in _plans(source.read(file, shown)[0].data, file):
            return ()
        cases = case_file.read(file, shown, env)
    except PlanError as exc:
        problems += exc.problems
        return ()
    return tuple(case for case in cases if only is None or Path(case.plan.file).resolve() == only)


def _plans(data: Any, file: Path) -> set[Path]:
    """Return the plans that a file of cases names; one that names none is a problem of all plans beside it."""
    cases = data.get("cases")
    parts = [data, *(one for one in (cases if isinstance(cases, list) else ()) if isinstance(one, dict))]
    names = [part["plan"] for part in parts if isinstance(part.get("plan"), str)]
    return {(file.parent / str(name)).resolve() for name in names} or set(_siblings(file))


def _siblings(file: Path) -> Iterator[Path]:
    """Yield the plans beside the `tests/` folder that a file is in."""
    home = next(parent.parent for parent in file.resolve().parents if parent.name == FOLDER)
    yield from (path for path in home.iterdir() if path.suffix in _SUFFIXES)


def _beside(plan: Path) -> Iterator[Path]:
    folder = plan.parent / FOLDER
    return _files(folder) if folder.is_dir() else iter(())


def _below(folder: Path) -> Iterator[Path]:
    """Yield the YAML files of every `tests/` below a folder, or of this one if it is in a `tests/` itself."""
    if FOLDER in folder.resolve().parts:
        yield from _files(folder)
        return
    for here, names, _ in os.walk(folder):
        if FOLDER in names:
            yield from _files(Path(here, FOLDER))
        names[:] = sorted(name for name in names if name != FOLDER and _ours(name))


def _files(folder: Path) -> Iterator[Path]:
    for here, names, files in os.walk(folder):
        names[:] = sorted(filter(_ours, names))
        yield from (Path(here, name) for name in sorted(files) if name.endswith(_SUFFIXES))


def _ours(name: str) -> bool:
    return not name.startswith(".") and name not in _FOREIGN


def _no_case_error(path: Path) -> UsageError:
    where = path if path.is_dir() else path.parent / FOLDER
    what = f"there is no case in {path}" if path.is_dir() else f"there is no case of {path} in {where}"
    begin = "planrun init FILE writes a first plan with a case; docs/testing-plans.md has an example"
    return UsageError(what, hint=f"a case is a YAML file in a folder `tests/` beside the plan: {begin}", code="PR1060")


def choose(cases: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases with these names, or with one of them in their name. Raises UsageError when there is none."""
    if not names:
        return tuple(cases)
    exact = [case for case in cases if case.name in names]
    chosen = exact or [case for case in cases if any(name.lower() in case.title.lower() for name in names)]
    if not chosen:
        known = [case.name for case in cases]
        near = close_matches(names[0], known)
        hint = f"did you mean --case '{near[0]}'?" if near else f"there are: {', '.join(known[:12])}"
        raise UsageError(f"no case is called '{names[0]}'", hint=hint, code="PR1064")
    return tuple(chosen)
