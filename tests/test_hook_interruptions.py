"""Hooks of a run that a signal ends, and of one that SIGKILL ends at each event of its hooks.

PLANRUN_HOOK_KILLS=1 kills at every event, and PLANRUN_HOOKS=100 draws more plans in unit/test_hooks.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.commandline import ROOT, House, wait_for

PLAN = """
name: hooked
steps:
  - {id: make, uses: sql, with: {text: create table if not exists t (what text)}}
  - {id: work, uses: command, with: {argv: [sh, -c, "touch at_work; test -e hurry || sleep 30"]}}
on_failure:
  - {id: page, uses: sql, with: {text: "insert into t values ({{ s }})", values: {s: "${run.state}"}}}
  - {id: wait, uses: command, with: {argv: [sh, -c, "touch waiting; test -e hurry || test ! -e slow || sleep 30"]}}
on_exit:
  - {id: bye, uses: sql, with: {text: "insert into t values ('bye')"}}
"""


@pytest.fixture
def house(tmp_path: Path, db: str) -> Any:
    made = House(tmp_path, db, PLAN)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def rows(db: str) -> list[str]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute("select what from t").fetchall()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_its_hooks_follow_in_each_attempt(
    house: House, number: signal.Signals, code: int
) -> None:
    process = house.start("apply", "plan.yml", "--yes")
    wait_for(lambda: (house.folder / "at_work").exists())
    process.send_signal(number)
    done = house.end(process)
    assert done.code == code, done.output
    assert rows(house.db) == ["interrupted", "bye"]
    assert "the run was interrupted; on_failure and on_exit follow" in done.err
    assert "next: planrun apply plan.yml --resume" in done.out
    (house.folder / "hurry").touch()
    again = house.run("apply", "plan.yml", "--yes", "--resume")
    assert again.code == 0, again.output
    assert rows(house.db) == ["interrupted", "bye", "bye"], "a run that succeeds has no failure hooks"


def test_a_second_signal_ends_the_hooks_and_the_run_ends_as_interrupted(house: House) -> None:
    (house.folder / "slow").touch()
    process = house.start("apply", "plan.yml", "--yes")
    wait_for(lambda: (house.folder / "at_work").exists())
    process.send_signal(signal.SIGINT)
    wait_for(lambda: (house.folder / "waiting").exists())
    time.sleep(0.4)  # two signals within 0.3 s are one
    process.send_signal(signal.SIGINT)
    done = house.end(process)
    assert done.code == 130, done.output
    assert "SIGINT: stopping what follows the run; send it again to quit at once" in done.err
    assert rows(house.db) == ["interrupted"]
    assert "warning: hooks: PR0513 interrupted by SIGINT: on_exit did not run" in done.out
    status = house.run("status", "plan.yml")
    assert "on_failure.wait: failed: PR0513 interrupted by SIGINT" in status.out and "interrupted after" in status.out


# ------------------------------------------------------------------ SIGKILL

KILLED = """
name: NAME
steps:
  - {id: make, uses: sql, with: {text: "insert into t values ('NAME make')"}}
  - {id: look, uses: query, with: {text: "select 1 as n"}}
  - {id: check, uses: check, with: {text: "select 'no' where not GOOD"}}
on_success: &hooks
  - id: a
    uses: sql
    with:
      text: "insert into t values ('NAME a ' || {{ state }} || ' ' || {{ count }})"
      values: {state: "${run.state}", count: "${steps.make.count}"}
  - id: g
    steps:
      - {id: b, uses: sql, with: {text: "insert into t values ('NAME b ' || {{ s }})", values: {s: "${run.step}"}}}
on_failure: *hooks
on_exit:
  - {id: c, when: make.ok, uses: sql, with: {text: "insert into t values ('NAME c')"}}
"""

SWEEP = '''
import json, os, signal, sys
from pathlib import Path
from runner import api
from runner.events import HooksBegan, RunEnded
from runner.planfile import open_plan

def attempt(plan, kill, resume):
    """Run in a process of its own that kills itself at event `kill` of its hooks, 0: at none; return its exit."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = []
    def listen(event):
        if not isinstance(event, RunEnded) and (seen or isinstance(event, HooksBegan)):  # then nothing is left
            seen.append(event)
            if len(seen) == kill:
                os.kill(os.getpid(), signal.SIGKILL)
    try:
        result = api.apply(plan, resume=resume, on_event=listen)
        code = {"ok": 10, "failed": 20}[result.state]
    except BaseException as exc:
        print(repr(exc), file=sys.stderr)
        code = 99
    os._exit(code)

