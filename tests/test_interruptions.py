"""Ctrl-C, SIGTERM and SIGKILL in a real process, at work on a real PostgreSQL, and what is there afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parents[1]

SLOW = """
name: slow
steps:
  - {id: make, uses: sql, with: {text: create table t (n int)}}
  - {id: work, uses: sql, with: {text: "insert into t values (1); select pg_sleep(0.2); select pg_sleep(case when
      exists (select from pg_class where relname = 'hurry') then 0 else 60 end)"}}
  - {id: tidy, when: work.failed, uses: sql, with: {text: insert into t values (99)}}
  - {id: last, when: work.ok, uses: sql, with: {text: insert into t values (2)}}
"""

CHILD = """
name: child
steps:
  - {id: wait, uses: command, with: {argv: [sh, -c, "sleep 61.7; true"]}}
"""


class Planrun:
    """`planrun` in a process of its own; `until` waits for a line of its stderr."""

    def __init__(self, home: Path, db: str, *args: str) -> None:
        env = {**os.environ, "DATABASE_URL": db, "PLANRUN_STATE_DIR": str(home / "state"), "CI": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner", *args],
            env={**env, "PYTHONPATH": str(ROOT)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.output = ""

    def until(self, words: str) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.output += line
            if words in line:
                return
        raise AssertionError(f"{words!r} was not output:\n{self.output}")

    def end(self) -> int:
        out, err = self.process.communicate(timeout=30)
        self.output += err + out
        return self.process.returncode


Start = Callable[..., Planrun]


@pytest.fixture
def start(tmp_path: Path, db: str) -> Any:
    made: list[Planrun] = []

    def start_plan(plan: str, *args: str) -> Planrun:
        (tmp_path / "plan.yml").write_text(plan)
        made.append(Planrun(tmp_path, db, *args))
        return made[-1]

    yield start_plan
    for one in made:
        one.process.kill()
        one.process.communicate()


def rows(db: str, query: str) -> list[Any]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute(query.encode()).fetchall()]


SLEEPING = """
select pid from pg_stat_activity
where query like '%pg_sleep(case%' and pid <> pg_backend_pid() and state = 'active'
"""


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_rolls_back_the_statement_and_says_how_to_resume(
    start: Start, db: str, number: signal.Signals, code: int
) -> None:
    run = start(SLOW, "apply", "plan.yml", "--yes")
    run.until("work: sql begins")
    wait_for(lambda: bool(rows(db, SLEEPING)))
    began = time.monotonic()
    run.process.send_signal(number)
    assert run.end() == code, run.output
    assert time.monotonic() - began < 5
    assert f"interrupted by {number.name}" in run.output
    assert "next: planrun apply plan.yml --resume" in run.output
    assert rows(db, SLEEPING) == []
    assert rows(db, "select n from t") == []

    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table hurry ()")
    again = start(SLOW, "apply", "plan.yml", "--yes", "--resume")
    assert again.end() == 0, again.output
    assert rows(db, "select n from t order by n") == [1, 2]


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(start: Start, db: str) -> None:
    """`planrun apply ... &` in a script: a Ctrl-C for the script is not for planrun; SIGTERM still is."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child inherits that
    try:
        run = start(SLOW, "apply", "plan.yml", "--yes")
    finally:
        signal.signal(signal.SIGINT, before)
    run.until("work: sql begins")
    wait_for(lambda: bool(rows(db, SLEEPING)))
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143, run.output
    assert "interrupted by SIGTERM" in run.output and "SIGINT" not in run.output


def test_a_signal_that_comes_twice_at_once_is_one(start: Start, db: str) -> None:
    """`timeout` and some supervisors send it to the process, and to its group."""
    run = start(SLOW, "apply", "plan.yml", "--yes")
    run.until("work: sql begins")
    wait_for(lambda: bool(rows(db, SLEEPING)))
    run.process.send_signal(signal.SIGTERM)
    time.sleep(0.02)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143, run.output
    assert "SIGTERM: stopping and rolling back" in run.output and "next: planrun apply plan.yml --resume" in run.output


def test_killed_in_the_middle_the_journal_knows_and_resume_finishes(start: Start, db: str) -> None:
    run = start(SLOW, "apply", "plan.yml", "--yes")
    run.until("work: sql begins")
    wait_for(lambda: bool(rows(db, SLEEPING)))
    run.process.kill()
    run.end()
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(case%'"
                     " and pid <> pg_backend_pid()")  # fmt: skip
        conn.execute("create table hurry ()")
    status = start(SLOW, "status", "plan.yml")
    assert status.end() == 0
    assert "cut off" in status.output and "while work was at work" in status.output
    assert "next: planrun apply plan.yml --resume" in status.output
    again = start(SLOW, "apply", "plan.yml", "--yes", "--resume")
    assert again.end() == 0, again.output
    assert rows(db, "select n from t order by n") == [1, 2]


def test_a_child_does_not_outlive_the_interruption(start: Start) -> None:
    run = start(CHILD, "apply", "plan.yml", "--yes")
    run.until("wait: command begins")
    wait_for(lambda: _sleeps() != [])
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.output
    assert _sleeps() == []


def test_neither_a_child_nor_its_own_children_outlive_a_kill(start: Start) -> None:
    run = start(CHILD, "apply", "plan.yml", "--yes")
    run.until("wait: command begins")
    wait_for(lambda: _sleeps() != [])
    run.process.kill()
    run.end()
    wait_for(lambda: _sleeps() == [])


def _sleeps() -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if line.strip().endswith("sleep 61.7")]
