"""The faults of tests/faultproxy.py are what psycopg and pg_dump would see of a bad network."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.faultproxy import FaultProxy, target_of
from tests.servers import Server


@pytest.fixture
def proxy(db: str) -> Iterator[FaultProxy]:
    with FaultProxy(target_of({k: str(v) for k, v in conninfo_to_dict(db).items()})) as running:
        yield running


@pytest.fixture
def through(db: str, proxy: FaultProxy) -> str:
    words = {name: str(value) for name, value in conninfo_to_dict(db).items()}
    return make_conninfo(**proxy.words(words))


def test_it_forwards(through: str, proxy: FaultProxy) -> None:
    with psycopg.connect(through) as connection:
        assert connection.execute("select repeat('x', 1000000)").fetchone() == ("x" * 1000000,)
    assert proxy.connections == 1


def test_latency_and_rate(through: str, proxy: FaultProxy) -> None:
    with psycopg.connect(through) as connection:
        proxy.latency = 0.1
        began = time.monotonic()
        connection.execute("select 1")
        assert time.monotonic() - began >= 0.2
        proxy.latency, proxy.rate = 0, 1_000_000
        began = time.monotonic()
        connection.execute("select repeat('x', 300000)")
        assert time.monotonic() - began >= 0.3
        proxy.rate = None


def test_reset_cuts_what_is_open(through: str, proxy: FaultProxy) -> None:
    with psycopg.connect(through) as connection:
        connection.execute("select 1")
        proxy.reset()
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("select 1")
        assert caught.value.sqlstate is None
    with psycopg.connect(through) as connection:
        connection.execute("select 1")


def test_refuse(through: str, proxy: FaultProxy) -> None:
    proxy.refuse = True
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(through)


def test_hang_at_connect_ends_by_the_timeout(through: str, proxy: FaultProxy) -> None:
    proxy.hang = True
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(through, connect_timeout=2)
    proxy.hang = False


def test_a_hang_ends_when_it_is_switched_off(through: str, proxy: FaultProxy) -> None:
    with psycopg.connect(through) as connection:
        proxy.hang = True
        timer = threading.Timer(0.3, setattr, (proxy, "hang", False))
        timer.start()
        assert connection.execute("select 1").fetchone() == (1,)
        timer.join()


def test_a_commit_that_never_arrived(through: str, db: str, proxy: FaultProxy) -> None:
    assert not _survives(through, db, proxy, "cut_on")


def test_a_commit_whose_answer_was_lost(through: str, db: str, proxy: FaultProxy) -> None:
    assert _survives(through, db, proxy, "swallow_on")


def _survives(through: str, db: str, proxy: FaultProxy, fault: str) -> bool:
    """Create a table with that fault on COMMIT: the client sees the same error either way."""
    with psycopg.connect(through, autocommit=True) as connection:
        connection.execute("begin")
        connection.execute("create table made ()")
        setattr(proxy, fault, b"COMMIT")
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("COMMIT")
        assert caught.value.sqlstate is None
    with psycopg.connect(db) as straight:
        row = straight.execute("select to_regclass('made') is not null").fetchone()
        assert row
        return bool(row[0])


def test_pg_dump_sees_a_cut(through: str, db: str, proxy: FaultProxy, pg_server: Server) -> None:
    with psycopg.connect(db) as connection:
        connection.execute("create table big as select repeat('x', 1000) from generate_series(1, 2000)")
    proxy.cut_after = 1_000_000
    argv = [pg_server.programs.tool("pg_dump"), "-d", through, "-f", "/dev/null"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1
    assert "server closed the connection" in done.stderr or "reset" in done.stderr


def test_a_server_that_is_not_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        FaultProxy(str(tmp_path_factory.mktemp("x") / "none")) as proxy,
        pytest.raises(psycopg.OperationalError),
    ):
        psycopg.connect(host="127.0.0.1", port=proxy.port, sslmode="disable")


def test_where_words_lead() -> None:
    assert target_of({"host": "/run/x", "port": "5433"}) == "/run/x/.s.PGSQL.5433"
    assert target_of({"host": "127.0.0.1"}) == ("127.0.0.1", 5432)
