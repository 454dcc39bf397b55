"""`planrun demo`: the main jobs on a server of its own, told in two screens, with nothing left behind."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from runner.cancel import Cancel
from runner.cli import main
from runner.cli.demo.stage import Whole
from tests.person import COMMAND, start_person

ROOT = Path(__file__).parents[1]
NAME = f"{sys.executable} -m runner"
"""What to type for the planrun that these tests start."""

ELSEWHERE = "postgresql://192.0.2.1/prod"
"""An address that answers nobody: no setting of the caller may lead the demo to it."""


class Demos(NamedTuple):
    """One demo ran in a pipe to its end. Meanwhile another one, on a terminal, got a Ctrl-C."""

    code: int
    out: str
    err: str
    interrupted: int
    screen: str
    left: list[str]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    home = tmp_path_factory.mktemp("home")
    files = home / "files"
    files.mkdir()
    settings = {"PGHOST": "192.0.2.1", "DATABASE_URL": ELSEWHERE, "PLANRUN_TARGET_URL": ELSEWHERE}
    env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(files), **settings}
    argv = [sys.executable, "-m", "runner", "demo"]
    demo = subprocess.Popen(
        argv, cwd=home, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with start_person(home, COMMAND, "demo", **{**env, "CI": "", "TERM": "xterm"}) as person:
        person.sees("prove")
        person.types(b"\x03")
        interrupted = person.ends()
        screen = person.text
    out, err = demo.communicate(timeout=100)
    return Demos(demo.returncode, out, err, interrupted, screen, sorted(path.name for path in files.iterdir()))


def test_the_demo_fits_two_screens_without_sql(demos: Demos) -> None:
    assert (demos.code, demos.err) == (0, "")
    lines = demos.out.replace(NAME, "planrun").splitlines()
    assert len(lines) <= 52
    assert max(map(len, lines)) <= 100
    assert not re.search(r"(?i)\b(select|create table|alter table)\b", demos.out)
    assert [line.partition("    #")[0] for line in lines if line.startswith("$ ")] == [
        "$ planrun apply demo.yml --yes",
        "$ planrun backups restore demo.yml latest --yes",
        "$ planrun apply demo-refresh.yml --yes",
        "$ planrun apply demo-refresh.yml --yes",
        "$ planrun rollback demo-refresh.yml --yes",
    ]


def test_the_demo_proves_a_backup_before_the_migration(demos: Demos) -> None:
    assert re.search(r"  prove: ok, .* 6,020 rows compared: .*\n  cleanup: ok, .*\n", demos.out)
    assert "  restore: ok, 3 tables, 6,020 rows, compared before the COMMIT" in demos.out


def test_the_demo_replaces_tables_twice_and_takes_one_back_while_clients_read_and_write(demos: Demos) -> None:
    assert "products 5,000 -> 5,300" in demos.out
    assert "the way back afterwards: planrun rollback demo-refresh.yml" in demos.out
    assert "  cleanup: ok, the old tables of the first refresh are dropped: the new ones are proved" in demos.out
    assert "Dearest product: 499.99, 509.99, 1019.98, and 509.99 after the rollback." in demos.out
    said = re.search(r"^Requests of clients: ([\d,]+) reads and ([\d,]+) writes, none failed;", demos.out, re.MULTILINE)
    assert said and all(int(count.replace(",", "")) > 50 for count in said.groups())
    assert f"Sign-ups: {said[2]} meanwhile; all of them are there." in demos.out


def test_a_ctrl_c_ends_the_demo_and_nothing_of_it_is_left(demos: Demos) -> None:
    assert demos.interrupted == 130
    assert ": nothing of the demo is left; to run it again:" in demos.screen
    assert "Traceback" not in demos.screen
    assert demos.left == [], "neither of the demos leaves files"


def test_the_last_commands_of_the_demo_work_as_they_are(demos: Demos) -> None:
    *_, more, last = demos.out.splitlines()
    commands = [more.partition(": ")[2], last.partition("next: ")[2].partition("    #")[0]]
    assert commands == [f"{NAME} demo -v", f"{NAME} init"]
    for command in commands:
        argv = [*shlex.split(command), "--help"]
        done = subprocess.run(argv, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_picture_of_the_readme_shows_this_demo(demos: Demos) -> None:
    lines = ElementTree.parse(ROOT / "docs" / "demo.svg").iter("{http://www.w3.org/2000/svg}text")
    shown = ["".join(line.itertext()) for line in lines]
    assert shown[0] == "$ make demo"
    said = demos.out.replace(NAME, "planrun").splitlines()
    assert [*map(general, shown[1:])] == [*map(general, said)], "run docs/picture.py"


def general(line: str) -> str:
    """Return a line without what differs from run to run."""
    return re.sub(r"\d[\d,.]*( (ms|s)\b)?", "N", line)


def test_the_whole_output_is_that_of_the_commands(
    tmp_path: Path, db: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path))
    Path("p.yml").write_text("name: p\nsteps:\n  - {id: a, uses: sql, with: {text: create table t (id int)}}\n")
    stage = Whole(Cancel())
    stage.say("A plan:")
    stage.validate("p.yml")
    stage.apply("p.yml", {}, why="first")
    stage.look("status", "p.yml")
    said = capsys.readouterr()
    assert said.out.startswith("\n# A plan:\n\nname: p\nsteps:\n")
    for command in ("validate p.yml", "apply p.yml --yes    # first", "status p.yml"):
        assert f"\n$ planrun {command}\n" in said.out
    assert "Plan p: what apply would do" in said.err
    assert "a: ok" in said.err


def test_the_demo_keeps_its_files_in_a_new_folder_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert main(["demo", "--keep", str(tmp_path)]) == 64
    assert "PR1140" in capsys.readouterr().err
