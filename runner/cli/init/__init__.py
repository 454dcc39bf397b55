"""planrun init: write a first plan for a job, a case that tests it, and what runs it in CI or every night."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.init.answers import JOBS
from runner.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from runner.cli.init.answers import Answers


@click.command(
    epilog="\b\nExamples:\n  planrun init\n  planrun init --job migration --command 'npx drizzle-kit migrate'\n"
    "  planrun init --job nightly --target prod --ci github --systemd --yes\n"
    "  planrun init --job refresh --source staging --target prod --preserve users,sessions -o plans/prod.yml"
)
@click.option("--job", metavar="JOB", help=f"What the plan does: {', '.join(JOBS)}.")
@click.option(
    "-o", "--out", metavar="PATH", help="The plan, or the folder for it (default: plans). Nothing is overwritten."
)
@click.option("--target", metavar="SERVICE", help="The database: a service of ~/.pg_service.conf, or env (default).")
@click.option("--source", metavar="SERVICE", help="refresh: the database that the tables come from.")
@click.option("--schema", metavar="NAME", help="refresh: the schema whose tables are replaced (default: public).")
@click.option("--preserve", metavar="TABLES", help="refresh: tables that keep the rows of the target, as a,b,c.")
@click.option("--command", "migration", metavar="COMMAND", help="migration: the command that migrates.")
@click.option("--tables", metavar="PATTERN", help="nightly: which tables (default: *, all).")
@click.option("--ci", metavar="CI", help="A workflow file for github or gitlab (default: none).")
@click.option("--systemd", is_flag=True, help="nightly: a systemd service and its timer.")
@click.option("--at", metavar="HH:MM", help="nightly: when (default: 03:00).")
@click.option("--package", metavar="SPEC", help="What pip installs planrun from, in a workflow.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; take the default of what is not given.")
def command(
    job: str | None,
    out: str | None,
    target: str | None,
    source: str | None,
    schema: str | None,
    preserve: str | None,
    migration: str | None,
    tables: str | None,
    ci: str | None,
    systemd: bool,
    at: str | None,
    package: str | None,
    yes: bool,
) -> int:
    """Write a first plan for a job, and a case that tests it.

    Asks what the job is, for which databases, and whether CI or a timer shall run it. Without a terminal, the options
    answer. It writes no password and no URL of a database into a file.
    """
    from runner.cli.init.next_steps import next_steps_text
    from runner.cli.init.writing import write_all

    given = {
        "job": job, "target": target, "source": source, "schema": schema, "preserve": preserve,
        "command": migration, "tables": tables, "ci": ci, "at": at, "package": package,
    }  # fmt: skip
    _refuse_useless(given, systemd=systemd)
    answers = _answers(given, out, systemd=systemd, yes=yes)
    texts = files(answers)
    write_all(texts)
    print(next_steps_text(answers, list(texts), os.environ), end="")
    return 0


def _answers(given: Mapping[str, str | None], out: str | None, *, systemd: bool, yes: bool) -> Answers:
    from runner.cli.common import Terminal, interruptible
    from runner.cli.init.form import Form, fill

    cancel = Cancel()
    terminal = Terminal(cancel)
    form = Form(given, terminal.answer if sys.stdin.isatty() and not yes else None, yes=yes)
    try:
        with interruptible(cancel, terminal):
            return fill(form, out, systemd)
    except Interrupted as exc:
        exc.hint = "no file was written"
        raise


_OF_JOB = {
    "source": "refresh", "schema": "refresh", "preserve": "refresh", "command": "migration", "tables": "nightly",
    "systemd": "nightly", "at": "nightly",
}  # fmt: skip


def _refuse_useless(given: Mapping[str, str | None], *, systemd: bool) -> None:
    """Raise UsageError for an option that the job does not read."""
    used = {option for option, value in given.items() if value is not None} | ({"systemd"} if systemd else set())
    if (job := given["job"]) not in JOBS:
        return
    for option in _OF_JOB:
        if option in used and _OF_JOB[option] != job:
            raise UsageError(
                f"--{option} belongs to the job {_OF_JOB[option]}, not to {job}",
                hint="planrun init --help",
                code="PR1142",
            )


def files(answers: Answers) -> dict[Path, str]:
    """Return the texts of all new files, by path."""
    from runner.cli.init import units, workflows
    from runner.cli.init.plans import case_text, plan_text

    folder = answers.file.parent
    made = {answers.file: plan_text(answers), folder / "tests" / answers.file.name: case_text(answers)}
    made |= dict(_schemas(folder))
    backups = answers.start / "backups" / ".gitignore"
    if answers.job != "refresh" and (answers.root / ".git").exists() and not backups.exists():
        made[Path("backups/.gitignore")] = "# rows of databases belong into no repository\n*\n"
    if answers.ci != "none":
        made[_display_path(answers.root / workflows.workflow_file(answers))] = workflows.workflow_text(answers)
    if answers.ci == "gitlab" and not (answers.root / ".gitlab-ci.yml").exists():
        included = f"include:\n  - local: {workflows.workflow_file(answers)}\n"
        made[_display_path(answers.root / ".gitlab-ci.yml")] = included
    if answers.systemd:
        made |= {Path("systemd") / name: text for name, text in units.unit_texts(answers).items()}
    return made


def _display_path(file: Path) -> Path:
    return Path(os.path.relpath(file))


def _schemas(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the schemas by which an editor completes plans and cases, unless the folder has them."""
    from runner.language.case_schema import case_schema
    from runner.language.schema import as_text, plan_schema

    for name, schema in (("plan", plan_schema), ("case", case_schema)):
        if not (folder / f"{name}.schema.json").exists():
            yield folder / f"{name}.schema.json", as_text(schema())
