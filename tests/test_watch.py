"""A run that is watched from another process by a role that may only read its journal; and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parents[1]
PLAN = """
name: slow
steps:
  - {id: first, uses: sql, with: {text: create table if not exists made (n int)}}
  - id: work
    uses: command
    with: {argv: [sh, -c, 'until [ -e go ]; do sleep 0.05; done; echo "$(printf "\\033[2J")done"']}
"""


@pytest.fixture
def home(tmp_path: Path, db: str) -> Iterator[Path]:
    (tmp_path / "p.yml").write_text(PLAN)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("drop role if exists watcher; create role watcher login")
    yield tmp_path
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("drop owned by watcher; drop role watcher")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(home: Path, db: str) -> Iterator[Start]:
    children = []

    def go(*words: str, user: str = "") -> subprocess.Popen[str]:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PLANRUN_STATE_DIR": str(home / "state")}
        env |= {"PLANRUN_PROGRESS_INTERVAL": "200ms", "DATABASE_URL": f"{db} user={user}" if user else db}
        child = subprocess.Popen(
            [sys.executable, "-m", "runner", *words],
            cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        children.append(child)
        return child

    yield go
    for child in children:
        child.kill()
        child.communicate()


def is_noted(db: str) -> bool:
    """Return whether a step at work is noted; let the watcher read the journal as soon as it is there."""
    with psycopg.connect(db, autocommit=True) as conn:
        if conn.execute("select to_regclass('planrun.journal')").fetchone() == (None,):
            return False
        conn.execute("grant usage on schema planrun to watcher; grant select on planrun.journal to watcher")
        return bool(conn.execute("select from planrun.journal where event ->> 'event' = 'at_work'").fetchall())


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_is_watched_to_its_end(home: Path, start: Start, db: str) -> None:
    run = start("apply", "p.yml", "--yes")
    wait_until(lambda: is_noted(db))
    run.send_signal(signal.SIGUSR1)
    stream = start("status", "p.yml", "--watch", "--interval", "100ms", "-o", "jsonl", user="watcher")
    plain = start("status", "p.yml", "--watch", "--interval", "100ms", user="watcher")
    assert stream.stdout and plain.stderr
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["event"] != "at_work":
        line = stream.stdout.readline()
        assert line, stream.communicate()
        seen.append(json.loads(line))
    assert (seen[-1]["path"], seen[-1]["uses"]) == ("work", "command") and seen[-1]["seconds"] > 0
    lines = [plain.stderr.readline()]
    while "work: command at work for " not in lines[-1]:
        lines.append(plain.stderr.readline())
    (home / "go").touch()
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0 and "work: command at work for " in err and "work| done\n" in err, (out, err)
    rest, problems = stream.communicate(timeout=30)
    assert stream.returncode == 0, problems
    last = [json.loads(line) for line in rest.splitlines()][-1]
    assert (last["event"], last["state"], last["next"]) == ("status", "ok", "")
    out, err = plain.communicate(timeout=30)
    assert plain.returncode == 0 and "(apply): ok after" in out and "work: ok" in err, (out, err)


def test_a_run_that_is_killed_ends_the_watching_with_what_to_type(home: Path, start: Start, db: str) -> None:
    run = start("apply", "p.yml", "--yes")
    wait_until(lambda: is_noted(db))
    watch = start("status", "p.yml", "--watch", "--interval", "100ms", user="watcher")
    assert watch.stderr and watch.stderr.readline().startswith("run ")
    run.kill()
    out, err = watch.communicate(timeout=40)
    assert watch.returncode == 1 and "cut off" in out, (out, err)
    assert "cut off" in out and "last seen: work: command at work for" in out
    assert "next: planrun apply p.yml --resume" in out
