"""Session folders: when they are visible, who may remove them, and manifests that lie."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.backup import manifest, sessions
from runner.backup.manifest import File, Left, Manifest, Server, Table
from runner.backup.sessions import MANIFEST, Writing
from runner.errors import TargetError, VerifyError
from runner.table_name import TableName

TAKEN = datetime(2025, 7, 20, 12, 26, 55, 178000, tzinfo=UTC)
NAME = "backup_2025-07-20T12-26-55-178Z"
HASH = "0" * 64


def begin(folder: Path) -> Writing:
    return sessions.begin(folder, started=TAKEN, run="r1", plan="nightly")


def make_session(folder: Path, **files: str) -> Path:
    writing = begin(folder)
    for name, text in files.items():
        (writing.path / name).write_text(text)
    return writing.seal(writing.manifest, {name: file_of(text) for name, text in files.items()})


def file_of(text: str) -> File:
    return File(bytes=len(text.encode()), sha256=hashlib.sha256(text.encode()).hexdigest())


def states(folder: Path) -> dict[str, str]:
    return {facts.name: facts.state for facts in sessions.facts(folder)}


def full() -> Manifest:
    table = Table(
        schema="public", name="Area", file="Area.sql", rows=3, checksum="-1", bytes=9, sha256=HASH, post_data_at=4,
        columns=("id",), references=(TableName("public", "o"),), seconds=0.5,
    )  # fmt: skip
    return Manifest(
        made_by="planrun 0.1.0", state="complete", session=NAME, id="ab", run="r1", plan="p", started=TAKEN,
        finished=TAKEN, snapshot="1", server=Server(version="15.1", version_num=150001, database="d"), pg_dump="15.1",
        schema_digest=HASH, format="insert", tables=(table,), rows=3, bytes=9,
        left_out=(Left(schema="public", name="e", reason="empty"),), files={"Area.sql": File(bytes=9, sha256=HASH)},
    )  # fmt: skip


# ------------------------------------------------------------------ writing


def test_a_session_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    writing = begin(tmp_path / "new" / "backups")
    assert states(writing.path.parent) == {f"{NAME}.partial": "writing"}
    path = writing.seal(writing.manifest, {})
    assert path.name == NAME
    assert states(path.parent) == {NAME: "complete"}
    assert sessions.read(path).run == "r1"


# ------------------------------------------------------------------ what somebody else does meanwhile


def replace_folder(path: Path) -> None:
    """Put a folder of the same content in the place of another one."""
    path.rename(path.with_name("moved"))
    shutil.copytree(path.with_name("moved"), path)


def turn_into_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


MISCHIEF: dict[str, Callable[[Path], object]] = {
    "the folder is removed": shutil.rmtree,
    "the folder is renamed": lambda path: path.rename(path.with_name("moved")),
    "the folder is replaced": replace_folder,
    "the folder becomes a link": turn_into_link,
    "the folder above is renamed": lambda path: path.parent.rename(path.parent.with_name("moved")),
    "the folder above is replaced": lambda path: replace_folder(path.parent),
    "the folder above becomes a link": lambda path: turn_into_link(path.parent),
    "a file is truncated": lambda path: os.truncate(path / "a.sql", 2),
    "a file is changed": lambda path: (path / "a.sql").write_text("no rows"),
    "a file is removed": lambda path: (path / "a.sql").unlink(),
    "a file becomes a link": lambda path: turn_into_link(path / "a.sql"),
    "a file in a folder is removed": lambda path: (path / "b.dir" / "toc.dat").unlink(),
    "a folder of files becomes a link": lambda path: turn_into_link(path / "b.dir"),
}


@pytest.mark.parametrize("what", MISCHIEF)
def test_a_session_that_is_not_on_disk_as_it_was_written_is_not_sealed(what: str, tmp_path: Path) -> None:
    writing = begin(tmp_path / "backups")
    (writing.path / "a.sql").write_text("rows of a")
    (writing.path / "b.dir").mkdir()
    (writing.path / "b.dir" / "toc.dat").write_text("rows of b")
    made = {"a.sql": file_of("rows of a"), "b.dir/toc.dat": file_of("rows of b")}
    MISCHIEF[what](writing.path)
    with pytest.raises(TargetError):
        writing.seal(writing.manifest, made)
    foreign = {path for path in tmp_path.rglob("*") if not path.is_dir()}
    writing.discard()
    assert "complete" not in states(tmp_path / "backups").values()
    if what in ("the folder is replaced", "the folder becomes a link", "the folder above is replaced"):
        assert foreign == {path for path in tmp_path.rglob("*") if not path.is_dir()}, "what is not ours stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_a_disk_that_is_taken_away_under_a_session(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "planrun", folder], capture_output=True).returncode:
        pytest.skip("this root may not mount (a container)")
    writing = begin(folder)
    (writing.path / "a.sql").write_text("rows")
    subprocess.run(["umount", "-l", folder], check=True)
    with pytest.raises(TargetError, match="its disk was unmounted"):
        writing.seal(writing.manifest, {"a.sql": file_of("rows")})
    writing.discard()
    assert list(folder.iterdir()) == []


def test_folders_that_are_made_are_private(tmp_path: Path) -> None:
    path = make_session(tmp_path / "new" / "backups")
    assert [oct(each.stat().st_mode & 0o777) for each in (path, path.parent, path.parent.parent)] == ["0o700"] * 3


def test_a_discarded_session_leaves_nothing(tmp_path: Path) -> None:
    writing = begin(tmp_path)
    (writing.path / "a.sql").write_text("x")
    writing.discard()
    assert list(tmp_path.iterdir()) == []


def test_two_sessions_of_one_millisecond_both_get_a_name(tmp_path: Path) -> None:
    first, second = begin(tmp_path), begin(tmp_path)
    assert [first.name, second.name] == [NAME, NAME.replace("178", "179")]
    assert sessions.read(second.seal(second.manifest, {})).session == second.name
    first.discard()


def test_a_folder_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"cannot make the folder: (Not a directory|File exists)"):
        begin(tmp_path / "file")


def test_a_killed_writer_leaves_a_leftover_that_can_be_removed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from runner.backup import sessions\n"
        "sessions.begin(Path(sys.argv[1]), started=datetime(2025, 7, 20, tzinfo=UTC))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    (name,) = states(tmp_path)
    assert states(tmp_path) == {name: "partial"}
    sessions.remove(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ listing


def test_what_a_writer_left_that_was_killed_before_it_had_a_name_goes_with_the_next_backup(tmp_path: Path) -> None:
    kinds = ("empty", "manifest", "young", "rows")
    names = {one: f".planrun-{str(digit) * 16}" for digit, one in enumerate(kinds)}
    for name in names.values():
        (tmp_path / name).mkdir()
    (tmp_path / names["manifest"] / MANIFEST).write_text("{")
    (tmp_path / names["rows"] / "t.sql").write_text("rows of somebody")
    for one in ("empty", "manifest", "rows"):
        os.utime(tmp_path / names[one], (0, 0))
    begin(tmp_path).discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == [names["young"], names["rows"]]


def test_a_missing_folder_holds_no_sessions(tmp_path: Path) -> None:
    assert sessions.facts(tmp_path / "nope") == ()


def test_sessions_are_listed_oldest_first_with_what_is_in_them(tmp_path: Path) -> None:
    late = sessions.begin(tmp_path, started=TAKEN.replace(year=2026))
    late.seal(replace(late.manifest, rows=5, bytes=7), {})
    make_session(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert [(f.name, f.state, f.rows) for f in sessions.facts(tmp_path)] == [
        ("mine", "foreign", 0), (NAME, "complete", 0), (NAME.replace("2025", "2026"), "complete", 5),
    ]  # fmt: skip


def test_a_session_whose_files_are_not_all_there_is_damaged(tmp_path: Path) -> None:
    path = make_session(tmp_path, **{"a.sql": "12345"})
    assert states(tmp_path) == {NAME: "complete"}
    (path / "a.sql").write_text("1234")
    assert states(tmp_path) == {NAME: "damaged"}


def test_an_unreadable_manifest_makes_a_session_damaged_but_not_a_folder_whose_name_is_no_date(tmp_path: Path) -> None:
    for name in (NAME, "backup_2025-13-99T99-99-99-000Z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text("{")
    assert states(tmp_path) == {NAME: "damaged", "backup_2025-13-99T99-99-99-000Z": "foreign"}


def test_a_copy_under_another_name_and_a_link_are_foreign(tmp_path: Path) -> None:
    path = make_session(tmp_path)
    (tmp_path / "backup_2025-01-01T00-00-00-000Z").symlink_to(path)
    path.rename(tmp_path / "backup_2025-02-02T00-00-00-000Z")
    assert set(states(tmp_path).values()) == {"foreign"}


def test_the_level_of_verification_is_kept_beside_the_manifest(tmp_path: Path) -> None:
    path = make_session(tmp_path)
    sessions.record_verified(path, 3, at=TAKEN, by="planrun 0.1.0")
    sessions.record_verified(path, 1, at=TAKEN, by="planrun 0.1.0")
    assert sessions.facts(tmp_path)[0].verified == 3
    assert json.loads((path / "verified.json").read_text())["at"] == "2025-07-20T12:26:55Z"


@pytest.mark.parametrize("text", ["", "[]", '{"level": 9}', '{"level": true}', '{"level": "3"}', "[" * 100_000])
def test_a_verification_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    path = make_session(tmp_path)
    (path / "verified.json").write_text(text)
    assert sessions.verified_level(path) == 0


# ------------------------------------------------------------------ removing


def test_a_session_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = make_session(tmp_path)
    (path / "sub").mkdir()
    (path / "sub" / "x").write_text("")
    sessions.remove(tmp_path, NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("last", ["unlink", "rmdir"])
def test_a_removal_that_fails_at_its_end_leaves_what_the_next_backup_removes(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(TargetError, match="cannot remove"):
        patch.setattr(Path, last, _refuse)
        sessions.remove(tmp_path, NAME)
    (left,) = tmp_path.iterdir()
    if left.name == f"{NAME}.partial":
        assert states(tmp_path) == {left.name: "partial"}
        sessions.remove(tmp_path, left.name)
    else:
        os.utime(left, (0, 0))
        begin(tmp_path).discard()
    assert list(tmp_path.iterdir()) == []


def _refuse(path: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_session_that_is_written_is_not_removed(tmp_path: Path) -> None:
    writing = begin(tmp_path)
    with pytest.raises(TargetError, match="another process is writing this session"):
        sessions.remove(tmp_path, writing.path.name)
    assert writing.seal(writing.manifest, {}).is_dir()


@pytest.mark.parametrize("name", ["..", ".", "", "mine", "/etc", "../x", f"{NAME}/..", f"{NAME}/"])
def test_only_names_of_sessions_are_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / "backups" / "mine").mkdir(parents=True)
    with pytest.raises(TargetError, match="not the name of a session"):
        sessions.remove(tmp_path / "backups", name)


def test_what_is_linked_is_not_removed(tmp_path: Path) -> None:
    path = make_session(tmp_path / "elsewhere")
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / NAME).symlink_to(path)
    with pytest.raises(TargetError, match="planrun did not make this session"):
        sessions.remove(folder, NAME)
    assert (path / MANIFEST).is_file()


def test_a_linked_manifest_is_no_manifest(tmp_path: Path) -> None:
    path = make_session(tmp_path / "elsewhere")
    foreign = tmp_path / "backups" / NAME
    foreign.mkdir(parents=True)
    (foreign / MANIFEST).symlink_to(path / MANIFEST)
    (foreign / "precious").write_text("x")
    with pytest.raises(TargetError, match="planrun did not make this session"):
        sessions.remove(foreign.parent, NAME)
    assert (foreign / "precious").exists()


def test_links_inside_a_session_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("x")
    path = make_session(tmp_path / "backups")
    (path / "link").symlink_to(tmp_path / "precious")
    sessions.remove(path.parent, NAME)
    assert (tmp_path / "precious" / "x").exists()


def test_a_folder_with_a_manifest_of_another_program_is_not_removed(tmp_path: Path) -> None:
    path = make_session(tmp_path)
    text = (path / MANIFEST).read_text()
    (path / MANIFEST).write_text(text.replace("planrun 0", "backuptool 0"))
    with pytest.raises(TargetError, match="planrun did not make this session"):
        sessions.remove(tmp_path, NAME)


# ------------------------------------------------------------------ manifests


def test_a_manifest_comes_back_as_it_was() -> None:
    assert manifest.from_json(manifest.to_json(full())) == full()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format_version",), 3, "format_version must be 2 or less"),
        (("format_version",), True, "format_version must be a number"),
        (("made_by",), "", "made_by must not be empty"),
        (("state",), "done", "state must be partial or complete"),
        (("session",), "../up", "session must be a file name inside"),
        (("started",), "yesterday", "started must be a time"),
        (("started",), "2025-07-20T12:26:55", "started must have a time zone"),
        (("started",), "9999-12-31T23:59:59-23:59", "started must be a time"),
        (("bytes",), 10**400, "bytes must be a number"),
        (("tables", 0, "file"), "a\ud800", "must be a file name inside"),
        (("files",), {"\udcff": {"bytes": 1, "sha256": HASH}}, "not a file name inside"),
        (("rows",), -1, "rows must be a number that is not negative"),
        (("rows",), 1.5, "rows must be a number"),
        (("tables",), {}, "tables must be a list"),
        (("tables", 0), [], r"tables\[0\]\. must be an object"),
        (("tables", 0, "file"), "/etc/passwd", r"tables\[0\]\.file must be a file name inside"),
        (("tables", 0, "file"), "a/../../b", "must be a file name inside"),
        (("tables", 0, "file"), "", "must be a file name inside"),
        (("tables", 0, "file"), "a\x00b", "must be a file name inside"),
        (("tables", 0, "sha256"), "ABC", "must be a SHA-256"),
        (("tables", 0, "columns"), [1], "must be a list of texts"),
        (("tables", 0, "references"), [["a"]], r"must be a list of \[schema, name\]"),
        (("tables", 0, "seconds"), "1", "must be a number of seconds"),
        (("tables", 0, "post_data_at"), "4", "must be a number"),
        (("files",), {"../x": {"bytes": 1, "sha256": HASH}}, "not a file name inside"),
        (("files", "Area.sql"), {"bytes": 1}, "sha256 must be a text"),
        (("server", "version_num"), "15", "server.version_num must be a number"),
        (("left_out", 0, "reason"), None, r"left_out\[0\]\.reason must be a text"),
    ],
)
def test_a_manifest_that_lies_is_refused_by_name(path: tuple[Any, ...], value: Any, message: str) -> None:
    data = json.loads(manifest.to_json(full()))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(VerifyError, match=message):
        manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "nul", "[]", "\x00", "[" * 100_000, '{"format_version": 1}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(VerifyError, match="this manifest is not"):
        manifest.from_json(text)


def test_a_device_in_place_of_a_manifest_is_not_read(tmp_path: Path) -> None:
    path = make_session(tmp_path)
    (path / MANIFEST).unlink()
    os.mkfifo(path / MANIFEST)
    with pytest.raises(VerifyError, match="not a plain file"):
        sessions.read(path)
