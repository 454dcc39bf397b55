"""Every plan in plans/ is validated, rendered, diffed and applied: they are what the documentation shows."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from runner import resources
from runner.cli import main

PLANS = sorted(path.name for path in resources.PLANS.glob("*.yml"))
MIGRATION = "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True); "
MIGRATION += "c.execute('drop table _cdc_users'); open('migrated.txt', 'w')"
SETS = {
    "backup.yml": {"backup.path": "{home}/backups"},
    "demo.yml": {},
    "demo-refresh.yml": {},
    "prod.yml": {"preserved": "[customers]"},
    "safe-migrate.yml": {
        "backup.path": "{home}/backups",
        "folder": "{home}",
        "migration": json.dumps([sys.executable, "-c", MIGRATION]),
    },
    "safe-migrate-prefix.yml": {
        "backup.path": "{home}/backups",
        "folder": "{home}",
        "migration": json.dumps(["sh", "-c", "echo migrated > migrated.txt"]),
    },
}
LEFT = {
    "backup.yml": ["backups"],
    "demo.yml": ["backups"],
    "safe-migrate.yml": ["backups", "migrated.txt"],
    "safe-migrate-prefix.yml": ["backups", "migrated.txt"],
}
REFRESHING = ("demo-refresh.yml", "prod.yml")
DATABASES = {"source": ["catalog.sql", "staging.sql"], "target": ["catalog.sql", "live.sql"]}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the plans in a folder of its own; no setting of the caller reaches a run."""
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    shutil.copytree(resources.PLANS, tmp_path / "home" / "plans")
    return tmp_path / "home"


def test_each_plan_is_known_here() -> None:
    assert PLANS == sorted(SETS) == sorted([*LEFT, *REFRESHING])


@pytest.mark.parametrize("name", LEFT)
def test_a_plan_is_what_it_says(
    name: str, db: str, settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = settings
    plan, words = str(home / "plans" / name), _words(name, home)
    monkeypatch.setenv("DATABASE_URL", db)
    _fill(db, "shop.sql")
    _check_reports(plan, words, capsys)
    assert not list(home.rglob("backup_*")), "a diff makes nothing"
    assert main(["apply", plan, "--yes", *words]) == 0, capsys.readouterr()
    found = [path.name for folder in (home, home / "plans") for path in folder.iterdir()]
    assert set(LEFT[name]) <= set(found)
    capsys.readouterr()
    assert main(["status", plan, *words]) == 0
    assert ": ok after" in capsys.readouterr().out
    assert main(["backups", "verify", plan, "--level", "1", *words]) == 0


@pytest.mark.parametrize("name", REFRESHING)
def test_a_plan_that_replaces_tables_does_it_at_once_and_in_two_phases(
    name: str,
    new_db: Callable[[], str],
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan, words = str(settings / "plans" / name), _words(name, settings)
    urls = {side: new_db() for side in DATABASES}
    for side, url in urls.items():
        monkeypatch.setenv(f"PLANRUN_{side.upper()}_URL", url)
        _fill(url, *DATABASES[side])
    _check_reports(plan, words, capsys)
    assert _live(urls["target"]) == (5000, 1000, 8000), "a diff changes nothing"

    assert main(["apply", plan, "--yes", "--until", "prepare", *words]) == 0, capsys.readouterr()
    assert _live(urls["target"]) == (5000, 1000, 8000), "prepare changes nothing that is live"
    assert main(["apply", plan, "--yes", "--resume", *words]) == 0, capsys.readouterr()
    assert _live(urls["target"]) == (5300, 1000, 8000)
    _fill(urls["source"], "truncate products")
    assert main(["apply", plan, "--yes", *words]) == 1, "orders would have no product"
    assert _live(urls["target"]) == (5300, 1000, 8000)
    capsys.readouterr()
    assert main(["backups", "list", plan, "-o", "json", *words]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["sets"]
    assert (listed["state"], listed["tables"]) == ("swapped", 3), "the set stays, as prepare failed"
    assert main(["rollback", plan, "--yes", *words]) == 0, capsys.readouterr()
    assert _live(urls["target"]) == (5000, 1000, 8000)


def _live(url: str) -> tuple[int, ...]:
    """Return how many products and customers there are, and orders whose product the live table has."""
    counts = ("products", "customers", "orders join products on products.id = product_id")
    with psycopg.connect(url) as conn:
        row = conn.execute("select " + ", ".join(f"(select count(*) from {one})" for one in counts)).fetchone()
    assert row
    return tuple(row)


def _words(name: str, home: Path) -> list[str]:
    return [word for key, value in SETS[name].items() for word in ("--set", f"{key}={value.format(home=home)}")]


def _fill(url: str, *texts: str) -> None:
    """Run SQL: files of the demo, or statements."""
    with psycopg.connect(url, autocommit=True) as conn:
        for text in texts:
            conn.execute((resources.SQL / "demo" / text).read_bytes() if text.endswith(".sql") else text.encode())


def _check_reports(plan: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("validate", "render", "diff", "graph"):
        assert main([command, plan, *words]) == 0, capsys.readouterr()
        assert capsys.readouterr().out
    assert main(["diff", plan, *words, "--detailed-exitcode"]) == 2


@pytest.mark.parametrize("file", sorted(resources.PLANS.rglob("*.yml")), ids=lambda path: path.name)
def test_an_editor_finds_its_schema(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve().is_file()
