"""The plans that `planrun init` writes do their jobs: the commands that it prints, twice, for a role that is no
superuser. The tutorial does it for a migration: tests/test_quickstart.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg import conninfo

from runner.cli import main
from tests.commandline import connect_to
from tests.servers import Server

ROLE = "first_contact"
DRIZZLE = Path(__file__).parent / "ordinary" / "drizzle"


class Pair(NamedTuple):
    """Two databases of a role that is no superuser, with the schema that Drizzle made."""

    source: str
    target: str


@pytest.fixture(scope="module")
def pair(pg_server: Server) -> Iterator[Pair]:
    with pg_server.admin() as conn:
        conn.execute(f"create role {ROLE} login")
    names = ["first_source", "first_target"]
    text = (DRIZZLE / "schema.sql").read_text() + (DRIZZLE / "rows.sql").read_text()
    made = list[str]()
    for name in names:
        db = pg_server.create(name)
        with pg_server.admin() as conn:
            conn.execute(f"alter database {name} owner to {ROLE}".encode())
        with connect_to(db) as conn:
            conn.execute(f"alter schema public owner to {ROLE}".encode())
        made.append(conninfo.make_conninfo(db, user=ROLE))
        with connect_to(made[-1]) as conn:
            conn.execute(f"begin; {text}; commit".encode())
    yield Pair(*made)
    for name in names:
        pg_server.drop(name)
    with pg_server.admin() as conn:
        conn.execute(f"drop role {ROLE}")


@pytest.fixture
def home(tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_what_is_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run `planrun init` and then the commands that it prints, `apply` twice; return the output of the last one.

    Not `test`, as tests/test_plan_cases.py runs the cases; and not `diff`, as `apply` begins with it.
    """
    assert main(["init", *words]) == 0
    said = capsys.readouterr().out
    commands = [shlex.split(line) for line in re.findall(r"^  planrun (.*?) +#", said, re.MULTILINE)]
    assert [one[0] for one in commands] == ["doctor", "validate", "test", "diff", "apply"]
    for verb, *rest in (one for one in commands if one[0] not in ("test", "diff")):
        assert main([verb, *rest, *(["--yes"] if verb == "apply" else [])]) == 0, capsys.readouterr()
    capsys.readouterr()
    assert main([*commands[-1], "--yes"]) == 0, capsys.readouterr()
    return "".join(capsys.readouterr())


def test_a_nightly_backup_is_proved(
    home: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", pair.target)
    said = type_what_is_printed(["--job", "nightly"], capsys)
    assert "prove: ok, level 3, 151 rows" in said
    assert len([one for one in (home / "backups").iterdir() if one.is_dir()]) == 2


def test_a_refresh_replaces_tables_twice(
    home: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANRUN_SOURCE_URL", pair.source)
    monkeypatch.setenv("PLANRUN_TARGET_URL", pair.target)
    with connect_to(pair.source) as conn:
        conn.execute("delete from products where id > 20 and not exists (select from order_lines)")
    said = type_what_is_printed(["--job", "refresh", "--preserve", "users", "--yes"], capsys)
    assert "cleanup: ok, 1 set, 4 tables" in said
