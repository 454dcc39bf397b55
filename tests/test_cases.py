"""Run every folder of tests/cases/<kind>/<promise>: a plan that a user could have written, and what it says.

before.sql   what the database holds            diff.txt    what `planrun diff` prints
plan.yml     the plan (may stand beside sql/)   apply.txt   what `planrun apply --yes` prints at its end
after.sql    queries that must give no row      again.txt   what a second diff prints
code.txt     the exit codes of diff and apply when they are not 0

PLANRUN_UPDATE_CASES=1 writes the expected texts anew: read them in the diff before you commit them.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psycopg
import pytest

from runner.cli import main

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(path.parent for path in FOLDER.rglob("plan.yml") if (path.parent / "diff.txt").exists())
UPDATE = bool(os.environ.get("PLANRUN_UPDATE_CASES"))
if UPDATE:
    CASES = sorted(path.parent for path in FOLDER.rglob("plan.yml") if path.parts[-3] != "validate")


@pytest.mark.parametrize("case", CASES, ids=lambda case: "/".join(case.parts[-2:]))
def test_case(
    case: Path, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "case"
    shutil.copytree(case, home)
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    monkeypatch.chdir(home)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute((case / "before.sql").read_text())
    codes = [int(word) for word in _read(case / "code.txt", "0 0").split()]

    assert main(["validate", "plan.yml"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["diff", "plan.yml"]) == codes[0], capsys.readouterr()
    _same(case / "diff.txt", capsys.readouterr().out, home)
    assert main(["apply", "plan.yml", "--yes"]) == codes[1], capsys.readouterr()
    _same(case / "apply.txt", capsys.readouterr().out, home)
    with psycopg.connect(db) as conn:
        for query in filter(str.strip, _read(case / "after.sql", "").split(";")):
            assert conn.execute(query.encode()).fetchall() == [], query
    main(["diff", "plan.yml"])
    _same(case / "again.txt", capsys.readouterr().out, home)


def _read(path: Path, otherwise: str) -> str:
    return path.read_text() if path.exists() else otherwise


def _same(expected: Path, shown: str, home: Path) -> None:
    shown = normal(shown, home)
    if UPDATE:
        expected.write_text(shown)
    if expected.name == "diff.txt" or expected.exists():
        assert shown == expected.read_text()


def normal(text: str, home: Path) -> str:
    """Return the text without what differs from run to run: folders, run ids, times, sizes of dumps."""
    text = text.replace(str(home.resolve()), "<case>").replace(str(home), "<case>")
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{4}", "<run>", text)
    text = re.sub(r"backup_\d{4}-\d\d-\d\dT[\d-]+Z", "backup_<time>", text)
    text = re.sub(r"\b\d+(\.\d+)? (ms|s|min)\b", "<time>", text)
    text = re.sub(r"[\d,]+ (bytes|kB)\b", "<size>", text)
    return re.sub(r"(\$ )\S*/(pg_dump|pg_restore|psql) ", r"\1\2 ", text)
