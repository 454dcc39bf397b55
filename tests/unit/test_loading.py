"""One psql, one transaction: text goes in, answers come out, and without commit nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import SimpleNamespace

import psycopg
import pytest

from runner.backup.loading import Loading
from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError
from tests.servers import Server


@contextmanager
def start_psql(server: Server, db: str, cancel: Cancel | None = None) -> Iterator[Loading]:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    with Loading(words, {"PATH": "/usr/bin:/bin"}, server.programs, cancel or Cancel()) as made:
        yield made


def rows(db: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(db) as conn:
        return conn.execute(query.encode()).fetchall()


def test_what_is_committed_stays_and_its_number_is_known(pg_server: Server, db: str) -> None:
    with start_psql(pg_server, db) as psql:
        psql.run([b"create table public.t (n int);\n", b"", b"insert into public.t values (1), (2);\n"])
        assert psql.ask("select n, 'it''s' as text from public.t order by n") == [
            {"n": 1, "text": "it's"},
            {"n": 2, "text": "it's"},
        ]
        assert psql.ask("select 1 as one where false") == []
        psql.commit()
    assert rows(db, "select n from t") == [(1,), (2,)]
    assert rows(db, f"select pg_xact_status('{psql.xid}')") == [("committed",)]


def test_without_commit_nothing_stays(pg_server: Server, db: str) -> None:
    with start_psql(pg_server, db) as psql:
        psql.run([b"create table public.t (n int);\n"])
    assert rows(db, "select to_regclass('public.t')::text") == [(None,)]


def test_what_fails_is_told_in_the_words_of_psql(pg_server: Server, db: str) -> None:
    with pytest.raises(TargetError, match="nope"), start_psql(pg_server, db) as psql:
        psql.run([b"create table public.t (n int);\n", b"select * from public.nope;\n"])
    assert rows(db, "select to_regclass('public.t')::text") == [(None,)]


def test_a_dump_cannot_give_commands_to_psql(
    pg_server: Server, db: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    proof = tmp_path_factory.mktemp("x") / "proof"
    with pytest.raises(TargetError), start_psql(pg_server, db) as psql:
        psql.run([f"\\! touch {proof}\n".encode(), b"select 1;\n"])
    assert not proof.exists()


def test_it_is_stopped(pg_server: Server, db: str) -> None:
    cancel = Cancel()
    with pytest.raises(PlanrunError, match="stop"), start_psql(pg_server, db, cancel) as psql:
        cancel.cancel(PlanrunError("stop"))
        psql.run([b"select pg_catalog.pg_sleep(60);\n"])


def test_several_transactions_in_one_psql(pg_server: Server, db: str) -> None:
    with start_psql(pg_server, db) as psql:
        psql.run([b"create table public.t (n int);\n"])
        first = psql.xid
        psql.commit_and_begin()
        psql.run([b"insert into public.t values (1);\n"])
        assert psql.xid != first
    assert rows(db, "select n from t") == []


def test_a_line_that_was_cut_is_no_answer(pg_server: Server, db: str) -> None:
    """A psql that is killed while it writes leaves half of a line, which is no JSON."""
    with start_psql(pg_server, db) as psql:
        cut = [f"{psql._token} begin\n".encode(), b'{"xid": "7"}\n', b'{"xid": "12']
        other = Loading.__new__(Loading)
        other._token, other._lines = psql._token, SimpleQueue()
        other._child = SimpleNamespace(output=cut, finish=lambda: None)  # type: ignore[assignment]
        other._listen()
        answers = other._rows()
        assert next(answers) == {"xid": "7"}
        with pytest.raises(TargetError, match="psql ended too early") as found:
            next(answers)
        assert found.value.category == "connection"
