"""What the real parser says, and at which character it says so."""

from __future__ import annotations

import time

import pytest

from runner.errors import Mark
from runner.safesql import syntax
from runner.safesql.syntax import BadSql, problems, statements, tokens


def problems_of(text: str, use: str = "", *, transaction: bool = True) -> list[tuple[int, str]]:
    found = problems(text, lambda at: Mark("f", 1, at), use=use, transaction=transaction)
    return [(problem.where.column, problem.message) for problem in found]


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("select 1 form t x", 14, 'syntax error at or near "t"'),
        ("select 'é😀' form t x", 17, 'syntax error at or near "t"'),
        ("select 'é\n", 7, "unterminated quoted string at or near \"'é"),
        ("select (1", 9, "syntax error at end of input"),
        ("alter table a renam to b", 14, 'syntax error at or near "renam"'),
        ("select 1\0; drop table x", 8, "a NUL character"),
        ("select '\ud800'", 8, "half of a surrogate pair"),
        ("/* open", 0, "unterminated /* comment"),
    ],
)
def test_errors_say_where(text: str, at: int, message: str) -> None:
    [(offset, found)] = problems_of(text)
    assert offset == at
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("\\d t", "psql"),
        ("select :x", "psql"),
        ("select {{ x }}", "values:"),
        ("select ${params.x}", "values:"),
        ("select %(x)s", "values:"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    [problem] = problems(text, lambda at: Mark("f", 1, at))
    assert hint in problem.hint


def test_statements_know_where_they_begin() -> None:
    text = "-- é first\nselect 'é;' ;\n  /* c */ update t set a = 1;"
    assert [(one.kind, text[one.offset :][:6]) for one in statements(text)] == [
        ("select_stmt", "select"),
        ("update_stmt", "update"),
    ]


def test_tokens_count_characters() -> None:
    text = "select 'é', \"ü\" -- ö"
    assert [text[t.start : t.end] for t in tokens(text)] == ["select", "'é'", ",", '"ü"', "-- ö"]


OWN_TRANSACTION = [
    "create index concurrently i on t(x)",
    "drop index concurrently i",
    "reindex table concurrently t",
    "reindex schema public",
    "reindex database d",
    "vacuum t",
    "create database x",
    "drop database x",
    "alter system set work_mem = '1MB'",
    "create tablespace x location '/x'",
    "drop tablespace x",
    "cluster",
    "discard all",
    "alter database x set tablespace y",
    "alter table a detach partition b concurrently",
    "create subscription s connection '' publication p",
    "commit prepared 'x'",
]


@pytest.mark.parametrize("text", OWN_TRANSACTION)
def test_what_refuses_a_transaction(text: str) -> None:
    assert "cannot run inside a transaction" in problems_of(text, "sql")[0][1]
    assert problems_of(text, "sql", transaction=False) == []
    assert "together with other statements" in problems_of(f"select 1; {text}", "sql", transaction=False)[0][1]


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t(x)",
        "drop index i",
        "reindex table t",
        "analyze t",
        "cluster t",
        "discard temp",
        "alter database x connection limit 3",
        "alter table a detach partition b",
        "create subscription s connection '' publication p with (create_slot = false)",
        "create subscription s connection '' publication p with (connect = off)",
        "savepoint a; rollback to a; release a",
        "copy t from '/x'",
        "do $$ begin commit; end $$",
    ],
)
def test_what_a_transaction_may_hold(text: str) -> None:
    assert problems_of(text, "sql") == []


@pytest.mark.parametrize(
    "word", ["begin", "start transaction", "commit", "end", "rollback", "abort", "prepare transaction 'x'"]
)
def test_transaction_control_has_no_place_in_a_step(word: str) -> None:
    for transaction in (True, False):
        [(at, message)] = problems_of(f"select 1; {word}", "sql", transaction=transaction)
        assert at == 10
        assert message.endswith("has no place in a step")


@pytest.mark.parametrize(
    "text", ["copy t from stdin", "copy t to stdout", "copy t from program 'x'", "copy t to program 'x'"]
)
def test_copy_from_the_client_or_a_program_is_refused(text: str) -> None:
    assert "cannot be used in a step" in problems_of(text, "sql")[0][1]


@pytest.mark.parametrize("text", ["select 1", "select 1;", "values (1)", "table t", "with x as (select 1) table x"])
def test_queries(text: str) -> None:
    assert problems_of(text, "query") == problems_of(text, "check") == []


@pytest.mark.parametrize("text", ["explain select 1", "show all"])
def test_only_query_takes_what_is_no_select(text: str) -> None:
    assert problems_of(text, "query") == []
    assert problems_of(text, "check")


@pytest.mark.parametrize(
    "text",
    [
        "insert into t values (1)",
        "select 1 into x",
        "(select 1 into x) union select 2",
        "select * from t for update",
        "with x as (delete from t returning 1) select * from x",
        "set transaction read write",
        "begin",
        "do 'begin end'",
        "call f()",
        "copy t to '/x'",
        "create table x as select 1",
        "insert into t select " + "1+" * 60 + "1",
    ],
)
def test_what_is_no_query(text: str) -> None:
    for use in ("query", "check"):
        assert len(problems_of(text, use)) == 1


def test_a_query_is_one_statement() -> None:
    assert problems_of("select 1; select 2", "query") == [(10, "`query` takes one statement, this is the second")]


@pytest.mark.parametrize("text", ["", "  ;; ", "-- nothing\n"])
def test_no_statement_at_all(text: str) -> None:
    for use in ("sql", "query", "check"):
        assert problems_of(text, use)[0][1] == "there is no SQL statement here"
    assert problems_of(text) == []


def test_a_deep_statement_does_not_hide_the_others() -> None:
    deep = "select " + "1+" * 60 + "1"
    assert problems_of(deep) == problems_of(deep, "sql") == problems_of(deep, "query") == []
    [(at, message)] = problems_of(f"{deep}; vacuum", "sql")
    assert at == len(deep) + 2
    assert "VACUUM" in message
    assert "deeply nested" in problems_of(f"copy ({deep}) to program 'x'", "sql")[0][1]


@pytest.mark.parametrize(
    "text",
    [
        *("select 1" + "+1" * 200_000, "select 'a'" + "||'a'" * 200_000, "select 1" + "::int" * 200_000),
        *("select * from a" + " join a on true" * 100_000, "select 1" + " union select 1" * 100_000),
        *("select " + "(" * 100_000, "select " + "f(" * 50_000 + ")" * 50_000, "select a" + " is null" * 100_000),
    ],
    ids=lambda text: text[7:20],
)
def test_a_bomb_is_an_error_in_seconds(text: str) -> None:
    began = time.perf_counter()
    assert len(problems_of(text)) == 1
    assert time.perf_counter() - began < 20


def test_many_rows_are_no_bomb() -> None:
    assert len(statements("insert into t values " + ", ".join(["(-1, 'a' || 'b')"] * 10_000))) == 1
    assert len(statements("update t set a = -1 where b <> 2;" * 3000)) == 3000
    assert len(statements("select 1 where " + " or ".join(["a = 1"] * 10_000))) == 1


def test_the_chain_that_is_still_taken_is_taken() -> None:
    assert len(statements("select 1" + "+1" * (syntax.MAX_CHAIN - 1))) == 1
    with pytest.raises(BadSql, match="in a row"):
        statements("select 1" + "+1" * (syntax.MAX_CHAIN + 1))
