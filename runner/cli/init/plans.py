"""The text of a first plan, and of a case that tests it, for each job."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator

from runner.cli.init.answers import ENVIRONMENT, Answers
from runner.sqltext import ident

_HEAD = "# yaml-language-server: $schema=./plan.schema.json\n"
_CASE_HEAD = "# yaml-language-server: $schema=../case.schema.json\n# `planrun test` runs this on a throw-away server.\n"

_PLAIN = re.compile(r"[A-Za-z./][\w./-]*")
_NO_TEXT = re.compile(r"(?i)true|false|null|yes|no|on|off|y|n|\.nan|\.inf")


def scalar(text: str) -> str:
    """Return a text as YAML that means this text, with quotes only where it needs them."""
    plain = _PLAIN.fullmatch(text) and not _NO_TEXT.fullmatch(text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def sequence(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(scalar, texts))}]"


def plan_text(answers: Answers) -> str:
    """Return the plan, in the form of `planrun fmt`."""
    return _HEAD + {"migration": _migration, "refresh": _refresh, "nightly": _nightly}[answers.job](answers)


def case_text(answers: Answers) -> str:
    """Return a case of the plan, in the form of `planrun fmt`."""
    made = {"migration": _migration_case, "refresh": _refresh_case, "nightly": _nightly_case}[answers.job](answers)
    return f"{_CASE_HEAD}plan: {scalar(f'../{answers.file.name}')}\n{made}"


def project_path(answers: Answers, name: str = "") -> str:
    """Return the path from the folder of the plan to a file in the folder where planrun was started."""
    folder = answers.file.parent.absolute()
    return os.path.relpath(answers.start / name, folder)


def _backups(answers: Answers) -> str:
    path = project_path(answers, "backups")
    return scalar(path if path.startswith(".") else f"./{path}")


def _connections(answers: Answers, *names: str) -> Iterator[str]:
    """Yield the lines of `connections:`; none if the only connection comes from the environment."""
    given = {name: str(getattr(answers, name)) for name in names}
    if names == ("target",) and answers.target == ENVIRONMENT:
        return
    yield "connections:\n"
    for name, service in given.items():
        words = "{}" if service == ENVIRONMENT else f"{{service: {scalar(service)}}}"
        yield f"  {name}: {words}  # PLANRUN_{name.upper()}_URL in the environment goes before it\n"


# ------------------------------------------------------------------ a backup before a migration


def _migration(answers: Answers) -> str:
    return f"""\
# Finds out in a scratch copy what the migration would lose, backs up just that, and only then runs the migration.
# The database is that of DATABASE_URL, or of PGHOST, PGDATABASE ...; the migration command must take it from there.
name: {answers.name}
description: Back up what a migration would lose, and run the migration only when that succeeded.
params:
  migration:
    type: array
    default: {sequence(answers.command)}
    description: The migration command. It runs first in a scratch copy of the database.
  pass_env:
    type: array
    default: [DATABASE_URL, PGHOST, PGPORT, PGUSER, PGDATABASE, PGSERVICE, PGPASSFILE]
    description: Environment variables that the command may see. In the copy, they lead to the copy.
backup:
  path: {_backups(answers)}
  allow_empty: true  # nothing is lost: nothing is backed up, and the migration runs
  retention_days: 30
steps:
  - id: detect
    description: What would the migration lose? The database itself is only read.
    uses: find_tables
    with:
      lost_by: "${{params.migration}}"
      cwd: {scalar(project_path(answers))}
      env: "${{params.pass_env}}"
      fail_if_output: [Interactive prompts require a TTY]
  - id: ask
    when: detect.loses
    uses: confirm
    with:
      message: |-
        The migration would lose:
        ${{steps.detect.losses}}
        Run it, after a backup of ${{steps.detect.count}} tables?
  - id: save
    when: detect.ok and (ask.ok or not detect.loses)
    uses: backup
    with: {{tables: "${{steps.detect.tables}}"}}
  - id: migrate
    when: save.ok
    uses: command
    with:
      argv: "${{params.migration}}"
      cwd: {scalar(project_path(answers))}
      env: "${{params.pass_env}}"
      destructive: true
      fail_if_output: [Interactive prompts require a TTY]
"""


def _migration_case(answers: Answers) -> str:
    return """\
set:
  migration: [psql, -X, -q, -v, ON_ERROR_STOP=1, -c, drop table users]
databases:
  target: |
    create table users (id int primary key, name text);
    insert into users values (1, 'Ada'), (2, 'Grace');
