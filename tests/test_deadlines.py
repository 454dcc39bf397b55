"""A server, a pooler or a client that hangs: every command ends in time and says so, and no lock stays.

The fault proxy's `hang` keeps the bytes and acknowledges the packets, so that no keepalive notices it. What is tried
does little but wait, so that many of it are tried at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import conninfo

from runner import api
from runner.errors import PlanrunError
from runner.model import Plan
from runner.result import RunResult
from tests.commandline import Done, wait_for
from tests.faultproxy import FaultProxy, target_of
from tests.refreshes import PLAN, Before, Pair, shop, words_of
from tests.servers import Server

NewDb = Callable[[], str]
APPLY = ("apply", "plan.yml", "--yes")
LOADED = (*APPLY, "--until", "prepare")
RESUME = (*APPLY, "--resume")
QUICK = {"PLANRUN_ANSWER_TIMEOUT": "1s"}
LONG = 30
"""Seconds in which everything here ends; without deadlines it would hang for ever."""

BACKUP = "backup: {path: backups, prefix: users, format: copy}\n"
RESTORE = "name: r\nsteps: [{id: restore, uses: pg_restore, with: {from: backups, as_schema: other}}]\n"
SQL = "name: change\nsteps: [{id: add, uses: sql, with: {text: insert into users values (999)}}]\n"
SLEEP = "name: long\nsteps: [{id: wait, uses: sql, with: {text: lock table users; select pg_sleep(600)}}]\n"
HELD = PLAN.replace("uses: swap_tables", "uses: swap_tables, with: {hold_timeout: 1s}")


class Stage:
    """Databases, proxies and commands of one test; all of them go with it."""

    def __init__(self, server: Server, folder: Path, new_db: NewDb, stack: contextlib.ExitStack) -> None:
        self.server, self.folder, self.new_db, self.stack = server, folder, new_db, stack
        self.count = 0

    def pair(self, plan: str, *prepare: tuple[str, ...]) -> Pair:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        made = shop(folder, self.new_db, plan, orders=50)
        self.stack.callback(made.close)
        for words in prepare:
            made.ok(*words)
        return made

    def proxy(self, **switches: bytes) -> FaultProxy:
        made = self.stack.enter_context(FaultProxy(target_of(self.server.words)))
        for name, value in switches.items():
            setattr(made, name, value)
        return made


def through(proxy: FaultProxy, pair: Pair, *names: str) -> dict[str, str]:
    """Return the environment in which these connections (all when there is no name) lead through the proxy."""
    urls = {"PLANRUN_SOURCE_URL": pair.source, "PLANRUN_TARGET_URL": pair.target, "DATABASE_URL": pair.target}
    led = {
        name: conninfo.make_conninfo("", **proxy.words(words_of(url)), connect_timeout="2")
        for name, url in urls.items()
        if name in (names or urls)
    }
    return {**led, **QUICK}


@pytest.fixture
def stage(pg_server: Server, tmp_path: Path, new_db: NewDb) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        yield Stage(pg_server, tmp_path, new_db, stack)


def end(pair: Pair, process: subprocess.Popen[str], began: float) -> Done:
    done = pair.end(process)  # which also finds no child left
    assert time.monotonic() - began < LONG, done.output
    assert "Traceback" not in done.output, done.output
    return done


# ------------------------------------------------------------------ a server that hangs

Call = Callable[[Pair, dict[str, str]], RunResult | None]


def plan_of(pair: Pair) -> Plan:
    return api.load_plan(pair.folder / "plan.yml", env=pair.env)


def apply(pair: Pair, env: dict[str, str]) -> RunResult:
    return api.apply(plan_of(pair), env=env)


def resume(pair: Pair, env: dict[str, str]) -> RunResult:
    return api.apply(plan_of(pair), env=env, resume=True)


def diff(pair: Pair, env: dict[str, str]) -> RunResult:
    return api.diff(plan_of(pair), env=env)


def abort(pair: Pair, env: dict[str, str]) -> RunResult:
    return api.abort(plan_of(pair), env=env)


def history(pair: Pair, env: dict[str, str]) -> None:
    api.history(plan_of(pair), env=env)


def refreshes(pair: Pair, env: dict[str, str]) -> None:
    api.refreshes(plan_of(pair), env=env)


def lock_holder(pair: Pair, env: dict[str, str]) -> None:
    api.run_holder(plan_of(pair), env=env)


class Case(NamedTuple):
    """hang_on: the bytes at which nothing goes on. prepare: commands that are run before, undisturbed. then: a plan
    that is tried after them instead. resumes: whether the next command to type goes on."""

    plan: str
    call: Call
    hang_on: bytes
    prepare: tuple[tuple[str, ...], ...] = ()
    through: tuple[str, ...] = ()
    then: str = ""
    resumes: bool = False


CASES = {
    "diff": Case(PLAN, diff, b"pg_is_in_recovery"),
    "history": Case(PLAN, history, b"planrun.journal"),
    "status": Case(PLAN, refreshes, b"to_regclass"),
    "who is at work": Case(PLAN, lock_holder, b"pg_locks"),
    "lock": Case(SQL, apply, b"pg_try_advisory_lock"),
    "journal": Case(SQL, apply, b"insert into planrun.journal"),
    "statement": Case(SQL, apply, b"values (999)\0", resumes=True),
    "commit": Case(SQL, apply, b"", resumes=True),
    "pg_dump": Case(BACKUP, apply, b"COPY public.users", resumes=True),
    "restore": Case(BACKUP, apply, b"CREATE TABLE", (APPLY,), then=RESTORE, resumes=True),
    "source": Case(PLAN, apply, b"copy ", through=("PLANRUN_SOURCE_URL",), resumes=True),
    "target": Case(PLAN, apply, b"truncate only", through=("PLANRUN_TARGET_URL",), resumes=True),
    "swap": Case(HELD, resume, b"set local statement_timeout = 6000\0", (LOADED,), resumes=True),
    "abort": Case(PLAN, abort, b"drop schema", (LOADED,)),
}
SILENT = ("did not answer", "answers no more", "has not answered", "connection timeout expired")


def call(case: Case, pair: Pair, env: dict[str, str]) -> tuple[float, str, PlanrunError | None]:
    """Return how many seconds it took, the next command to type, and the error."""
    began = time.monotonic()
    try:
        result = case.call(pair, {**os.environ, **pair.env, **env})
    except PlanrunError as exc:
        return time.monotonic() - began, "", exc
    return time.monotonic() - began, result.next if result else "", result.error if result else None


@dataclass
class Tried:
    pair: Pair
    proxy: FaultProxy
    future: Future[tuple[float, str, PlanrunError | None]]


def begin(stage: Stage, pool: ThreadPoolExecutor, case: Case) -> Tried:
    pair, proxy = stage.pair(case.plan, *case.prepare), stage.proxy()
    proxy.hang_on, proxy.hang_after = case.hang_on or None, None if case.hang_on else b"commit\0"
    if case.then:
        pair.write(case.then)
    return Tried(pair, proxy, pool.submit(call, case, pair, through(proxy, pair, *case.through)))


def test_nothing_waits_for_ever_for_a_server_that_hangs(stage: Stage) -> None:
    with ThreadPoolExecutor(len(CASES)) as pool:
        tried = {name: begin(stage, pool, case) for name, case in CASES.items()}
        for name, one in tried.items():
            took, following, error = one.future.result()
            assert one.proxy.hang, f"{name} never came to where it was to hang: {error}"
            assert error and took < LONG, f"{name}: {error}"
            assert error.exit_code in ((75,) if name == "commit" else (1, 4)), f"{name}: {error}"
            assert any(words in str(error) for words in SILENT), f"{name}: {error}"
            assert following.endswith("--resume") == CASES[name].resumes, f"{name}: next is {following!r}"
            one.proxy.reset()
    target, commit = tried["target"].pair, tried["commit"].pair
    assert commit.ask("select count(*) from users where id = 999") == [(1,)]
    for pair in (commit, target):
        pair.ok(*RESUME)
    assert commit.ask("select count(*) from users where id = 999") == [(1,)], "the lost answer was looked up"
    assert target.ask("select state from planrun.refresh") == [("swapped",)]


def test_a_server_that_never_says_hello(stage: Stage) -> None:
    pair, proxy = stage.pair(PLAN), stage.proxy()
    proxy.hang = True
    began = time.monotonic()
    done = pair.here("status", "plan.yml", env=through(proxy, pair))
    assert done.code == 4 and "cannot connect: connection timeout expired" in done.output, done.output
    assert time.monotonic() - began < LONG


# ------------------------------------------------------------------ Ctrl-C, and clients that hang or vanish

BACKEND = "select pid from pg_stat_activity where datname = '{}' and query like '%pg_sleep(600)' and state = 'active'"


def backend(pair: Pair) -> list[tuple[int]]:
    """Return the process of the server that is asleep for planrun."""
    return pair.ask(BACKEND.format(words_of(pair.target)["dbname"]))


def test_one_ctrl_c_is_enough_before_a_server_that_hangs(stage: Stage) -> None:
    """The usual answer timeout of a minute has not passed; nothing of ours is left, also no pg_dump."""
    running: list[tuple[Pair, FaultProxy | None, subprocess.Popen[str]]] = []
    for plan, words in ((SQL, b"insert into planrun.journal"), (SLEEP, b"begin\0"), (BACKUP, b"COPY public.users")):
        pair, hanging = stage.pair(plan), stage.proxy(hang_on=words)
        process = pair.start(*APPLY, env={**through(hanging, pair), "PLANRUN_ANSWER_TIMEOUT": "60s"})
        running.append((pair, hanging, process))
    with contextlib.ExitStack() as stack:
        if stage.server.private:  # a process in a container cannot be stopped from here
            pair = stage.pair(SLEEP)
            running.append((pair, None, pair.start(*APPLY)))
            wait_for(lambda: backend(pair), 20)
            ((pid,),) = backend(pair)
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
        proxies = [proxy for _, proxy, _ in running if proxy]
        wait_for(lambda: all(proxy.hang for proxy in proxies), 20)
        for _, _, process in running:
            process.send_signal(signal.SIGINT)
        began = time.monotonic()
        for pair, _, process in running:
            done = end(pair, process, began)
            assert done.code == 130 and "interrupted by SIGINT" in done.output, done.output


STOP = f"""
import os, psycopg
real = psycopg.Connection.execute
def execute(conn, query, *args, **more):
    result = real(conn, query, *args, **more)
    if " rename to " in str(query).lower() and "backup_" in str(query):
        os.kill(os.getpid(), {int(signal.SIGSTOP)})
    return result
