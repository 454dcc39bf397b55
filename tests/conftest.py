"""Databases for tests; tests/servers.py says where they come from."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.servers import Server

# On a machine with other work a slow example says nothing about the code.
settings.register_profile("planrun", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("planrun")

# Images of CI often forbid stored bytecode; then each process that a test starts would compile planrun anew (0.15 s).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# `nohup make test &` and CI systems start us with SIGINT and SIGHUP ignored, which every child would inherit: a
# signal that a test sends must do what it does in a terminal. What is not ignored here is the default in a child.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_caller() -> None:
    """The tests must not see a PGHOST, a DATABASE_URL or colour settings of the shell that runs them."""
    for name in list(os.environ):
        if name.startswith("PG") or name in ("DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "PLANRUN_STATE_DIR"):
            del os.environ[name]


@pytest.fixture(scope="session")
def pg_server(_no_settings_of_the_caller: None) -> Iterator[Server]:
    """One server for the whole session (under xdist: for each worker)."""
    with servers.provide() as server:
        yield server


@pytest.fixture(scope="session")
def _bury(pg_server: Server) -> Iterator[Callable[[str], None]]:
    """Drop databases late: at once it costs 100 ms, as the server polls while the test's backend exits."""
    dead: list[str] = []

    def bury(dbname: str, keep: int = 3) -> None:
        dead.append(dbname)
        while len(dead) > keep:
            pg_server.drop(dead.pop(0))

    yield bury
    for dbname in dead:
        pg_server.drop(dbname)


@pytest.fixture
def new_db(pg_server: Server, _bury: Callable[[str], None]) -> Iterator[Callable[[], str]]:
    """Create any number of fresh databases; each call returns a conninfo."""
    made: list[str] = []

    def make() -> str:
        made.append(f"t_{uuid.uuid4().hex[:12]}")
        return pg_server.create(made[-1])

    yield make
    for dbname in made:
        _bury(dbname)


@pytest.fixture
def db(new_db: Callable[[], str]) -> str:
    """The conninfo of a fresh database, for this test alone."""
    return new_db()


@pytest.fixture(scope="session")
def server_of(_no_settings_of_the_caller: None) -> Iterator[Callable[[int], Server]]:
    """Give the server of a major: one for the whole session, from the first test that asks for it."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def give(major: int) -> Server:
            if major not in servers.servers_here():
                servers.no_server(f"no PostgreSQL {major or 'server programs'} here")
            return stack.enter_context(servers.local(servers.servers_here()[major]))

        yield give


@pytest.fixture(params=sorted(servers.servers_here()) or [0], ids=lambda major: f"pg{major}")
def each_version(request: pytest.FixtureRequest, server_of: Callable[[int], Server]) -> Iterator[Server]:
    """The same test against every major that this machine has programs for; what it makes there is dropped."""
    server = server_of(request.param)
    yield server
    server.clear()


@pytest.fixture
def crashable(_no_settings_of_the_caller: None) -> Iterator[Server]:
    """A private server with durable settings that a test may kill9(), stop() and start()."""
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here to crash")
    with servers.local(settings=servers.DURABLE) as server:
        yield server
