"""Restored tables are compared with the manifest, whichever checksums it has."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.backup import manifest, sessions, verifying
from runner.backup.restored_content import Comparison
from runner.errors import VerifyError
from runner.row_queries import md5_query
from runner.table_name import TableName
from tests.backups import Backups
from tests.servers import Server
from tests.unit.test_verifying import write

ROWS = "create table t (n int, f numeric); insert into t values (1, 1.0), (2, null)"


def compare(db: str, rows: int, checksum: str, sample: str | None, name: str = "t") -> tuple[str, bool]:
    """Return the problem, and whether only rows were counted."""
    server = manifest.Server(version="15", version_num=150000, database="d", hash_sample=sample)
    session = manifest.Manifest(
        made_by="planrun", state="complete", session="s", id="i", run="r", plan="p",
        started=datetime(2025, 7, 20, tzinfo=UTC), server=server,
    )  # fmt: skip
    table = manifest.Table(schema="s", name=name, file="f", rows=rows, checksum=checksum, bytes=1, sha256="")
    with psycopg.connect(db, row_factory=psycopg.rows.dict_row) as conn:

        def ask(query: str) -> list[dict[str, Any]]:
            return conn.execute(query.encode()).fetchall()

        comparison = Comparison(ask, session, lambda schema: "public")
        found = comparison.compare(table)
    return found.problem, comparison.counts_only


def test_rows_and_content_are_compared(db: str) -> None:
    with psycopg.connect(db) as conn:
        conn.execute(ROWS)
        sample = conn.execute("select hashtextextended('planrun keeps what you have' collate \"C\", 0)").fetchall()
        md5 = conn.execute(md5_query(TableName("public", "t"), parts=False)).fetchall()
    same = str(sample[0][0])
    assert compare(db, 2, str(md5[0][1]), None) == ("", False)
    assert compare(db, 2, "0", None) == ("the content of its 2 rows is not what was dumped", False)
    assert compare(db, 2, "0", same) == ("the content of its 2 rows is not what was dumped", False)
    assert compare(db, 2, "0", "7") == ("", True), "this server hashes in another way"
    assert compare(db, 3, "0", "7") == ("2 rows, but 3 were dumped", True)
    assert compare(db, 2, "0", same, name="no") == ("does not exist", False)


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    made = Backups(db, tmp_path / "backups")
    made.sql(ROWS)
    return made


def test_sessions_of_earlier_versions_are_proved_by_their_own_checksums(backups: Backups, pg_server: Server) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(pg_server.conninfo()).items()}
    made = backups.make(tables=["t"])
    data: dict[str, Any] = made.manifest
    del data["server"]["hash_sample"]
    with psycopg.connect(backups.dsn) as conn:
        data["tables"][0]["checksum"] = conn.execute(md5_query(TableName("public", "t"), parts=False)).fetchall()[0][1]
    write(made.path, data | {"format_version": 1}, again=True)
    assert verifying.verify(made.path, 3, server=words, env={"PATH": os.environ["PATH"]}).level == 3
    data["tables"][0]["checksum"] = "0"
    write(made.path, data | {"format_version": 1}, again=True)
    with pytest.raises(VerifyError, match="the content of its 2 rows"):
        verifying.verify(made.path, 3, server=words, env={"PATH": os.environ["PATH"]})


def test_a_server_that_hashes_in_another_way_proves_no_more_than_level_2(backups: Backups, pg_server: Server) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(pg_server.conninfo()).items()}
    made = backups.make(tables=["t"])
    data: dict[str, Any] = made.manifest
    data["server"]["hash_sample"] = "7"
    write(made.path, data, again=True)
    found = verifying.verify(made.path, 3, server=words, env={"PATH": os.environ["PATH"]})
    assert (found.level, sessions.verified_level(made.path)) == (2, 2)
    assert found.left == ("this server computes other checksums than the one of the backup, so only rows were counted",)
