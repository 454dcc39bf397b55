"""Every plan in plans/ is validated, rendered, diffed and applied: they are what the documentation shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psycopg
import pytest

from runner import resources
from runner.cli import main

PLANS = sorted(path.name for path in resources.PLANS.glob("*.yml"))
SETS = {
    "backup.yml": {"backup.path": "{home}/backups"},
    "demo.yml": {},
    "safe-migrate.yml": {
        "backup.path": "{home}/backups",
        "folder": "{home}",
        "migration": json.dumps(["sh", "-c", "echo migrated > migrated.txt"]),
    },
}
LEFT = {"backup.yml": ["backups"], "demo.yml": ["backups"], "safe-migrate.yml": ["backups", "migrated.txt"]}


def test_each_plan_is_known_here() -> None:
    assert PLANS == sorted(SETS) == sorted(LEFT)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_what_it_says(
    name: str, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(resources.PLANS, home / "plans")
    plan = str(home / "plans" / name)
    words = [word for key, value in SETS[name].items() for word in ("--set", f"{key}={value.format(home=home)}")]
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute((resources.SQL / "demo" / "shop.sql").read_bytes())

    for command in ("validate", "render", "diff", "graph"):
        assert main([command, plan, *words]) == 0, capsys.readouterr()
        assert capsys.readouterr().out
    assert main(["diff", plan, *words, "--detailed-exitcode"]) == 2
    assert not list(home.rglob("backup_*")), "a diff makes nothing"
    assert main(["apply", plan, "--yes", *words]) == 0, capsys.readouterr()
    found = [path.name for folder in (home, home / "plans") for path in folder.iterdir()]
    assert set(LEFT[name]) <= set(found)
    capsys.readouterr()
    assert main(["status", plan, *words]) == 0
    assert ": ok after" in capsys.readouterr().out
    assert main(["backups", "verify", plan, "--level", "1", *words]) == 0


@pytest.mark.parametrize("file", sorted(resources.PLANS.rglob("*.yml")), ids=lambda path: path.name)
def test_an_editor_finds_its_schema(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve().is_file()
