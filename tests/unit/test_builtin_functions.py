"""The names that every PostgreSQL has, against the catalog of a server."""

from __future__ import annotations

import psycopg

from runner.safesql.builtin_functions import Volatility, is_harmless, is_type, volatility
from tests.get_builtin_names import FUNCTIONS, TYPES


def test_the_names_are_those_of_the_server(db: str) -> None:
    with psycopg.connect(db) as connection:
        functions = connection.execute(FUNCTIONS).fetchall()
        types = connection.execute(TYPES).fetchall()
    assert len(functions) > 1000 and len(types) > 70
    for name, is_volatile in functions:
        found = volatility([name])
        assert found is Volatility.VOLATILE if is_volatile else found is not Volatility.UNKNOWN, name
    assert all(is_type([name]) for (name,) in types)


def test_a_name_in_another_schema_is_a_users() -> None:
    assert volatility(["app", "lower"]) is Volatility.UNKNOWN
    assert not is_type(["app", "text"])
    assert is_type(["pg_catalog", "int4"])


def test_functions_that_run_a_text_are_not_harmless() -> None:
    assert is_harmless(["lower"]) and is_harmless(["pg_catalog", "nextval"])
    assert not is_harmless(["query_to_xml"]) and not is_harmless(["ts_stat"]) and not is_harmless(["schema_to_xml"])
