"""Which database it is about: the line, where it was taken from, and variables that nobody reads."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from psycopg import conninfo

from runner.database.connections import Connections
from runner.database.database_line import Place, expect
from runner.errors import ConnectError

URL = "postgresql://app@db1/prod"


@pytest.mark.parametrize(
    ("declared", "env", "lines"),
    [
        ({"target": {}}, {"PLANRUN_TARGET_URL": URL}, ["target: prod at db1:5432 as app, from PLANRUN_TARGET_URL"]),
        (
            {"source": {"service": "staging"}, "target": {"host": "h", "dbname": "d", "user": "u"}},
            {},
            ["target: d at h:5432 as u, from the plan", "source: service staging, from service staging of the plan"],
        ),
        ({}, {"DATABASE_URL": URL}, ["target: prod at db1:5432 as app, from DATABASE_URL"]),
        (
            {},
            {"DATABASE_URL": URL, "PGDATABASE": "other"},
            ["target: prod at db1:5432 as app, from DATABASE_URL (not from PGDATABASE, which is set, too)"],
        ),
        (
            {},
            {"DATABASE_URL": "postgresql+asyncpg://app@db1/prod?schema=public&pgbouncer=true&sslmode=disable"},
            ["target: prod at db1:5432 as app, from DATABASE_URL (without schema, pgbouncer)"],
        ),
        (
            {},
            {"DATABASE_URL": "postgresql://app@db1/prod?shcema=public"},
            [
                "target: DATABASE_URL is not a connection URL or a list of libpq parameters: "
                "libpq knows no parameter shcema"
            ],
        ),
        (
            {},
            {"DATABASE_URL": "jdbc:postgresql://db1/prod"},
            ["target: DATABASE_URL is not a connection URL or a list of libpq parameters: this is a URL of JDBC"],
        ),
        ({}, {"PGHOST": "h", "PGUSER": "u"}, ["target: u at h:5432 as u, from PGHOST, PGUSER"]),
        (
            {"target": {"dbname": "d"}},
            {"PGHOST": "h", "PGUSER": "u", "PGPORT": "7"},
            ["target: d at h:7 as u, from the plan, PGHOST, PGPORT, PGUSER"],
        ),
    ],
)
def test_lines(declared: Mapping[str, Mapping[str, str]], env: Mapping[str, str], lines: list[str]) -> None:
    assert list(Connections(declared, env).lines()) == lines


def test_what_an_open_connection_says_goes_first(db: str) -> None:
    words = conninfo.conninfo_to_dict(db)
    connections = Connections({}, {"DATABASE_URL": db})
    connections.open().close()
    assert connections.line().startswith(f"target: {words['dbname']} at {words['host']}:{words['port']} as ")


def test_the_service_of_the_environment_is_named() -> None:
    assert expect({}, {"PGSERVICE": "x"}) is None
    assert Connections({}, {"PGSERVICE": "x"}).line() == "target: the service of PGSERVICE, from PGSERVICE"
    assert str(Place("d", "h", "1", "u")) == "d at h:1 as u"


@pytest.mark.parametrize(
    ("declared", "variable", "message"),
    [
        ({}, "PLANRUN_TARGET_URL", "this plan has no connection target"),
        ({"source": {}}, "PLANRUN_TARGET_URL", "this plan has no connection target"),
        ({"target": {}}, "PLANRUN_TRAGET_URL", "there is target"),
    ],
)
def test_a_variable_that_nobody_reads_is_an_error(
    declared: Mapping[str, dict[str, str]], variable: str, message: str
) -> None:
    with pytest.raises(ConnectError, match=message):
        Connections(declared, {variable: URL}).refuse_unused()


def test_variables_that_are_read_or_are_another_plans_are_not() -> None:
    Connections({"target": {}}, {"PLANRUN_TARGET_URL": URL, "PLANRUN_REPORTS_URL": URL}).refuse_unused()
    Connections({}, {"PLANRUN_TARGET_URL": URL, "DATABASE_URL": URL}).refuse_unused()


def test_an_error_says_which_connection() -> None:
    with pytest.raises(
        ConnectError, match=r"target: d at 127.0.0.1:1 as u, from PLANRUN_TARGET_URL: PR0401 cannot connect"
    ):
        Connections({"target": {}}, {"PLANRUN_TARGET_URL": "postgresql://u@127.0.0.1:1/d"}).open("target")
