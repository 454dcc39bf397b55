"""What statements lock, as the text tells it; tests/unit/test_lock_table.py compares the modes with servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.safesql.lock_table import Certainty, LockMode
from runner.safesql.statement_locks import StatementLocks, statement_locks
from runner.table_name import TableName

WHAT = {
    "alter table t add column a int, drop column b": "ALTER TABLE ... ADD COLUMN, DROP COLUMN",
    "alter index i set (fillfactor = 90)": "ALTER INDEX ... SET (...)",
    "alter materialized view m rename to n": "ALTER MATERIALIZED VIEW ... RENAME",
    "alter view v rename column a to b": "ALTER VIEW ... RENAME COLUMN",
    "alter table t add column a int references o": "ALTER TABLE ... ADD COLUMN, ADD FOREIGN KEY NOT VALID",
    "alter table t add column a int default 1 unique": "ALTER TABLE ... ADD COLUMN, ADD UNIQUE",
    "alter table t alter column a set not null": "ALTER TABLE ... ALTER COLUMN SET NOT NULL",
    "create unique index concurrently i on t (a)": "CREATE INDEX CONCURRENTLY",
    "reindex (concurrently, verbose) table t": "REINDEX CONCURRENTLY",
    "reindex (concurrently off) table t": "REINDEX TABLE",
    "vacuum (full off) t": "VACUUM",
    "vacuum (full true) t": "VACUUM FULL",
    "refresh materialized view concurrently m": "REFRESH MATERIALIZED VIEW CONCURRENTLY",
    "truncate a, b cascade": "TRUNCATE ... CASCADE",
    "select 1": "SELECT",
    "select * into n from t": "CREATE TABLE ... AS",
    "create role r": "CREATE ROLE",
    "alter database d set tablespace s": "ALTER DATABASE SET TABLESPACE",
    "create tablespace s location '/x'": "CREATE TABLESPACE",
    "drop function f()": "DROP FUNCTION",
    "set local lock_timeout = '1s'": "SET",
    "commit prepared 'x'": "PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED",
    "explain analyze update t set a = 1": "UPDATE",
    "create schema s create table t (a int references o)": "CREATE TABLE",
}


def only(text: str, major: int = 18) -> StatementLocks:
    (one,) = statement_locks(text, major)
    return one


def named(text: str, major: int = 18) -> dict[str, str]:
    """Return the modes of the relations that a statement names, for certain."""
    return {str(lock.relation): lock.mode for lock in only(text, major).locks if lock.is_named and lock.certain}


def told(text: str) -> dict[str, str]:
    return {lock.what: lock.mode for lock in only(text).locks if not lock.is_named}


@pytest.mark.parametrize("text", WHAT)
def test_a_statement_has_a_name(text: str) -> None:
    assert only(text).what == WHAT[text]


def test_both_sides_of_a_foreign_key_are_locked() -> None:
    assert named('alter table "Shop".lines add foreign key (a) references orders') == {
        '"Shop".lines': LockMode.SHARE_ROW_EXCLUSIVE,
        "orders": LockMode.SHARE_ROW_EXCLUSIVE,
    }
    assert named("create table n (a int references o, b int, foreign key (b) references p)") == {
        "o": LockMode.SHARE_ROW_EXCLUSIVE,
        "p": LockMode.SHARE_ROW_EXCLUSIVE,
    }


def test_the_strongest_mode_of_a_relation_counts() -> None:
    text = "alter table t validate constraint c, alter column a set statistics 5, enable trigger x"
    assert named(text) == {"t": LockMode.SHARE_ROW_EXCLUSIVE}
    assert only(text + ", drop column b").strongest is LockMode.ACCESS_EXCLUSIVE


def test_other_relations_are_told_as_seen_from_the_one_that_is_named() -> None:
    assert told("drop table app.orders")["the tables that app.orders refers to"] is LockMode.ACCESS_EXCLUSIVE
    assert told("drop index i") == {
        "the table of i": LockMode.ACCESS_EXCLUSIVE,
        "the partitions of i": LockMode.ACCESS_EXCLUSIVE,
    }
    assert told("drop schema app cascade")["everything in schema app"] is LockMode.ACCESS_EXCLUSIVE
    assert told("drop owned by current_user")["everything that the connected role owns"] is LockMode.ACCESS_EXCLUSIVE


def test_only_leaves_the_children_out() -> None:
    assert "the partitions and children of t" in told("alter table t add column a int")
    assert told("alter table only t add column a int") == {}


def test_queries_are_read_with_their_aliases_and_with_queries() -> None:
    text = """
        with a as (select * from real_a), t as (delete from t returning *)
        select * from a join app.b as x using (id), lateral (select * from c) as y where exists (select from d)
        for update of x
    """
    assert named(text) == {
        "real_a": LockMode.ACCESS_SHARE,
        "t": LockMode.ROW_EXCLUSIVE,
        "app.b": LockMode.ROW_SHARE,
        "c": LockMode.ACCESS_SHARE,
        "d": LockMode.ACCESS_SHARE,
    }


def test_a_with_query_hides_a_table_only_inside_its_statement() -> None:
    text = "select * from (with t as (select 1) select * from t) x, t"
    assert named(text) == {"t": LockMode.ACCESS_SHARE}


def test_what_a_text_makes_itself_is_new() -> None:
    found = statement_locks("create table n (a int references o); alter table n add column b float default random()")
    assert [lock.new for lock in found[1].locks] == [True, True]
    assert found[1].strongest is None and found[1].rewrite is Certainty.NO
    assert found[0].strongest is LockMode.SHARE_ROW_EXCLUSIVE
    (_, dropped) = statement_locks("create table n (a int references o); drop table n")
    assert {lock.what for lock in dropped.locks if not lock.new} >= {"the tables that n refers to"}
    assert statement_locks("create table if not exists n (); drop table n")[1].strongest is LockMode.ACCESS_EXCLUSIVE


def test_a_temporary_table_is_seen_by_nobody_else() -> None:
    assert only("create temp table n as select * from t").strongest is LockMode.ACCESS_SHARE
    assert only("drop table pg_temp.n").locks[0].new


@pytest.mark.parametrize(
    ("column", "rewrite"),
    [
        ("a int", "no"),
        ("a int default 5", "no"),
        ("a timestamptz default now()", "no"),
        ("a timestamptz default clock_timestamp()", "yes"),
        ("a uuid default pg_catalog.gen_random_uuid()", "yes"),
        ("a text default upper('x') || current_user", "no"),
        ("a int default app.number()", "perhaps"),
        ("a uuid default uuid_generate_v4()", "perhaps"),
        ("a int generated by default as identity", "yes"),
        ("a bigserial", "yes"),
        ("a int generated always as (b + 1) stored", "yes"),
        ("a int generated always as (b + 1) virtual", "no"),
        ("a app.positive", "perhaps"),
        ("a varchar(20)[]", "no"),
        ("a int check (a > 0)", "no"),
    ],
)
def test_adding_a_column_rewrites_by_its_default_and_type(column: str, rewrite: str) -> None:
    assert only(f"alter table t add column {column}").rewrite == rewrite


def test_what_cannot_run_inside_a_transaction_block() -> None:
    for text in ("vacuum t", "create index concurrently on t (a)", "alter system set work_mem = '1MB'", "cluster"):
        assert only(text).transaction is Certainty.NO, text
    assert only("reindex table t").transaction is Certainty.PERHAPS
    assert only("alter type mood add value 'x'").transaction is Certainty.YES


@pytest.mark.parametrize(
    "text",
    [
        "do $$ begin end $$",
        "call clean()",
        "execute p",
        "select app.clean()",
        "update t set a = clean(a)",
        "select query_to_xml('select 1', true, true, '')",
        "alter table t alter column a type int using app.number(a)",
        "create extension hstore",
        f"delete from a where {' + '.join(['x'] * 200)} > 0",
    ],
)
def test_what_cannot_be_known_is_said(text: str) -> None:
    assert only(text).opaque


@pytest.mark.parametrize(
    "text",
    [
        "select count(*), lower(a) from t",
        "create view v as select app.f()",
        "create table n (a int default app.f())",
        "alter table t alter column a set default app.f()",
        "explain select app.f()",
        "create function f() returns void language sql as 'drop table t'",
    ],
)
def test_functions_that_do_not_run_now_hide_nothing(text: str) -> None:
    assert only(text).opaque == ""


def test_versions_differ() -> None:
    text = "alter table t alter column a drop not null"
    by_version = [only(text, major).locks[-1].certain for major in (14, 17, 18, 19)]
    assert by_version == [True, True, False, False]


def test_offsets_are_those_of_the_statements() -> None:
    text = "/* ä */ select 1;\n\n-- x\n  drop table t;"
    assert [text[one.offset :].split()[0] for one in statement_locks(text)] == ["select", "drop"]


def test_every_kind_of_statement_is_read_on_every_version() -> None:
    lines = (Path(__file__).parents[1] / "statements.sql").read_text().splitlines()[1:]
    assert len(lines) > 225
    for line in lines:
        for major in (14, 18):
            for one in statement_locks(line, major):
                assert one.what and one.uses, line
                assert not {use.entry.name for use in one.uses} & {"not in the table", "too deep"}, line


def test_names_keep_their_case() -> None:
    assert only('lock table "Shop"."Order Lines"').locks[0].relation == TableName("Shop", "Order Lines")