psycopg.Connection.execute = execute
"""


def test_the_locks_of_a_planrun_that_is_stopped_or_killed_do_not_stay(stage: Stage) -> None:
    killed, pair = stage.pair(SLEEP), stage.pair(HELD, LOADED)
    before = Before(pair)
    sleeping, swapping = killed.start(*APPLY), pair.start(*RESUME, before=STOP)
    wait_for(lambda: backend(killed), 20)
    sleeping.kill()
    killed.end(sleeping, killed=True)
    wait_for(lambda: is_stopped(swapping), 20)
    for db in (pair.target, killed.target):  # amid a statement a backend does not look at its client by itself
        with psycopg.connect(db, options="-c lock_timeout=20s") as reader:
            assert reader.execute("select count(*) from users").fetchone() == (200,)
    swapping.send_signal(signal.SIGCONT)
    done = end(pair, swapping, time.monotonic())
    assert done.code == 1 and "planrun was suspended for" in done.output, done.output
    assert "so the server released its locks; nothing was changed" in done.output, done.output
    assert before.changes() == ""
    pair.ok(*RESUME)
    assert pair.ask("select state from planrun.refresh") == [("swapped",)]


def is_stopped(process: subprocess.Popen[str]) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(process.pid)], capture_output=True, text=True, check=True)
    return told.stdout.startswith("T")


# ------------------------------------------------------------------ a diff


def test_a_diff_does_not_wait_for_long_behind_a_lock(stage: Stage) -> None:
    pair = stage.pair(PLAN)
    with psycopg.connect(pair.target, application_name="nightly job") as other:
        other.execute("lock table orders in access exclusive mode")
        began = time.monotonic()
        done = pair.here("diff", "plan.yml", env=QUICK)
        assert time.monotonic() - began < LONG
    assert done.code == 1, done.output