for text, name in json.loads(sys.argv[1]):
    Path(f"{name}.yml").write_text(text)
    plan = open_plan(Path(f"{name}.yml"), env=os.environ)
    kill, codes = int(name.split("_")[1]), []
    codes.append(attempt(plan, kill, False))
    if codes[-1] < 0:
        codes.append(attempt(plan, int(name.split("_")[2]), True))
    while codes[-1] < 0:
        codes.append(attempt(plan, 0, True))
    print(json.dumps([name, codes]), flush=True)
'''

EVENTS = 14
"""More than a run has from the event hooks_began on."""

POINTS = range(1, EVENTS) if os.environ.get("PLANRUN_HOOK_KILLS") else (1, 6, 10)


def sweep(folder: Path, db: str, points: list[tuple[int, int]], *, good: bool) -> dict[str, list[int]]:
    """Kill a run at each (event of its hooks, event of the hooks of its resume), resume it, and return the exits."""
    plans = []
    for first, second in points:
        name = f"p_{first}_{second}"
        plans.append([KILLED.replace("NAME", name).replace("GOOD", "true" if good else "false"), name])
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, json.dumps(plans)],
        cwd=folder, env={**os.environ, "DATABASE_URL": db, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_a_good_run_killed_in_its_hooks_is_finished_and_nothing_is_done_twice(tmp_path: Path, db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table t (what text)")
    points = [(point, 0) for point in POINTS] + [(3, 2), (4, 3)]
    ended = sweep(tmp_path, db, points, good=True)
    killed = 0
    for name, codes in ended.items():
        assert codes[-1] == 10, (name, codes)
        killed += codes.count(-9)
        assert [one for one in rows(db) if one.startswith(f"{name} ")] == [
            f"{name} make", f"{name} a ok 1", f"{name} b ", f"{name} c",
        ], (name, codes)  # fmt: skip
    assert killed >= min(len(POINTS), 10)


def test_a_failed_run_killed_in_its_hooks_finishes_them_and_then_continues(tmp_path: Path, db: str) -> None:
    """The resume ends the first attempt, with each hook once; then it is an attempt of its own, with its own hooks."""
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table t (what text)")
    points = [(point, 0) for point in POINTS[::2]] + [(3, 3)]
    ended = sweep(tmp_path, db, points, good=False)
    for name, codes in ended.items():
        assert codes[-1] == 20, (name, codes)
        attempts = 2 if codes[0] == -9 else 1
        hooks = [f"{name} a failed 1", f"{name} b check", f"{name} c"]
        assert [one for one in rows(db) if one.startswith(f"{name} ")] == [f"{name} make", *hooks * attempts], codes


def test_status_says_where_a_run_was_cut_off_and_a_resume_runs_only_the_rest(house: House) -> None:
    house.write(PLAN.replace('[sh, -c, "touch at_work; test -e hurry || sleep 30"]', "['false']"))
    (house.folder / "slow").touch()
    process = house.start("apply", "plan.yml", "--yes")
    wait_for(lambda: (house.folder / "waiting").exists())
    process.kill()
    house.end(process, killed=True)
    status = house.run("status", "plan.yml")
    assert "its steps had ended (failed); it was cut off while on_failure.wait was at work" in status.out
    assert "next: planrun apply plan.yml --resume" in status.out
    (house.folder / "hurry").touch()
    again = house.run("apply", "plan.yml", "--yes", "--resume")
    assert again.code == 1
    assert rows(house.db) == ["failed", "bye", "failed", "bye"]
    assert "on_failure.page: ok, (by an earlier attempt)" in again.err, again.err
    assert "done before, not repeated: make, on_failure.page" in again.err
    assert "hooks: the steps had ended (failed); the hooks that are left run first" in again.err
    assert "on_failure.wait: cut off at work; its program may have done its work; it runs again" in again.err
    explained = house.run("explain", "plan.yml", "last", "on_exit.bye")
    assert "on_exit.bye  sql  [ok]" in explained.out
