"""What a swap does under its locks, and what it does before them, where nobody is held up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.refresh.catalog.facts import Catalog
from runner.refresh.catalog.relations import Relation
from runner.refresh.swap import renames
from runner.safesql.templates import Templates
from tests import servers
from tests.refreshes import Pair

NewDb = Callable[[], str]
TABLES = """
    create table {n} (id serial primary key, v text unique, n int);
    create index on {n} (n);
    create statistics {n}_st on v, n from {n};
    insert into {n} (v, n) select 'v' || g, g from generate_series(1, 3) as g;
"""
NOBODY_WAITS = {"ShareUpdateExclusiveLock"}
"""Of lock modes on an index: it conflicts with no SELECT, INSERT, UPDATE or DELETE."""


def parts(conn: psycopg.Connection[Any], query: str) -> list[dict[str, Any]]:
    return [{"oid": oid, "schema": "public", "name": name} for oid, name in conn.execute(query.encode())]


@pytest.mark.parametrize("major", [14, 18])
def test_indexes_and_statistics_change_names_under_locks_that_hold_up_nobody(major: int) -> None:
    if major not in servers.servers_here():
        servers.no_server(f"no PostgreSQL {major} here")
    with servers.local(servers.servers_here()[major]) as server, psycopg.connect(url := server.create("d")) as conn:
        conn.execute(TABLES.format(n="a").encode())
        conn.commit()
        indexes = parts(conn, "select indexrelid::int8, indexrelid::regclass::text from pg_index "
                                   "where indrelid = 'public.a'::regclass")  # fmt: skip
        statistics = parts(conn, "select oid::int8, stxname::text from pg_statistic_ext")
        table = Relation(oid=1, schema="public", name="a", kind="r", owner="o", indexes=indexes, statistics=statistics)
        move = renames.out(table, "public", lambda name: f"backup_{name}", {"public": {"a"}})
        texts = list(renames.leave_before(move))
        assert len(texts) == 4, "primary key, unique constraint, index, statistics"
        conn.rollback()
        conn.execute(";".join(texts).encode())
        held: dict[str, list[str]] = dict(conn.execute(
            "select c.relname, array_agg(l.mode) from pg_locks as l join pg_class as c on c.oid = l.relation "
            "join pg_namespace as n on n.oid = c.relnamespace "
            "where l.pid = pg_backend_pid() and n.nspname = 'public' group by 1"
        ).fetchall())  # fmt: skip
        assert held.keys() == {"backup_a_pkey", "backup_a_v_key", "backup_a_n_idx"}, "and not the table"
        assert {mode for modes in held.values() for mode in modes} == NOBODY_WAITS
        with psycopg.connect(url, options="-c lock_timeout=2s") as other:
            other.execute("insert into a (v) values ('v1') on conflict on constraint a_v_key do update set n = 7")
            other.execute("delete from a where id = 2")
            assert other.execute("select n from a where v = 'v1'").fetchall() == [(7,)]


# ------------------------------------------------------------------ under the locks


@contextmanager
def record_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """Record what planrun sends from this process, with the backend that it is sent to."""
    sent: list[tuple[int, str]] = []
    execute = psycopg.Connection.execute

    def record(self: psycopg.Connection[Any], query: Any, *args: Any, **given: Any) -> Any:
        sent.append((self.info.backend_pid, str(query)))
        return execute(self, query, *args, **given)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", record)
        yield sent


def under_the_locks(sent: list[tuple[int, str]]) -> list[str]:
    """Return the messages of an exchange after its LOCK TABLE, up to the COMMIT."""
    start = next(n for n, (_, text) in enumerate(sent) if text.startswith("lock table"))
    pid = sent[start][0]
    mine = [text for who, text in sent[start + 1 :] if who == pid]
    return mine[: next(n for n, text in enumerate(mine) if text.endswith("commit")) + 1]


def statements(text: str) -> list[str]:
    return [one for one in text.split(";\n") if one.strip()]


@pytest.mark.parametrize("count", [2, 10])
def test_the_locks_are_held_for_three_messages_and_six_statements_for_each_table(
    count: int, new_db: NewDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(*(TABLES.format(n=f"t{at}") for at in range(count)))
    pair.apply("--until", "prepare")
    with record_statements(monkeypatch) as sent:
        pair.apply("--resume")
    check, work, end = under_the_locks(sent)
    assert check == "execute planrun_check", "one query of the catalog"
    own = [text for pid, text in sent if (pid, check) in sent]
    assert own.index("explain execute planrun_check") < own.index(check, own.index(check) + 1), "its plan is there"
    assert end.startswith("insert into planrun.journal") and end.endswith("commit")
    assert len(statements(work)) == 6 * count + 2, "table and sequence twice, the sequence's value, the marker"
    assert (
        "set schema" not in work and "index" not in work and "statistics" not in work and "planrun.refresh" not in work
    )

    with record_statements(monkeypatch) as sent:
        pair.ok("rollback", "plan.yml", "--yes")
    check, work, end = under_the_locks(sent)
    assert check == "execute planrun_check" and end.endswith("commit") and "planrun.refresh" not in work


# ------------------------------------------------------------------ the check


class Reader:
    """planrun's queries on one connection."""

    plan = "p"

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self.sql = Templates((resources.SQL,)).sql

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        return self._conn.cursor(row_factory=dict_row).execute(text.encode()).fetchall()


def test_the_check_knows_the_names_that_the_swap_gives_and_no_others(db: str) -> None:
    """Two indexes that exchanged their names are not taken for those that were renamed."""
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(TABLES.format(n="a").encode())
        named = conn.execute("select relname, oid::int8 from pg_class where relname ~ '^a(_|$)'").fetchall()
        oids = {str(name): int(oid) for name, oid in named}
        renamed = {oids[name]: (name, f"backup_{name}") for name in ("a_pkey", "a_v_key", "a_n_idx")}
        reader = Reader(conn)
        check = Catalog(reader, "", conn.info.server_version // 10000).change_query([oids["a"]], renamed)

        def find_changes(*names: str) -> list[dict[str, Any]]:
            """Return what the check finds when the indexes, in the order of `renamed`, have these names."""
            conn.execute("begin")
            for number, old in enumerate(("a_pkey", "a_v_key", "a_n_idx")):
                conn.execute(f"alter index {old} rename to other_{number}".encode())
            for number, new in enumerate(names):
                conn.execute(f"alter index other_{number} rename to {new}".encode())
            rows = reader.rows(check)
            conn.execute("rollback")
            return rows

        assert reader.rows(check) == []
        assert find_changes("backup_a_pkey", "backup_a_v_key", "backup_a_n_idx") == []
        assert find_changes("a_pkey", "backup_a_v_key", "a_n_idx") == []
        changed = [{"what": "a changed since this was planned"}]
        assert find_changes("backup_a_pkey", "backup_a_n_idx", "backup_a_v_key") == changed
        assert find_changes("a_pkey", "a_n_idx", "a_v_key") == changed
        assert find_changes("a_pkey", "a_v_key", "late") == changed
