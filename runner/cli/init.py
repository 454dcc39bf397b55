"""planrun init: write a first plan to edit, a case that tests it, and the schemas that an editor completes them by."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click

from runner.errors import UsageError

_HEAD = "# yaml-language-server: $schema=./plan.schema.json\n"

_BACKUP = """\
# Backs up every table whose name starts with `prefix`, from one snapshot, and keeps 30 days of sessions.
# Connection: PG* variables, DATABASE_URL, ~/.pg_service.conf and ~/.pgpass, as for psql.
backup:
  enabled: true
  path: "./backups"
  prefix: "_cdc_"
  format: "sql"
  compress: false
  retention_days: 30
"""

_STEPS = """\
name: {name}
description: What this plan is for, in one sentence.
# connections:
#   target: {{service: prod}}      # libpq parameters; the password is in ~/.pgpass
params:
  schema: {{type: string, default: public, description: The schema to work on.}}
steps:
  - id: look
    uses: find_tables
    with: {{glob: "*", schemas: ["${{params.schema}}"], allow_empty: true}}
  - id: save
    uses: pg_dump
    when: look.count > 0
    with: {{tables: "${{steps.look.tables}}", format: custom, to: ./backups}}
"""


_PLAIN = re.compile(r"[\w./ -]+\Z")
"""Paths that YAML takes as they are."""

_CASE = """\
# yaml-language-server: $schema=../case.schema.json
# `planrun test` runs this on a throw-away server.
plan: {plan}
databases:
  target: |
    create table {table} (id int primary key, name text);
    insert into {table} values (1, 'Ada');
cases:
  - name: saves the tables that have rows
    expect:
      sessions: {{count: 1, tables: {{{table}: 1}}}}
"""


@click.command(epilog="\b\nExamples:\n  planrun init\n  planrun init plans/nightly.yml --steps")
@click.argument("file", type=click.Path(dir_okay=False), default="backup.yml")
@click.option("--steps", is_flag=True, help="Write a plan with steps instead of the short backup form.")
def command(file: str, steps: bool) -> int:
    """Write a first plan to FILE (default: backup.yml), a case that tests it, and the schemas for your editor."""
    path = Path(file)
    if path.exists():
        raise UsageError(f"{file} is already there", hint="give another name, or edit that one", code="PR0604")
    body = _STEPS.format(name=_name(path)) if steps else _BACKUP
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEAD + body, encoding="utf-8")
    case = path.parent / "tests" / path.name
    _write_case(case, "users" if steps else "_cdc_users")
    _write_schemas(path.parent)
    named = shlex.quote(file)
    print(f"wrote {file}, {case}, and their schemas plan.schema.json and case.schema.json")
    print(f"next: planrun validate {named} && planrun test {named} && planrun diff {named}")
    return 0


def _name(path: Path) -> str:
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in path.stem.lower()).strip("_")
    return plain if plain[:1].isalpha() else "plan"


def _write_case(path: Path, table: str) -> None:
    """Write a case of the plan, unless there is a file of this name."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        plan = f"../{path.name}"
        path.write_text(
            _CASE.format(plan=plan if _PLAIN.match(plan) else json.dumps(plan), table=table), encoding="utf-8"
        )


def _write_schemas(folder: Path) -> None:
    from runner.language.case_schema import case_schema
    from runner.language.schema import as_text, plan_schema

    for name, made in (("plan", plan_schema()), ("case", case_schema())):
        (folder / f"{name}.schema.json").write_text(as_text(made), encoding="utf-8")
