"""The answers for a new plan: from options, from a person at the terminal, or by default."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from runner.cli.init import surroundings
from runner.cli.init.answers import (
    CI,
    ENVIRONMENT,
    JOBS,
    Answers,
    glob_problem,
    package_problem,
    service_problem,
    table_problem,
    time_problem,
)
from runner.errors import UsageError

Check = Callable[[str], str]
"""Returns why an answer cannot be taken, "" if it can."""

Ask = Callable[[str, str | None], str]
"""Asks a question that has this default, and returns the answer."""


class Form:
    """Takes each answer from its option; else it asks a person, or takes the default, or notes what is missing.

    given: option -> value, None for one that was not given. ask: asks a person a question with a default, None if
    nobody can be asked. yes: take every default.
    """

    def __init__(self, given: Mapping[str, str | None], ask: Ask | None, *, yes: bool) -> None:
        self._given, self._answer, self.yes = given, ask, yes
        self.missing = list[str]()

    @property
    def person(self) -> bool:
        """Whether somebody can be asked."""
        return self._answer is not None

    def take(self, option: str, question: str, default: str | None, check: Check = lambda _: "") -> str:
        """Return an answer. Raises UsageError if the value of the option is wrong."""
        if (value := self._given.get(option)) is not None:
            if problem := check(value):
                raise UsageError(f"--{option}: {problem}", hint="planrun init --help", code="PR1142")
            return value
        if self._answer is not None:
            return _ask(self._answer, question, default, check)
        if default is None:
            self.missing.append(f"--{option}")
        return default or ""


def _ask(ask: Ask, question: str, default: str | None, check: Check) -> str:
    """Ask until the answer can be taken."""
    while problem := check(answer := ask(question, default)):
        click.echo(f"  {problem}", err=True)
    return answer


def say(*lines: str) -> None:
    click.echo("\n".join(["", *lines]), err=True)


def fill(form: Form, out: str | None, given_systemd: bool) -> Answers:
    """Return the answers to everything that the job needs. Raises UsageError with all options that are missing."""
    job = _job(form)
    start = Path.cwd()
    file = _file(out, job)
    root = surroundings.find_root(start)
    source = (
        _database(form, "source", "the database that the tables come from", job) if job == "refresh" else ENVIRONMENT
    )
    target = _database(form, "target", _TARGETS[job], job)
    command = _command(form, start) if job == "migration" else ()
    preserved = _tables_to_preserve(form) if job == "refresh" else ()
    schema = (
        form.take("schema", "Schema", "public", table_problem) if job == "refresh" and not form.person else "public"
    )
    tables = _tables(form) if job == "nightly" else "*"
    ci = _ci(form, root)
    systemd = job == "nightly" and _systemd(form, given_systemd)
    at = _at(form) if job == "nightly" and (systemd or ci != "none") else "03:00"
    package = _package(form) if ci != "none" else ""
    _refuse_missing(form, job)
    return Answers(
        job=job, file=file, start=start, root=root, source=source, target=target, command=command,
        preserved=preserved, schema=schema, tables=tables, ci=ci, systemd=systemd, at=at, package=package,
    )  # fmt: skip


def _job(form: Form) -> str:
    names = list(JOBS)
    if form.person:
        say(
            "planrun init writes a first plan. Enter takes the answer in brackets; Ctrl-C ends without a file.",
            "",
            *(f"  {number}  {name:9}  {what}" for number, (name, what) in enumerate(JOBS.items(), 1)),
            "",
        )
    numbers = {str(number): name for number, name in enumerate(names, 1)}
    wrong = f"one of {', '.join(names)}"
    answer = form.take(
        "job", "Which job", "1" if form.person else None, lambda one: "" if one in {*numbers, *names} else wrong
    )
    _refuse_missing(form, "")
    return numbers.get(answer, answer)


def _file(out: str | None, job: str) -> Path:
    """Return the file of the plan: `out` if that names a YAML file, else one in that folder."""
    path = Path(out or "plans")
    return path if path.suffix in (".yml", ".yaml") else path / f"{job}.yml"


_TARGETS = {
    "migration": "the database that the migration changes",
    "refresh": "the live database, whose tables are replaced",
    "nightly": "the database to back up",
}


def _database(form: Form, option: str, what: str, job: str) -> str:
    own = f"PLANRUN_{option.upper()}_URL" if job == "refresh" else "DATABASE_URL, or PGHOST and PGDATABASE"
    if form.person:
        known = surroundings.find_services(os.environ, Path.home())
        here = f" (here: {', '.join(known)})" if known else ""
        say(f"{what[0].upper()}{what[1:]}: a service of ~/.pg_service.conf{here},", f"or {ENVIRONMENT} for {own}.")
    safe = form.person or form.yes or job != "refresh"
    return form.take(option, option.capitalize(), ENVIRONMENT if safe else None, service_problem)


def _command(form: Form, start: Path) -> Sequence[str]:
    found = surroundings.find_migration(start)
    if form.person:
        say("The command that migrates. It takes the database from the environment, and runs in this folder.")
    text = form.take("command", "Command", shlex.join(found) if found else None, _command_problem)
    return shlex.split(text)


def _command_problem(text: str) -> str:
    try:
        return "" if shlex.split(text) else "a program and its arguments, such as: alembic upgrade head"
    except ValueError as exc:
        return f"{exc}".lower()


def _tables_to_preserve(form: Form) -> Sequence[str]:
    if form.person:
        say("Tables that keep the rows of the live database, such as users, sessions. Each needs a primary key.")
    text = form.take("preserve", "Tables, or none", "none" if form.person else "", _tables_problem)
    return () if text == "none" else text.replace(",", " ").split()


def _tables_problem(text: str) -> str:
    return next((problem for one in text.replace(",", " ").split() if (problem := table_problem(one))), "")


def _tables(form: Form) -> str:
    if form.person:
        say("Which tables: * for all of them, or a pattern such as app_* or audit.*")
    return form.take("tables", "Tables", "*", glob_problem)


def _ci(form: Form, root: Path) -> str:
    if form.person:
        say("A workflow file that runs the plan in CI: github, gitlab or none.")
    default = surroundings.find_ci(root) if form.person else "none"
    return form.take("ci", "Workflow", default, lambda one: "" if one in CI else f"one of {', '.join(CI)}")


def _systemd(form: Form, given: bool) -> bool:
    if given or not form.person:
        return given
    say("A systemd service with a timer, for this machine.")
    return form.take("timer", "Timer", "no", _yes_or_no_problem).lower() in _YES


_YES, _NO = ("y", "yes"), ("n", "no")


def _yes_or_no_problem(text: str) -> str:
    return "" if text.lower() in (*_YES, *_NO) else "yes or no"


def _at(form: Form) -> str:
    return form.take("at", "Every night at", "03:00", time_problem)


def _package(form: Form) -> str:
    found, known = surroundings.find_package()
    if form.person and not known:
        say("What the job installs planrun from, such as planrun[embedded] @ git+https://HOST/OWNER/planrun@COMMIT")
        return form.take("package", "Package", found, package_problem)
    return form.take("package", "", found, package_problem) if not form.person else found


_EXAMPLES = {
    "": "planrun init --job nightly --yes; the jobs are migration, refresh and nightly",
    "migration": "planrun init --job migration --command 'alembic upgrade head'",
    "refresh": "planrun init --job refresh --source staging --target prod",
}


def _refuse_missing(form: Form, job: str) -> None:
    if form.missing:
        where = "with --yes nobody is asked" if form.yes and sys.stdin.isatty() else "there is no terminal to ask at"
        raise UsageError(
            f"{where}, and {' and '.join(form.missing)} {'are' if len(form.missing) > 1 else 'is'} missing",
            hint=_EXAMPLES.get(job, "planrun init --help"),
            code="PR1141",
        )
