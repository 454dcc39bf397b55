"""Archives of many tables from one pg_dump: each holds what a pg_dump of that table alone writes, and no more."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.backup import toc, verifying
from runner.backup.archive_parts import cut_stream
from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from tests.backups import Backups
from tests.unit.test_definitions import TABLES, count_calls, plain
from tests.unit.test_definitions import wild as wild_tables

wild = wild_tables
FORMS: dict[int, list[tuple[str, str | bool]]] = {
    14: [("custom", True)],
    15: [("custom", False), ("directory", True)],
    16: [("custom", "zstd"), ("directory", False)],
    17: [("directory", "zstd")],
    18: [("custom", "zstd"), ("directory", True)],
}
"""Of each version: the format of archives changed with 16 and 17, and zstd came with 16."""


def sql_of(archive: Path, program: str) -> str:
    """Return an archive as text, without the numbers that pg_dump gives to its data files."""
    argv = [str(Path(program).with_name("pg_restore")), "--file=-", str(archive)]
    return plain(subprocess.run(argv, check=True, capture_output=True).stdout)


def alone(backups: Backups, argv: tuple[str, ...], to: Path) -> Path:
    """Let pg_dump write the archive of one table by itself."""
    subprocess.run([*argv, f"--file={to}", f"--dbname={backups.dsn}"], check=True, capture_output=True)
    return to


def test_each_archive_is_what_a_pg_dump_of_the_table_alone_writes(wild: Backups, tmp_path: Path) -> None:
    for form, compress in FORMS[wild.reader.server().major]:
        action = wild.action(tables=TABLES, format=form, compress=compress, skip_empty=False)
        made = wild.run(action)
        assert action.archives
        for dump in action.dumps:
            other = alone(wild, dump.argv, tmp_path / f"{form}-{compress}-{dump.file}")
            assert sql_of(made.path / dump.file, dump.argv[0]) == sql_of(other, dump.argv[0]), dump.file
        assert verifying.verify(made.path, 3).level == 3


def test_each_archive_is_restored_with_many_jobs_and_needs_nothing_that_is_not_in_it(wild: Backups) -> None:
    action = wild.action(tables=TABLES, format="custom", skip_empty=False)
    made = wild.run(action)
    for dump in action.dumps:
        found = toc.read_toc((made.path / dump.file).read_bytes())
        numbers = {entry.number for entry in found.entries}
        assert all(set(entry.needs) <= numbers for entry in found.entries), dump.file
    (made_parts,) = [dump for dump in action.dumps if dump.name == "parts"]
    wild.sql("drop table parts")
    program = str(Path(made_parts.argv[0]).with_name("pg_restore"))
    argv = [program, "--jobs=2", "--exit-on-error", f"--dbname={wild.dsn}", str(made.path / made_parts.file)]
    subprocess.run(argv, check=True, capture_output=True)
    assert wild.rows("select count(*) from parts") == [(3,)]


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    return Backups(db, tmp_path / "backups")


def four(backups: Backups, rows: int = 50) -> list[str]:
    backups.sql(
        f"create table a as select g as id, md5(g::text) as t from generate_series(1, {rows}) g;"
        "create table b as table a; create table c as table a; create table none (id int)"
    )
    return ["a", "b", "c", "none"]


@pytest.mark.parametrize(("form", "count"), [("custom", 2), ("directory", 1)])
def test_tables_share_one_pg_dump_and_an_empty_one_is_left_out(
    backups: Backups, tmp_path: Path, form: str, count: int
) -> None:
    action, calls = count_calls(backups.action(tables=four(backups), format=form), tmp_path)
    made = backups.run(action)
    dumps = [line for line in calls.read_text().splitlines() if "--format" in line]
    assert len(dumps) == count and "none" not in "".join(dumps)
    assert [left["name"] for left in made.result["left_out"]] == ["none"]
    assert {path.name for path in made.path.iterdir()} >= {dump.file for dump in action.dumps if dump.name != "none"}
    assert not [path for path in made.path.rglob("*") if path.name.startswith(".")]
    assert all(path.stat().st_mode & 0o77 == 0 for path in [made.path, *made.path.rglob("*")])
    assert verifying.verify(made.path, 3).rows == 150


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_an_archive_of_a_later_version_is_left_to_a_pg_dump_for_each_table(
    backups: Backups, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr("runner.backup.toc.KNOWN", frozenset())
    made = backups.make(tables=four(backups), format=form)
    assert verifying.verify(made.path, 3).rows == 150
    assert not [path for path in made.path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ('{real} "$@" | head -c 300; exit', "does not contain the whole table of contents"),
        ('{real} "$@" | head -c 20000; exit', "cut off"),
        ("echo oh no >&2; exit 3", "pg_dump ended with exit code 3:\n    oh no"),
        ("kill -9 $$", "pg_dump was killed by SIGKILL"),
    ],
)
def test_a_pg_dump_that_fails_fails_the_backup(backups: Backups, tmp_path: Path, then: str, message: str) -> None:
    action = backups.action(tables=four(backups, 20_000), format="custom")
    broken, _ = count_calls(action, tmp_path, then.replace("{real}", action.archives[0]))
    with pytest.raises(TargetError) as caught:
        backups.run(broken)
    assert message in str(caught.value)
    assert backups.names() == []


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_pg_dump_that_loses_the_rows_of_a_table_fails_the_backup(backups: Backups, tmp_path: Path, form: str) -> None:
    """What it is told to leave out is in the table of contents, but has no rows there."""
    action = backups.action(tables=four(backups), format=form)
    lossy = replace(action, archives=(*action.archives, "--exclude-table-data=b"))
    made = backups.run(lossy)
    with pytest.raises(Exception, match=r"contains 0 rows, but 50 were dumped"):
        verifying.verify(made.path, 2)


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_cancel_leaves_nothing(backups: Backups, tmp_path: Path, form: str) -> None:
    action, _ = count_calls(backups.action(tables=four(backups), format=form), tmp_path, "sleep 60 & wait")
    cancel = Cancel()

    def stop(done: int, total: int, unit: str, what: str) -> None:
        assert unit != "writing" or done < total, "no table is complete"

    threading.Timer(0.7, cancel.cancel, (Interrupted("stopped", signal=signal.SIGINT),)).start()
    with pytest.raises(Interrupted, match="stopped"):
        backups.run(action, cancel=cancel, progress=stop)
    assert backups.names() == []


def archive_of(backups: Backups) -> bytes:
    action = backups.action(tables=four(backups, 3000), format="custom")
    argv = [*action.archives, "--table=a", "--table=b", f"--dbname={backups.dsn}"]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def by_name(folder: Path) -> Callable[[toc.Toc], dict[Path, list[toc.TocEntry]]]:
    return lambda found: {
        folder / name: [e for e in found.entries if re.search(rf"\b{name}\b", e.name)] for name in "ab"
    }


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_a_stream_in_pieces_of_any_size_gives_the_same_parts(backups: Backups, tmp_path: Path, size: int) -> None:
    data = archive_of(backups)
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    cut_stream(iter([data]), by_name(wanted))
    found = tmp_path / "found"
    found.mkdir()
    cut_stream(pieces(data, size), by_name(found))
    for name in "ab":
        assert (found / name).read_bytes() == (wanted / name).read_bytes()


def test_a_stream_that_ends_anywhere_is_refused(backups: Backups, tmp_path: Path) -> None:
    data = archive_of(backups)
    for number, end in enumerate((0, 5, 100, 2000, len(data) - 5, len(data) - 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(TargetError, match="the output of pg_dump"):
            cut_stream(iter([data[:end]]), by_name(folder))
