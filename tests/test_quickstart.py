"""The tutorial, typed line by line into the shell that `planrun demo --shell` opens: it prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from runner.cli import main

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.escape(f"{sys.executable} -m runner")
VARYING = (
    (NAME, "planrun"),
    (r"\d{8}T\d{6}Z-[0-9a-f]{4}", "RUN"),
    (r"backup_\d{4}-[-\dT]+Z", "SESSION"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
    (r"\b[\d.]+ (ms|s)\b", "TIME"),
    (r"\b[\d,]+ (bytes|kB|MB)\b", "SIZE"),
    (r"/\S*?planrun-[^/\s:)]+", "FOLDER"),
    (r"PostgreSQL \d+\.\d+", "PostgreSQL"),
    (r"\S+@\S+$", "SOMEBODY"),
    (r" +", " "),
)


def general(line: str) -> str:
    """Return a line without what is another time or place in each run."""
    for pattern, word in VARYING:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the tutorial with the lines that the page shows below it."""
    for block in BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, lines


def follow(shown: list[str], printed: list[str]) -> str:
    """Return the first line of the page that was not printed in its turn, "" if all were; `...` is any lines."""
    rest, gap = iter(map(general, printed)), False
    for line in shown:
        if line == "...":
            gap = True
            continue
        found = general(line) in rest if gap else next(rest, None) == general(line)  # `in` takes what is before it
        if not found:
            return line
        gap = False
    return ""


def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text().partition("\n## Your own database")[0]
    (opening, head), *typed = commands(page)
    assert opening == ".venv/bin/planrun demo --shell"
    shell = tmp_path / "shell"
    lines = chain.from_iterable((f"echo '@@{number}'", command) for number, (command, _) in enumerate(typed))
    shell.write_text("#!/bin/sh\nexec 2>&1\n" + "\n".join(lines) + "\n")
    shell.chmod(0o700)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SHELL": str(shell), "TMPDIR": str(tmp_path), "CI": "1"}
    done = subprocess.run([sys.executable, "-m", "runner", "demo", "--shell"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *printed = re.split(r"^@@\d+\n", done.stdout, flags=re.MULTILINE)
    assert follow(head, first.splitlines()) == ""
    assert [command for command, _ in typed][-1] == "exit"
    for (command, shown), text in zip(typed, printed, strict=True):
        assert not (missing := follow(shown, text.splitlines())), f"{command} prints no {missing!r}:\n{text}"
    assert list(tmp_path.iterdir()) == [shell], "nothing is left"


def test_a_shell_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/none/sh")
    assert main(["demo", "--shell"]) == 1
    assert "PR1144 there is no shell /none/sh" in capsys.readouterr().err
