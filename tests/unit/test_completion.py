"""Completion in the shells themselves: what is offered where a word of a plan is typed, and never an error."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.backup import sessions
from runner.cli import completion, main
from runner.cli.candidates import DEADLINE
from runner.journal.file import FileJournal
from tests.unit.test_measures import began, ended, planned, run_ended

ROOT = Path(__file__).parents[2]
PLAN = """\
name: nightly
params:
  schema_name: {type: string, default: public, description: "The schema: its name"}
journal: ./runs.jsonl
steps:
  - id: prepare
    description: All that comes before.
    steps:
      - {id: look, uses: query, with: {text: select 1}}
      - {id: save, uses: pg_dump, with: {schemas: [public], to: ./backups, format: insert}}
  - {id: act, uses: query, with: {text: select 2}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan, a run, a session and a planrun; the plan's database cannot be reached."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "plan.yml").write_text(PLAN)
    (folder / "broken.yml").write_text("steps: [")
    journal = FileJournal(folder / "runs.jsonl")
    for event in (began(), planned("prepare.look", "query"), ended("prepare.look", {}), run_ended()):
        journal.write("r1", event)
    journal.close()
    writing = sessions.begin(folder / "backups", started=datetime(2025, 7, 20, tzinfo=UTC), plan="nightly")
    writing.seal(writing.manifest, {})
    program = folder / "bin" / "planrun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m runner "$@"\n')
    program.chmod(0o755)
    return folder


def environment(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "HOME": str(place)}


CASES = {
    "planrun hist": ["history"],
    "planrun apply plan.yml --until ": ["prepare", "prepare.look", "prepare.save", "act"],
    "planrun apply plan.yml --set sch": ["schema_name="],
    "planrun apply --set schema_name=x plan.yml --until a": ["act"],
    "planrun explain plan.yml ": ["r1", "last"],
    "planrun backups verify plan.yml backup_": ["backup_2025-07-20T00-00-00-000Z"],
    "planrun apply broken.yml --until ": [],
    "planrun explain PR112": ["PR1125", "PR1126", "PR1127", "PR1128", "PR1129"],
}

BASH = """
eval "$(planrun completion bash)"
set -u
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line} COMP_WORDS=(${line//=/ = })
    [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _planrun_completion planrun
    (IFS='|'; echo "${COMPREPLY[*]-}")
done
complete -p planrun
"""


def test_bash_offers_words_of_the_plan(place: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", BASH], input="\n".join(CASES) + "\n", cwd=place, env=environment(place), text=True,
        capture_output=True,
    )  # fmt: skip
    *found, registered = done.stdout.splitlines()
    assert done.stderr == "" and registered == "complete -o nosort -F _planrun_completion planrun"
    offers = {line: [word for word in said.split("|") if word] for line, said in zip(CASES, found, strict=True)}
    assert offers == CASES


def test_a_script_of_each_shell_is_one_that_it_can_read(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for shell in completion.CLASSES:
        assert main(["completion", shell]) == 0
        script = tmp_path / f"planrun.{shell}"
        script.write_text(capsys.readouterr().out)
        assert "_PLANRUN_COMPLETE" in script.read_text() and "%(" not in script.read_text()
        if shutil.which(shell):
            subprocess.run([shell, "-n", script], check=True)


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish_offers_words_of_the_plan(place: Path) -> None:
    lines = list(CASES)[:4]
    asked = "; ".join(f'complete -C "{line}"; echo ==' for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"planrun completion fish | source; {asked}"],
        cwd=place, env=environment(place), text=True, capture_output=True,
    )  # fmt: skip
    assert done.stderr == ""
    parts = done.stdout.split("==\n")
    for line, said in zip(lines, parts, strict=False):
        assert sorted(one.partition("\t")[0] for one in said.splitlines()) == sorted(CASES[line])
    assert "prepare\tAll that comes before." in parts[1] and "schema_name=\tThe schema: its name" in parts[2]


ZSH = """
autoload -Uz compinit && compinit -u -d {folder}/zcompdump
eval "$(planrun completion zsh)"
compadd() {{ local -a words; local name; for name in "${{@[-1]}}"; do print -r -- "offer ${{(P)name}}" >&3; done }}
_describe() {{ print -r -- "offer ${{(P)3}}" >&3 }}
words=({words}) CURRENT={current}
_planrun_completion 3>&1
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ('planrun apply plan.yml --until ""', "prepare:All that comes before."),
        ("planrun apply plan.yml --set sch", "schema_name="),
        ("planrun explain plan.yml r", "r1:apply\\: ok"),
    ],
)
def test_zsh_offers_words_of_the_plan(words: str, wanted: str, place: Path) -> None:
    text = ZSH.format(folder=place, words=words, current=len(words.split()))
    done = subprocess.run(["zsh", "-f", "-c", text], cwd=place, env=environment(place), text=True, capture_output=True)
    assert wanted.replace("\\", "") in done.stdout.replace("\\", ""), done.stdout + done.stderr


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_does_not_answer_is_waited_for_a_second(place: Path, silent_server: int) -> None:
    (place / "swap.yml").write_text(
        "connections: {target: {}, source: {}}\nsteps:\n  - {id: load, uses: shadow_load, with: {from: source}}\n"
        "  - {id: check, uses: shadow_verify}\n  - {id: swap, uses: swap_tables}\n"
    )
    env = environment(place) | {"_PLANRUN_COMPLETE": "bash_complete", "COMP_WORDS": "planrun backups prune swap.yml "}
    env |= {"PLANRUN_TARGET_URL": f"postgresql://u@127.0.0.1:{silent_server}/d"}
    began_at = time.monotonic()
    done = subprocess.run([place / "bin" / "planrun"], cwd=place, env=env, text=True, capture_output=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert DEADLINE <= time.monotonic() - began_at < 20
