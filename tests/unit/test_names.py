"""Names of tables as files, as patterns and as a plan writes them."""

from __future__ import annotations

import os
import re
import subprocess

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from runner.names import file_names, glob_regex, pattern, patterns
from runner.table_name import TableName
from tests.servers import Server

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
TABLES = st.lists(st.builds(TableName, NAMES, NAMES), unique=True, max_size=8)


@given(TABLES)
def test_every_table_gets_a_file_name_of_its_own_on_any_file_system(tables: list[TableName]) -> None:
    made = file_names(tables, ".sql.zst")
    assert set(made) == set(tables)
    assert len({name.casefold() for name in made.values()}) == len(tables)
    for name in made.values():
        assert len(name.encode()) <= 255 and name[0] not in ".-"
        assert not set(name) & set('/\\\0\n\r*?"<>|: ')


@given(TABLES)
def test_file_names_do_not_depend_on_the_order(tables: list[TableName]) -> None:
    assert file_names(tables, ".sql") == file_names(tables[::-1], ".sql")


def test_ordinary_names_stay_as_they_are() -> None:
    assert file_names([TableName("public", "_cdc_users"), TableName("sales", "Größe$1")], ".sql") == {
        ("public", "_cdc_users"): "_cdc_users.sql",
        ("sales", "Größe$1"): "Größe$1.sql",
    }


@given(NAMES, NAMES)
def test_a_quoted_name_is_read_as_it_was_written(schema: str, name: str) -> None:
    assert TableName.parse(pattern(schema, name)) == (schema, name)


@given(NAMES)
def test_a_glob_without_special_characters_matches_that_name_alone(name: str) -> None:
    plain = re.sub(r"[*?\[]", "x", name)
    assert re.fullmatch(glob_regex(plain)[1:-1], plain, re.DOTALL)


def test_a_pattern_for_many_tables_means_exactly_them(each_version: Server) -> None:
    odd = ["a", "B", "a|b", 'x"y', "d.o", "s*", "q?", "$x", "(p)", "[b]", "back\\slash", "é", "a b", "{3}", "^c"]
    wanted = [TableName(schema, name) for schema in ("public", "S.x") for name in odd]
    db = each_version.create("patterns")
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute('create schema "S.x"')
        for table in (*wanted, *(TableName("public", name) for name in ("decoy", "ab", "s1", "qx", "bb", "x"))):
            conn.execute(f"create table {table.sql} (i int)")
    chosen = [f"--table={one}" for one in patterns(wanted)]
    assert len(chosen) == 2
    argv = [str(each_version.programs.tool("pg_dump")), "--schema-only", "--strict-names", *chosen, db]
    env = {**os.environ, **each_version.programs.env}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
    assert len(re.findall(r"^CREATE TABLE", done.stdout, re.MULTILINE)) == len(wanted)
    assert "decoy" not in done.stdout
