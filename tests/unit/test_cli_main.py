"""What every command shares: readers that go away, and names that are mistyped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import cli

PLAN = """
steps:
  - {id: first, uses: command, with: {argv: [sleep, "1"]}}
  - {id: second, uses: write, with: {to: ./done.txt, text: done}}
"""


@pytest.mark.parametrize("output", ["text", "jsonl"])
def test_a_run_outlives_the_reader_of_its_output(output: str, tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(PLAN)
    argv = [sys.executable, "-m", "runner", "apply", str(tmp_path / "p.yml"), "--yes", "-o", output]
    env = {**os.environ, "PLANRUN_STATE_DIR": str(tmp_path / "state")}
    run = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    assert run.stdout and run.stdout.readline()
    run.stdout.close()  # as `| head -1` does
    assert run.wait(60) == 0
    assert (tmp_path / "done.txt").read_text() == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_run_outlives_a_full_disk_under_its_log_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(PLAN.replace('"1"', '"0"'))
    argv = [sys.executable, "-m", "runner", "apply", str(tmp_path / "p.yml"), "--yes"]
    env = {**os.environ, "PLANRUN_STATE_DIR": str(tmp_path / "state")}
    with Path("/dev/full").open("w") as full:
        both = subprocess.run(argv, stdout=full, stderr=full, env=env, timeout=60)
        out = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
    assert (tmp_path / "done.txt").read_text() == "done"
    assert (both.returncode, out.returncode) == (1, 1)  # who reads the file must not take it for the whole
    assert "the output is incomplete: No space left on device" in out.stderr and "Traceback" not in out.stderr


def test_a_mistyped_command_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["aply", "plan.yml"]) == 64
    assert "No such command 'aply'; did you mean 'apply'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("backups", "restore", "my plan.yml", "latest", "--yes"), "planrun apply 'my plan.yml'"),
        (("backups", "verify", "my plan.yml", "--set", "file=other.yml"), "planrun apply 'my plan.yml'"),
    ],
)
def test_a_hint_names_the_file(
    words: tuple[str, ...],
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@nowhere/db")
    text = "params: {file: {type: string, default: x}}\nbackup: {path: ./none}\n"
    (tmp_path / "my plan.yml").write_text(text)
    assert cli.main(list(words)) in (1, 64)
    assert f"hint: {hint}" in capsys.readouterr().err


def test_status_of_a_local_journal_needs_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yml").write_text("backup: {path: ./b}\n")
    monkeypatch.setenv("DATABASE_URL", "host=127.0.0.1 port=1")
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    assert cli.main(["status", str(tmp_path / "p.yml")]) == 0
    said = capsys.readouterr()
    assert "never run" in said.out and "cannot tell whether it is running now" in said.err
