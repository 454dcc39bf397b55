"""Files that appear whole, checksums that sha256sum reads, streams that notice damage."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runner import files
from runner.errors import TargetError
from runner.files import Output

DATA = os.urandom(50_000) + b"text " * 50_000


def write(path: Path, compress: str = "", data: bytes = DATA) -> files.Written:
    with Output(path, compress) as out:
        out.write(data[:1000])
        out.write(data[1000:])
        return out.close()


# ------------------------------------------------------------------ whole files


def test_a_text_replaces_a_file_at_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(TargetError, match="cannot write"):
        files.write_text(path, "one")
    assert not path.parent.exists(), "a folder that vanished is not made anew"
    files.make_folder(path.parent)
    files.write_text(path, "one")
    files.write_text(path, "zwei ä")
    assert path.read_text() == "zwei ä"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetError, match="cannot write: Is a directory"):
        files.write_text(tmp_path / "folder", "x")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_errors_name_the_path_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught, files.translate_errors("write", tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert str(caught.value).startswith(
        f"{tmp_path}/x: PR0903 cannot write: No space left on device\n  hint: free space"
    )


def test_a_full_device_is_told() -> None:
    with (
        pytest.raises(TargetError, match="/dev/full: PR0903 cannot write: No space left on device"),
        files.translate_errors("write", "/dev/full"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


@pytest.mark.parametrize(("number", "hint"), [(13, "writable"), (30, "read-only"), (5, "system log"), (122, "quota")])
def test_each_kind_of_error_has_its_hint(number: int, hint: str) -> None:
    with pytest.raises(TargetError) as caught, files.translate_errors("write", "x"):
        raise OSError(number, "")
    assert hint in caught.value.hint


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "a" / "b") > 0


def test_a_lock_is_had_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = (os.open(path, os.O_CREAT | os.O_RDWR) for _ in range(2))
    try:
        assert files.try_lock(first) and not files.try_lock(second)
    finally:
        os.close(first)
    assert files.try_lock(second)
    os.close(second)


def test_a_link_to_a_folder_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(TargetError, match="cannot remove: Not a directory"):
        files.remove_folder(tmp_path / "link")
    files.remove_folder(tmp_path / "real")
    assert not (tmp_path / "real").exists()


# ------------------------------------------------------------------ names and sums


@pytest.mark.parametrize("name", ["a", "a.sql", "a/b", "...", "a b", "ä"])
def test_names_that_stay_inside(name: str) -> None:
    assert files.is_inside(name)


@pytest.mark.parametrize("name", ["", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\0", "a\\b"])
def test_names_that_do_not(name: str) -> None:
    assert not files.is_inside(name)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
HASHES = st.binary().map(lambda data: hashlib.sha256(data).hexdigest())


@given(st.dictionaries(NAMES, HASHES))
def test_sums_come_back_as_they_were(sums: dict[str, str]) -> None:
    assert files.read_sums(files.sums_text(sums)) == sums


def test_sha256sum_reads_sums_of_odd_names(tmp_path: Path) -> None:
    names = ["plain", "new\nline", "back\\slash", "car\rriage", "*star", " space ", "ä", "-dash", "\\n"]
    for name in names:
        (tmp_path / name).write_text(name)
    sums = {name: files.digest(tmp_path / name)[1] for name in names}
    (tmp_path / "SHA256SUMS").write_text(files.sums_text(sums))
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = subprocess.run(["sha256sum", "--", *names], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert files.read_sums(ours) == sums


@pytest.mark.parametrize("text", ["x", "0" * 64, "0" * 63 + "  a", "Z" * 64 + "  a", "0" * 64 + " a"])
def test_a_line_that_is_no_sum_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="line 1 is not"):
        files.read_sums(text)


def test_a_digest_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(TargetError, match="cannot read"):
        files.digest(tmp_path / "link")


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize(("compress", "ending"), [("", ""), ("gzip", ".gz"), ("zstd", ".zst")])
def test_what_is_written_is_summed_and_comes_back(tmp_path: Path, compress: str, ending: str) -> None:
    path = tmp_path / f"a.sql{ending}"
    made = write(path, compress)
    assert (made.bytes, made.sha256) == files.digest(path)
    assert made.plain == len(DATA)
    assert b"".join(files.decompress(path)) == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_programs_read_it(tmp_path: Path) -> None:
    write(tmp_path / "a.gz", "gzip")
    write(tmp_path / "a.zst", "zstd")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == DATA
    with (tmp_path / "a.zst").open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == DATA


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_the_same_data_gives_the_same_file(tmp_path: Path, compress: str) -> None:
    assert write(tmp_path / "a", compress).sha256 == write(tmp_path / "b", compress).sha256


@pytest.mark.parametrize(("compress", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "empty"])
def test_damage_is_noticed(tmp_path: Path, compress: str, ending: str, damage: str) -> None:
    path = tmp_path / f"a{ending}"
    write(path, compress)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes({"cut": data[:-20], "flipped": data, "longer": data + b"junk", "empty": b""}[damage]))
    with pytest.raises(TargetError, match="damaged archive"):
        list(files.decompress(path))


def test_an_output_does_not_write_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(TargetError, match="File exists"):
        Output(tmp_path / "a")
