"""planrun fmt: which files it writes and which not, what it prints, and its exit codes."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.cli import main
from runner.language import layout
from runner.language.layout import LayoutBug

ROOT = Path(__file__).parents[2]
UGLY = "name:  p\nsteps:\n- {id: a,uses: sql}\n"
PRETTY = "name: p\nsteps:\n  - {id: a, uses: sql}\n"
BROKEN = "name: p\nname: q\nsteps: []\n"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Fmt = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fmt(home: Path, capsys: pytest.CaptureFixture[str]) -> Fmt:
    def run(*words: str) -> Said:
        return Said(main(["fmt", *words]), *capsys.readouterr())

    return run


def write(path: Path, text: str | bytes = UGLY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_it_writes_what_is_not_formatted_and_nothing_else(home: Path, fmt: Fmt) -> None:
    ugly, pretty, other = write(home / "a.yml"), write(home / "b.yml", PRETTY), write(home / "c.yml")
    before = pretty.stat()
    assert fmt("a.yml", "b.yml") == (0, "a.yml: formatted\nb.yml: ok\n", "")
    assert (ugly.read_text(), other.read_text()) == (PRETTY, UGLY)
    after = pretty.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in home.iterdir()) == ["a.yml", "b.yml", "c.yml"]
    assert fmt("a.yml") == (0, "a.yml: ok\n", "")


def test_windows_files_become_plain(home: Path, fmt: Fmt) -> None:
    write(home / "a.yml", b"\xef\xbb\xbf" + PRETTY.replace("\n", "\r\n").encode())
    assert fmt("--check", "a.yml").code == 2
    assert fmt("a.yml").code == 0
    assert (home / "a.yml").read_bytes() == PRETTY.encode()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_the_mode_stays(mode: int, home: Path, fmt: Fmt) -> None:
    write(home / "a.yml").chmod(mode)
    assert fmt("a.yml").code == 0
    assert stat.S_IMODE((home / "a.yml").stat().st_mode) == mode


def test_the_owner_stays_if_this_user_may_say_so(home: Path, fmt: Fmt, monkeypatch: pytest.MonkeyPatch) -> None:
    there = write(home / "a.yml").stat()
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda fd, user, group: owners.append((user, group)))
    assert fmt("a.yml").code == 0 and owners == [(there.st_uid, there.st_gid)]

    def refuse(fd: int, user: int, group: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    write(home / "a.yml")
    assert fmt("a.yml").code == 0 and (home / "a.yml").read_text() == PRETTY


def test_a_link_stays_a_link(home: Path, fmt: Fmt) -> None:
    target = write(home / "real" / "a.yml")
    (home / "link.yml").symlink_to(target)
    assert fmt("link.yml") == (0, "link.yml: formatted\n", "")
    assert (home / "link.yml").is_symlink() and target.read_text() == PRETTY
    assert [path.name for path in target.parent.iterdir()] == ["a.yml"]


def test_check_writes_nothing_and_names_what_would_change(home: Path, fmt: Fmt) -> None:
    write(home / "a.yml"), write(home / "b.yml", PRETTY)
    assert fmt("--check", "a.yml", "b.yml") == (2, "a.yml: would be formatted\nb.yml: ok\n", "")
    assert fmt("--check", "b.yml") == (0, "b.yml: ok\n", "")
    assert (home / "a.yml").read_text() == UGLY


def test_a_diff_writes_nothing_and_is_one_that_patch_takes(home: Path, fmt: Fmt) -> None:
    write(home / "a.yml", UGLY.rstrip()), write(home / "b.yml", PRETTY)
    said = fmt("--diff", "a.yml", "b.yml")
    assert (said.code, said.err, (home / "a.yml").read_text()) == (0, "", UGLY.rstrip())
    assert "-name:  p\n+name: p\n" in said.out and "\\ No newline at end of file\n" in said.out
    assert fmt("--check", "--diff", "a.yml") == (2, said.out, "")
    subprocess.run(["git", "init", "--quiet", "."], check=True, cwd=home)
    patch = said.out.replace("--- a.yml", "--- a/a.yml").replace("+++ a.yml (formatted)", "+++ b/a.yml")
    subprocess.run(["git", "apply", "-"], input=patch, text=True, check=True, cwd=home)
    assert (home / "a.yml").read_text() == PRETTY


def test_a_folder_is_all_yaml_in_it_in_order(home: Path, fmt: Fmt) -> None:
    for name in ("b.yml", "a.yaml", "steps/c.yml", ".hidden.yml", ".git/d.yml", "e.json", "f.yml.j2"):
        write(home / "plans" / name)
    write(home / "elsewhere" / "g.yml")
    (home / "plans" / "link").symlink_to(home / "elsewhere")
    said = fmt("plans", "plans/b.yml")
    assert said.out.split("\n")[:-1] == [f"plans/{name}: formatted" for name in ("a.yaml", "b.yml", "steps/c.yml")]
    for name in (".hidden.yml", ".git/d.yml", "e.json", "f.yml.j2"):
        assert (home / "plans" / name).read_text() == UGLY
    assert (home / "elsewhere" / "g.yml").read_text() == UGLY


def test_a_folder_without_yaml_is_no_success(home: Path, fmt: Fmt) -> None:
    write(home / "plans" / "a.txt"), write(home / "a.yml")
    said = fmt("a.yml", "plans")
    assert said.code == 64 and "no *.yml or *.yaml in the folder plans" in said.err
    assert (home / "a.yml").read_text() == UGLY


@pytest.mark.parametrize(
    "text",
    [BROKEN, "a:\n\t- b\n", b"a: \xff\n", "a: \0\n", "--- 1\n--- 2\n", "", "a: [1\n", "a: !x 1\n", "<<: {a: 1}\n"],
)
def test_yaml_errors_are_those_of_validate_and_the_others_are_formatted(
    text: str | bytes, home: Path, fmt: Fmt, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write(home / "a.yml", text)
    write(home / "b.yml")
    said = fmt("a.yml", "b.yml")
    assert (said.code, said.out) == (5, "b.yml: formatted\n")
    assert main(["validate", "a.yml"]) == 5
    assert said.err == capsys.readouterr().err and "a.yml:1" in said.err.replace("a.yml:2", "a.yml:1")
    assert broken.read_bytes() == (text if isinstance(text, bytes) else text.encode())
    assert fmt("--check", "a.yml", "b.yml").code == 5


def test_what_is_no_plain_file(home: Path, fmt: Fmt) -> None:
    os.mkfifo(home / "pipe.yml")
    write(home / "b.yml")
    said = fmt("pipe.yml", "none.yml", "b.yml")
    assert said.code == 5 and said.out == "b.yml: formatted\n"
    assert "pipe.yml:1:1: PR0102 this is not a plain file" in said.err
    assert "none.yml:1:1: PR0102 cannot read this file: No such file or directory" in said.err
    assert stat.S_ISFIFO((home / "pipe.yml").stat().st_mode)


def test_a_disk_that_does_not_take_it(home: Path, fmt: Fmt, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "a.yml"), write(home / "b.yml", BROKEN), write(home / "c.yml", PRETTY)

    def refuse(fd: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    said = fmt("a.yml", "c.yml")
    assert (said.code, said.out) == (1, "c.yml: ok\n")
    assert "a.yml: PR0903 cannot write: No space left on device" in said.err and "free space" in said.err
    assert (home / "a.yml").read_text() == UGLY
    assert sorted(path.name for path in home.iterdir()) == ["a.yml", "b.yml", "c.yml"]


class Pipe:
    """What stdin is when it is no terminal: bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    ("words", "content", "code", "out"),
    [
        ((), UGLY, 0, PRETTY),
        ((), PRETTY, 0, PRETTY),
        ((), "a:  'é\u202e'\r\n", 0, "a: 'é\u202e'\n"),
        (("--check",), UGLY, 2, "<stdin>: would be formatted\n"),
        (("--check",), PRETTY, 0, "<stdin>: ok\n"),
        ((), BROKEN, 5, ""),
    ],
)
def test_stdin(
    words: tuple[str, ...], content: str, code: int, out: str, fmt: Fmt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(content.encode()))
    said = fmt("-", *words)
    assert (said.code, said.out) == (code, out)
    assert said.err.startswith("<stdin>:2:1: PR0104 key 'name' is given twice" if code == 5 else "")


