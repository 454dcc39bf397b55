"""`planrun demo`: the main job on a server of its own, with nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli import main


def test_the_demo_saves_proves_cleans_up_and_restores(
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
