"""Whether another type of a column rewrites its table, against what the server does."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.run.type_changes import rewrites
from runner.safesql.lock_table import Certainty
from runner.safesql.statement_locks import statement_locks
from runner.safesql.templates import Templates
from tests import servers

COLUMNS = """
    create domain positive as int check (value > 0);
    create schema "Sales";
    create table "Sales"."T" (
        i int, b bigint, t text, v varchar(20), free varchar, c char(5), n numeric(10, 2), bits varbit(8), d positive,
        at timestamp(3), x xml, j json, "Mixed" varchar(5)
    );
    insert into "Sales"."T" (i) values (1)
"""
CHANGES = {
    "i type int": "no", "i type bigint": "yes", "i type text": "yes", "i type positive": "perhaps", "b type int": "yes",
    "t type varchar": "no", "t type varchar(10)": "yes", "t type text": "no", "v type varchar(40)": "no",
    "v type varchar(20)": "no", "v type varchar(10)": "yes", "v type varchar": "no", "v type text": "no",
    "free type varchar(10)": "yes", "free type text": "no", "c type text": "yes", "n type numeric(12, 2)": "perhaps",
    "n type numeric": "no", "bits type varbit(16)": "no", "bits type varbit(4)": "yes", "d type int": "perhaps",
    "at type timestamptz": "perhaps", "at type timestamp": "no", "x type text": "no", "j type jsonb": "yes",
    "t type text using t": "perhaps", "i type int[] using array[i]": "perhaps", '"Mixed" type varchar(6)': "no",
}  # fmt: skip


@pytest.mark.parametrize("major", servers.majors_to_compare())
def test_the_catalog_decides_as_the_server_does(major: int) -> None:
    template = Templates((resources.SQL,)).sql
    with (
        servers.local(servers.servers_here()[major]) as server,
        psycopg.connect(server.create("types"), row_factory=dict_row) as connection,
    ):
        connection.execute(COLUMNS)
        connection.execute('set search_path = public, "Sales"')
        connection.commit()
        told = {change: use_of(change) for change in CHANGES}
        found = rewrites(list(told.values()), partial(ask, connection), template)
        assert {change: found[use] for change, use in told.items()} == CHANGES
        for change in CHANGES:
            before = file_of(connection)
            connection.execute(f'alter table "Sales"."T" alter column {change}'.encode())
            anew = file_of(connection) != before
            connection.rollback()
            assert CHANGES[change] in ("perhaps", "yes" if anew else "no"), change


def use_of(change: str) -> Any:
    (one,) = statement_locks(f'alter table "T" alter column {change}')
    return one.uses[0]


def ask(connection: psycopg.Connection[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    return connection.execute(text.encode()).fetchall()


def file_of(connection: psycopg.Connection[dict[str, Any]]) -> Any:
    return ask(connection, "select relfilenode from pg_class where relname = 'T'")


def test_what_is_not_there_is_left_out(db: str) -> None:
    template = Templates((resources.SQL,)).sql
    with psycopg.connect(db, row_factory=dict_row) as connection:
        assert rewrites([use_of("i type int")], partial(ask, connection), template) == {}
        assert rewrites([], partial(ask, connection), template) == {}
    assert Certainty.PERHAPS.value == statement_locks("alter table t alter a type int")[0].rewrite