def test_the_diff_of_stdin(fmt: Fmt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(UGLY.encode()))
    assert fmt("-", "--diff").out.startswith("--- <stdin>\n+++ <stdin> (formatted)\n")


def test_stdin_stands_alone(home: Path, fmt: Fmt) -> None:
    write(home / "a.yml")
    assert fmt("-", "a.yml").code == 64
    assert (home / "a.yml").read_text() == UGLY


def test_a_terminal_of_ascii_does_not_spoil_the_text(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runner", "fmt", "-"],
        input="a:  'é'\n".encode(),
        capture_output=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a: 'é'\n".encode(), b"")


def test_a_bug_leaves_the_file_alone_and_is_told_after_the_others(
    home: Path, fmt: Fmt, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "a.yml"), write(home / "b.yml")
    check: Any = layout._check

    def fail(made: str, before: Any, comments: list[str], file: str) -> None:
        if file == "a.yml":
            raise LayoutBug("the meaning would change")
        check(made, before, comments, file)

    monkeypatch.setattr(layout, "_check", fail)
    said = fmt("a.yml", "b.yml")
    assert (said.code, said.out) == (70, "b.yml: formatted\n")
    assert "error: a.yml: not changed: the meaning would change" in said.err
    assert "this is a bug in planrun (LayoutBug); the trace is in" in said.err
    assert (home / "a.yml").read_text() == UGLY


def test_the_shipped_plans_are_formatted(fmt: Fmt) -> None:
    assert fmt("--check", str(ROOT / "plans")).code == 0


def test_a_link_out_of_the_checkout_is_neither_shown_nor_written(home: Path, fmt: Fmt) -> None:
    (home / "repo" / ".git").mkdir(parents=True)
    outside = write(home / "outside.yml", "a:   secret\n")
    (home / "repo" / "p.yml").symlink_to(outside)
    for words in ((), ("--check",), ("--diff",)):
        done = fmt(*words, "repo/p.yml")
        assert done.code == 5 and "secret" not in done.out + done.err
    assert outside.read_text() == "a:   secret\n"