cases:
  - name: the migration runs after a backup of what it drops
    answers: {ask: true}
    expect:
      missing: [users]
      sessions: {count: 1, tables: {users: 2}}
  - name: no migration without a backup
    answers: {ask: true}
    fail: {step: save.dump, with: error}
    expect:
      steps: {migrate: skipped}
      rows: {users: 2}
"""


# ------------------------------------------------------------------ a refresh


def _refresh(answers: Answers) -> str:
    sync = f"""\
      - id: sync  # these tables keep the rows of the target, also those that are written meanwhile
        uses: shadow_sync
        with: {{tables: {sequence(answers.preserved)}}}
"""
    return f"""\
# Replaces the tables of the target by those of the source, with no downtime. The old tables stay as the backup set.
# In two phases: planrun apply FILE --until prepare, and later: planrun apply FILE --resume
name: {answers.name}
description: Replace the tables of the target by those of the source, with no downtime.
{"".join(_connections(answers, "source", "target"))}steps:
  - id: prepare
    steps:
      - id: load  # structure and rows of one snapshot, beside the live tables
        uses: shadow_load
        with: {{from: source, schema: {scalar(answers.schema)}}}
{sync if answers.preserved else ""}\
      - {{id: check, uses: shadow_verify}}  # rows, content and foreign keys
  - id: cleanup  # the backup set of the last refresh goes only when the new tables are proved
    when: prepare.ok
    on_error: warn
    uses: drop_backup_set
  - id: swap  # one short transaction
    when: prepare.ok
    uses: swap_tables
rollback:
  - {{id: back, uses: swap_back}}
"""


def _refresh_case(answers: Answers) -> str:
    schema = "" if answers.schema == "public" else f"{ident(answers.schema)}."
    made = f"    create schema {schema[:-1]};\n" if schema else ""
    kept = "".join(f"    create table {_name(name, schema)} (id int primary key);\n" for name in answers.preserved)
    return f"""\
databases:
  source: |
{made}{kept}    create table {schema}items (id int primary key, name text not null);
    insert into {schema}items select n, 'new ' || n from generate_series(1, 20) n;
  target: |
{made}{kept}    create table {schema}items (id int primary key, name text not null);
    insert into {schema}items select n, 'old ' || n from generate_series(1, 5) n;
cases:
  - name: the tables are those of the source
    expect:
      steps: {{prepare: ok, swap: ok}}
      queries:
        - {{sql: {json.dumps(f"select count(*) from {schema}items")}, rows: [20]}}
  - name: a rollback brings the old tables back
    run: [apply, rollback]
    expect:
      queries:
        - {{sql: {json.dumps(f"select count(*) from {schema}items")}, rows: [5]}}
"""


def _name(table: str, schema: str) -> str:
    parts = table.split(".")
    return ".".join(map(ident, parts)) if len(parts) == 2 else schema + ident(table)


# ------------------------------------------------------------------ a nightly backup


def _nightly(answers: Answers) -> str:
    return f"""\
# Backs up tables from one snapshot, then restores them into a scratch PostgreSQL and compares every row.
# Views, functions of their own and roles are in no backup of tables.
name: {answers.name}
description: Back up tables every night, and prove each backup by a restore.
{"".join(_connections(answers, "target"))}backup:
  path: {_backups(answers)}
  format: custom
  skip_empty: false
  retention_days: 30
  min_verified: 3  # an old backup goes only when a newer one is proved
steps:
  - {{id: find, uses: find_tables, with: {{{_tables(answers)}}}}}
  - {{id: save, uses: backup, with: {{tables: "${{steps.find.tables}}"}}}}
  - {{id: prove, uses: verify_backup, with: {{session: "${{steps.save.session}}", level: 3}}}}
"""


def _tables(answers: Answers) -> str:
    schema, _, name = answers.tables.rpartition(".")
    return f"glob: {json.dumps(name)}" + (f", schemas: [{scalar(schema)}]" if schema else "")


def _nightly_case(answers: Answers) -> str:
    schema, _, name = answers.tables.replace("*", "users").replace("?", "x").rpartition(".")
    table = ".".join(map(ident, filter(None, (schema, name))))
    made = f"    create schema {ident(schema)};\n" if schema else ""
    return f"""\
databases:
  target: |
{made}    create table {table} (id int primary key, name text);
    insert into {table} values (1, 'Ada'), (2, 'Grace');
cases:
  - name: every table is saved and proved
    expect:
      steps: {{save: ok, prove: ok}}
      sessions: {{count: 1, tables: {{{scalar(f"{schema}.{name}" if schema else name)}: 2}}}}
"""
