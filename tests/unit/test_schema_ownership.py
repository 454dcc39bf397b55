"""Who may be believed in schema planrun, and which rights are missing for a move: the queries, on every version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.errors import TargetError
from runner.refresh.catalog.rights import refuse_without
from runner.refresh.schema_ownership import refuse_foreign
from runner.safesql.templates import Templates
from tests.servers import Server

SETUP = """
create role owner; create role member login; grant owner to member; create role stranger login;
grant create on database postgres to owner;
set role owner; create schema planrun; create table planrun.journal (n int); reset role;
create schema closed; create table closed.t (n int)
"""


class Asked:
    """Queries as one role."""

    def __init__(self, server: Server, role: str) -> None:
        self._conn = psycopg.connect(server.conninfo(user=role), autocommit=True, row_factory=dict_row)
        self._conn.execute("set search_path = ''")

    def __call__(self, text: str) -> list[dict[str, Any]]:
        cursor = self._conn.execute(text.encode())
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._conn.close()


@pytest.fixture
def roles(each_version: Server) -> Iterator[dict[str, Asked]]:
    with each_version.admin() as conn:
        for text in SETUP.split(";"):
            conn.execute(text.encode())
        made = {role: Asked(each_version, role) for role in ("postgres", "member", "stranger")}
        yield made
        for one in made.values():
            one.close()


def test_the_owner_a_member_and_nobody_else(roles: dict[str, Asked]) -> None:
    refuse_foreign(roles["member"])
    for role in ("stranger", "postgres"):  # a superuser is a member of all, and would run their code as a superuser
        with pytest.raises(
            TargetError, match=f"cannot be trusted by {role}: it belongs to owner; journal in it belongs to ow"
        ):
            refuse_foreign(roles[role])
        refuse_foreign(roles[role], looking=True)
    roles["postgres"]("alter schema planrun owner to postgres; alter table planrun.journal owner to postgres")
    for ask in roles.values():
        refuse_foreign(ask)
    if roles["postgres"]("show server_version_num")[0]["server_version_num"] >= "160000":
        roles["postgres"]("alter schema planrun owner to owner; grant owner to member with inherit false, set false")
        refuse_foreign(roles["member"])


def test_every_missing_right_is_named_with_what_gives_it(roles: dict[str, Asked]) -> None:
    template = Templates((resources.SQL,)).sql
    oid = int(roles["postgres"]("select 'closed.t'::regclass::oid::int8 as oid")[0]["oid"])
    wanted = {"use": ["closed"], "create": ["closed", "new"], "owners": ["owner"], "owned": [oid], "locked": [oid]}
    refuse_without(roles["postgres"], template, **wanted)  # type: ignore[arg-type]
    with pytest.raises(TargetError) as found:
        refuse_without(roles["stranger"], template, **wanted)  # type: ignore[arg-type]
    head, *rest = found.value.hint.split("; ")
    assert {head.removeprefix("a role that may do so runs: "), *rest} == {
        "grant usage on schema closed to stranger",
        "grant create on schema closed to stranger",
        "grant create on database postgres to stranger",
        "grant create on schema closed to owner",
        "grant postgres to stranger",
        "grant update on closed.t to stranger",
    }
    refuse_without(roles["stranger"], template)
