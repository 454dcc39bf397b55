"""plans/safe-migrate.yml around real migrations: it saves what they lose, and nothing else is gone afterwards.

`tests/lost_by/` holds a database and a Drizzle project with a migration; tests/lost_by/migrate.py applies it as
drizzle-kit does. With PLANRUN_DRIZZLE, a folder whose node_modules has drizzle-kit, drizzle-orm and pg, drizzle-kit
itself runs: `npm install drizzle-kit drizzle-orm pg` makes one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import api, resources
from runner.cli import main
from runner.errors import PlanrunError
from runner.result import RunResult
from tests.test_safe_migrate import ENV_PY

HERE = Path(__file__).parent / "lost_by"
PLAN = resources.PLANS / "safe-migrate.yml"

ALEMBIC = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.drop_table("_cdc_users")
    op.rename_table("persons", "people")
    op.drop_column("users", "email")
    op.alter_column("users", "age", type_=sa.Integer, postgresql_using="age::integer")
    op.execute("delete from logs where id <= 3")
    op.execute("truncate notes")
    op.create_table("counters_new", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    op.execute("insert into counters_new select id, n from counters")
    op.drop_table("counters")
    op.rename_table("counters_new", "counters")
    op.execute("drop schema old cascade")
"""

LOST = {
    "old.things": "dropped",
    "public._cdc_users": "dropped",
    "public.logs": "3 of 20 rows deleted",
    "public.notes": "all 5 rows deleted",
    "public.users": "column email dropped (40 values); column age made integer, was numeric(5,2) (40 values changed)",
}
PUSHED = {
    "public._cdc_users": "dropped",
    "public.logs": "dropped",
    "public.untouched": "dropped",
    "public.users": LOST["public.users"],
}
RENAMED = {"public.persons": "public.people"}

Rows = dict[str, list[str]]


@pytest.fixture
def shop(db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute((HERE / "before.sql").read_text().encode())
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", url(db))
    monkeypatch.setenv("CI", "1")
    return db


def url(db: str) -> str:
    """Return a URL, which every tool takes; a socket is in its query."""
    with psycopg.connect(db) as conn:
        info = conn.info
        return f"postgresql://{info.user}@localhost/{info.dbname}?host={info.host}&port={info.port}"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The Drizzle project, and in it an Alembic project."""
    home = tmp_path / "app"
    shutil.copytree(HERE, home)
    (home / "migrations" / "versions").mkdir(parents=True)
    (home / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    (home / "migrations" / "env.py").write_text(ENV_PY)
    (home / "migrations" / "versions" / "0001_lose.py").write_text(ALEMBIC)
    return home


def migrate(app: Path, *command: str) -> RunResult:
    sets = {"migration": json.dumps(command), "folder": str(app), "backup.path": str(app / "backups")}
    plan = api.load_plan(PLAN, set=sets)
    return api.apply(plan, confirm=lambda question: True)


def outputs(result: RunResult, step: str) -> dict[str, Any]:
    return dict(next(one.outputs for one in result.steps if one.path == step))


def contents(db: str) -> Rows:
    """Return the rows of every table, as texts."""
    with psycopg.connect(db) as conn:
        names = conn.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname ~ 'public|old|restored'"
        ).fetchall()
        return {
            name: [row[0] for row in conn.execute(f"select t::text from {name} as t order by 1".encode()).fetchall()]
            for (name,) in names
        }


def check_that_nothing_else_is_gone(db: str, app: Path, before: Rows, lost: dict[str, str]) -> None:
    after = contents(db)
    kept = {name: rows for name, rows in before.items() if name not in lost}
    assert {name: after.get(RENAMED.get(name, name), after.get(name)) for name in kept} == kept
    words = ["backups", "restore", str(PLAN), "latest", "--yes", "--as-schema", "restored"]
    assert main([*words, "--set", f"backup.path={app / 'backups'}"]) == 0
    restored = {name: rows for name, rows in contents(db).items() if name.startswith("restored.")}
    assert restored == {f"restored.{name.partition('.')[2]}": before[name] for name in lost}


def found(result: RunResult) -> dict[str, str]:
    assert result.error is None, result.error
    return {f"{one['schema']}.{one['name']}": one["lost"] for one in outputs(result, "detect")["tables"]}


COMMANDS = {
    "alembic": (sys.executable, "-m", "alembic", "upgrade", "head"),
    "drizzle": (sys.executable, "migrate.py"),
}


@pytest.mark.parametrize("tool", COMMANDS)
def test_what_a_migration_loses_is_saved_and_nothing_else_is_gone(shop: str, app: Path, tool: str) -> None:
    before = contents(shop)
    result = migrate(app, *COMMANDS[tool])
    assert found(result) == LOST
    given = outputs(result, "detect")
    assert [(one["kind"], one["name"]) for one in given["others"]] == [("schema", "old"), ("view", "names")]
    assert [(one["name"], one["now"]) for one in given["renamed"]] == [("persons", "public.people")]
    page = (resources.ROOT / "docs" / "safe-migrations.md").read_text()
    assert f"would lose:\n{given['losses']}\nRun it" in page
    check_that_nothing_else_is_gone(shop, app, before, LOST)
    if tool == "drizzle":
        again = migrate(app, *COMMANDS[tool])
        assert found(again) == {} and outputs(again, "detect")["loses"] is False
        assert [one.state for one in again.steps if one.path in ("ask", "migrate")] == ["skipped", "ok"]
        assert len(list((app / "backups").glob("backup_*"))) == 1


if "PLANRUN_DRIZZLE" in os.environ:

    @pytest.fixture
    def drizzle(app: Path) -> Path:
        (app / "node_modules").symlink_to(Path(os.environ["PLANRUN_DRIZZLE"], "node_modules"))
        return app

    def test_drizzle_kit_migrate(shop: str, drizzle: Path) -> None:
        before = contents(shop)
        assert found(migrate(drizzle, "npx", "drizzle-kit", "migrate")) == LOST
        check_that_nothing_else_is_gone(shop, drizzle, before, LOST)

    def test_drizzle_kit_push_asks_and_is_told_not_to(shop: str, drizzle: Path) -> None:
        before = contents(shop)
        error = migrate(drizzle, "npx", "drizzle-kit", "push").error
        assert isinstance(error, PlanrunError) and error.code == "PR1083" and "drizzle-kit push: --force" in error.hint
        assert contents(shop) == before
        assert found(migrate(drizzle, "npx", "drizzle-kit", "push", "--force")) == PUSHED
        check_that_nothing_else_is_gone(shop, drizzle, before, PUSHED)
