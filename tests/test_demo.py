"""`planrun demo`: the main jobs on a server of its own, with nothing left behind."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from runner.cli import main


def test_the_demo_saves_restores_and_replaces_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("PGHOST", "192.0.2.1")  # an address that answers nobody: the caller's settings must not matter
    before = dict(os.environ)
    assert main(["demo", "--keep", str(tmp_path / "kept")]) == 0, capsys.readouterr()
    assert dict(os.environ) == before
    said = capsys.readouterr()
    assert "prove: ok, level 3" in said.err
    assert said.err.index("prove: ok") < said.err.index("cleanup: sql begins")
    assert "Every row is back: _cdc_Permissions 900, _cdc_roles 120, _cdc_users 5,000" in said.out
    (session,) = (tmp_path / "kept" / "backups").iterdir()
    assert (session / "backup-summary.txt").is_file()
    _replaces_tables_twice_and_takes_one_back(said.out.partition("# The second job")[2])
    assert "drop the backup set of schema public: 3 tables" in said.err
    assert "no write since the swap is lost" in said.err


def _replaces_tables_twice_and_takes_one_back(told: str) -> None:
    states = re.findall(r"^# (?:Before|Now): ([\d,]+) products, the dearest at (\S+);", told, re.MULTILINE)
    assert states == [("5,000", "499.99"), ("5,300", "509.99"), ("5,300", "1019.98"), ("5,300", "509.99")]
    listed = told.partition("$ planrun backups list")[2].partition("# ")[0]
    assert len(re.findall("^20.* backup .* of demo_refresh$", listed, re.MULTILINE)) == 1
    assert re.search(
        r"^# \d+ visitors came meanwhile: none got an error, .* and no visitor is lost.$", told, re.MULTILINE
    )
    assert "undone set of schema public" in told
