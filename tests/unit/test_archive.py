"""The dump files of a session as text: their order, the tables in them, and whether they read to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.backup import archive, manifest, sessions
from runner.backup.archive import Reader, ddl_name, lock_session, major_of, units
from runner.backup.manifest import Manifest, Table
from runner.cancel import Cancel
from runner.errors import TargetError, VerifyError
from runner.table_name import TableName
from tests.backups import Backups


def table(name: str, *references: str, file: str = "", size: int = 1) -> Table:
    return Table(
        schema="public", name=name, file=file or f"{name}.sql", rows=1, checksum="1", bytes=size, sha256="",
        references=tuple(TableName("public", other) for other in references),
    )  # fmt: skip


def test_a_table_comes_after_those_it_refers_to_as_far_as_that_goes() -> None:
    a, b, c = table("a", "b"), table("b", "c", "elsewhere"), table("c")
    assert [unit.file for unit in units([a, b, c])] == ["c.sql", "b.sql", "a.sql"]
    circle = [table("x", "y"), table("y", "x"), table("self", "self")]
    assert sorted(unit.file for unit in units(circle)) == ["self.sql", "x.sql", "y.sql"]
    assert units([]) == ()


def test_tables_of_one_file_are_one_unit() -> None:
    (unit,) = units([table("a", file="all.dump", size=0), table("b", file="all.dump", size=0)])
    assert unit.whole and [one.name for one in unit.tables] == ["a", "b"]
    assert not units([table("a")])[0].whole


@pytest.mark.parametrize(("text", "major"), [("15.18", 15), ("19beta1", 19), ("9.6.24", 9), ("", 0), ("x", 0)])
def test_the_major_of_a_version(text: str, major: int) -> None:
    assert major_of(text) == major


def test_the_ddl_of_a_csv_file() -> None:
    assert {ddl_name(f"users.csv{packed}") for packed in ("", ".gz", ".zst")} == {"users.schema.sql"}
    assert ddl_name("a.csv.csv") == "a.csv.schema.sql"


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    made = Backups(db, tmp_path / "b")
    made.sql("create table roles (id int primary key); create table users (id int primary key, r int references roles)")
    made.sql("insert into roles values (1); insert into users select n, 1 from generate_series(1, 50) n")
    return made


def open_session(session: Path) -> tuple[Manifest, Reader]:
    read = manifest.from_json((session / "manifest.json").read_text())
    return read, Reader(session, read, Cancel())


@pytest.mark.parametrize("form", ["insert", "copy", "custom", "directory", "csv"])
def test_every_format_is_text_for_psql_with_foreign_keys_apart(form: str, backups: Backups) -> None:
    session = backups.make(tables=["users", "roles"], format=form).path
    read, reader = open_session(session)
    first, second = units(read.tables)
    assert (first.tables[0].name, second.tables[0].name) == ("roles", "users")
    cleaner = reader.cleaner(second, owners=False, attach=False)
    text = b"".join(reader.text(second, cleaner))
    assert b"CREATE TABLE" in text and b"FOREIGN KEY" not in text and b"OWNER TO" not in text
    assert len(cleaner.keys) == 1 and b"FOREIGN KEY" in cleaner.keys[0]
    assert reader.prove_readable(second).tables >= {("public", "users")}


def test_a_file_that_is_cut_off_or_holds_another_table_is_found(backups: Backups) -> None:
    session = backups.make(tables=["users", "roles"], format="copy").path
    read, reader = open_session(session)
    roles, users = units(read.tables)
    path = session / users.file
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VerifyError) as found:
        reader.prove_readable(users)
    assert found.value.exit_code == 6
    path.write_bytes((session / roles.file).read_bytes())
    with pytest.raises(VerifyError, match=r"users|rows"):
        reader.prove_readable(users)


def test_a_session_that_is_read_cannot_be_removed(backups: Backups) -> None:
    session = backups.make(tables=["roles"]).path
    with lock_session(session), lock_session(session):
        with pytest.raises(TargetError, match="removed"):
            sessions.prune(session.parent, (session.name,))
        assert session.is_dir()
    assert archive.ARCHIVES == ("custom", "directory")


@pytest.mark.parametrize("times", [1, 2])
def test_a_program_that_fails_once_says_nothing_of_the_archive(
    times: int, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.sql("create table t (i int primary key); insert into t values (1)")
    session = backups.make(tables=["t"], format="custom").path
    read, reader = open_session(session)
    (unit,) = units(read.tables)
    real, calls = Reader._read_whole, list[int]()

    def fail_first(self: Reader, unit: archive.Unit, on_chunk: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise TargetError("pg_restore was killed by SIGKILL")
        return real(self, unit, on_chunk)

    monkeypatch.setattr(Reader, "_read_whole", fail_first)
    if times == 1:
        assert ("public", "t") in reader.prove_readable(unit).tables
    else:
        with pytest.raises(VerifyError, match="killed by SIGKILL"):
            reader.prove_readable(unit)
    assert len(calls) == 2
