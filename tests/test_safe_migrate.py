"""plans/safe-migrate-prefix.yml around a real Alembic migration that drops the tables at risk."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.cli import main

PLAN = str(Path(__file__).parents[1] / "plans" / "safe-migrate-prefix.yml")

ENV_PY = """
import os
import psycopg
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(
    "postgresql+psycopg://", creator=lambda: psycopg.connect(os.environ["DATABASE_URL"]), poolclass=pool.NullPool
)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""

MIGRATION = """
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.drop_table("_cdc_users")
    op.drop_table("_cdc_roles")
    op.execute("create table migrated (n int)")


def downgrade():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small Alembic project whose only migration drops what nobody told it of."""
    home = tmp_path / "app"
    (home / "migrations" / "versions").mkdir(parents=True)
    (home / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    (home / "migrations" / "env.py").write_text(ENV_PY)
    (home / "migrations" / "script.py.mako").write_text("")
    (home / "migrations" / "versions" / "0001_drop.py").write_text(MIGRATION)
    return home


@pytest.fixture
def shop(db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table _cdc_roles (id int primary key, role text)")
        conn.execute("create table _cdc_users (id int primary key, role_id int references _cdc_roles, name text)")
        conn.execute("create table _cdc_none (id int)")
        conn.execute("insert into _cdc_roles values (1, 'admin'), (2, 'it''s')")
        conn.execute("insert into _cdc_users select n, 1 + n % 2, 'user ' || n from generate_series(1, 500) n")
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("CI", "1")
    return db


def migrate(project: Path, *more: str) -> int:
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    sets = {"migration": json.dumps(command), "folder": str(project), "backup.path": str(project / "backups")}
    return main(["apply", PLAN, *(word for item in sets.items() for word in ("--set", "=".join(item))), *more])


def rows(db: str, query: str) -> list[Any]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute(query.encode()).fetchall()]


def tables(db: str) -> list[str]:
    return sorted(rows(db, "select tablename::text from pg_tables where schemaname = 'public'"))


BEFORE = ["_cdc_none", "_cdc_roles", "_cdc_users"]


def test_the_tables_are_saved_before_the_migration_drops_them(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrate(project, "--yes") == 0, capsys.readouterr()
    assert tables(shop) == ["_cdc_none", "alembic_version", "migrated"]
    (session,) = (project / "backups").iterdir()
    assert sorted(path.name for path in session.glob("*.sql")) == ["_cdc_roles.sql", "_cdc_users.sql"]
    path = ["--set", f"backup.path={project / 'backups'}"]
    assert main(["backups", "restore", PLAN, "latest", "--yes", *path]) == 0, capsys.readouterr()
    assert rows(shop, "select count(*) from _cdc_users") == [500]
    assert rows(shop, "select role from _cdc_roles order by id") == ["admin", "it's"]


def test_what_the_migration_lost_is_named_with_the_command_that_brings_it_back(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First what no backup holds; the command that is printed works."""
    with psycopg.connect(shop, autocommit=True) as conn:
        conn.execute("create table notes as select 'mine' as note")
    text = MIGRATION.replace("op.execute(", 'op.drop_table("notes")\n    op.execute(')
    (project / "migrations" / "versions" / "0001_drop.py").write_text(text)
    assert migrate(project, "--yes") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("migrate: !")]
    assert lines[0] == "migrate: ! public.notes: table dropped; in no backup of this run"
    assert [line.split()[2] for line in lines[1:]] == ["public._cdc_roles:", "public._cdc_users:"]
    for line in lines[1:]:
        planrun, *words = shlex.split(line.partition("; ")[2])
        assert planrun == "planrun" and main([*words, "--yes"]) == 0, capsys.readouterr()
    assert rows(shop, "select count(*) from _cdc_users") == [500]


def test_a_failed_migration_names_what_is_lost_all_the_same(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True); "
    program += "c.execute('drop table _cdc_users'); c.execute('drop table _cdc_roles, nowhere')"
    sets = {"migration": json.dumps([sys.executable, "-c", program]), "backup.path": str(project / "backups")}
    assert main(["apply", PLAN, "--yes", *(w for item in sets.items() for w in ("--set", "=".join(item)))]) == 1
    said = capsys.readouterr().out
    assert "nowhere" in said and "\n    public._cdc_users: table dropped; planrun backups restore " in said


def test_a_failed_backup_means_the_command_never_starts(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "backups").write_text("not a folder")
    assert migrate(project, "--yes") == 1
    assert tables(shop) == BEFORE
    said = capsys.readouterr()
    assert "migrate: skipped" in said.err and "backups" in said.out


def test_without_a_terminal_and_without_yes_nothing_is_done(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrate(project) == 1
    assert tables(shop) == BEFORE and not (project / "backups").exists()
    assert "run again with --yes" in capsys.readouterr().err


def test_a_failed_migration_says_so_and_keeps_the_backup(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "migrations" / "versions" / "0001_drop.py").write_text(MIGRATION.replace("_cdc_roles", "no_such"))
    assert migrate(project, "--yes") == 1
    assert tables(shop) == BEFORE
    assert "no_such" in capsys.readouterr().out
    assert len(list((project / "backups").glob("backup_*/manifest.json"))) == 1


def test_with_nothing_at_risk_the_migration_runs_without_a_question(
    shop: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MIGRATION.replace('op.drop_table("_cdc_users")', "pass").replace('op.drop_table("_cdc_roles")', "pass")
    (project / "migrations" / "versions" / "0001_drop.py").write_text(text)
    nothing = ("--yes", "--set", "prefix=_cdx_")
    assert migrate(project, *nothing) == 1
    assert "nearest is prefix '_cdc_'" in capsys.readouterr().out
    assert "migrated" not in tables(shop)
    assert migrate(project, *nothing, "--set", "allow_empty=true") == 0, capsys.readouterr()
    assert "migrated" in tables(shop) and not (project / "backups").exists()
