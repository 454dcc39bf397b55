"""planrun init: write a first plan to edit, and the schema with which an editor completes it."""

from __future__ import annotations

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


@click.command(epilog="\b\nExamples:\n  planrun init\n  planrun init plans/nightly.yml --steps")
@click.argument("file", type=click.Path(dir_okay=False), default="backup.yml")
@click.option("--steps", is_flag=True, help="Write a plan with steps instead of the short backup form.")
def command(file: str, steps: bool) -> int:
    """Write a first plan to FILE (default: backup.yml), and next to it the schema for your editor."""
    path = Path(file)
    if path.exists():
        raise UsageError(f"{file} is already there", hint="give another name, or edit that one", code="PR0604")
    body = _STEPS.format(name=_name(path)) if steps else _BACKUP
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEAD + body, encoding="utf-8")
    _write_schema(path.parent / "plan.schema.json")
    named = shlex.quote(file)
    print(f"wrote {file} and {path.parent / 'plan.schema.json'}")
    print(f"next: planrun validate {named} && planrun diff {named}")
    return 0


def _name(path: Path) -> str:
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in path.stem.lower()).strip("_")
    return plain if plain[:1].isalpha() else "plan"


def _write_schema(path: Path) -> None:
    from runner.language.schema import as_text, plan_schema

    path.write_text(as_text(plan_schema()), encoding="utf-8")
