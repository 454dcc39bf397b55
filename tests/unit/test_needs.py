"""What tables need to be there before them, as data: order, names and the questions to a database."""

from __future__ import annotations

import psycopg
import pytest

from runner.backup import needs
from runner.backup.manifest import Need
from runner.errors import TargetError


def row(kind: str, schema: str, name: str, **more: object) -> dict[str, object]:
    return {
        "kind": kind,
        "schema": schema,
        "name": name,
        "identity": f"{schema}.{name}()",
        "into": "",
        "classid": 1,
        "objid": 7,
        **more,
    }


def never(program: str, words: object) -> bytes:
    raise AssertionError(f"{program} is not needed here")


def test_schemas_come_first_then_extensions_and_people_last() -> None:
    rows = [row("role", "", "Ann"), row("extension", "", "hstore", into="Ext"), row("schema", "", 'a"b')]
    found = needs.collect(rows, never)
    assert [need.kind for need in found] == ["schema", "extension", "role"]
    assert needs.script(found) == 'CREATE SCHEMA "a""b";\n\nCREATE EXTENSION "hstore" WITH SCHEMA "Ext";\n'
    assert needs.script(found, exists=lambda need: need.kind == "schema").startswith("CREATE EXTENSION")


def test_a_sequence_that_may_not_be_read_is_made_without_its_value() -> None:
    calls: list[tuple[str, ...]] = []
    text = b"--\n-- Name: s; Type: SEQUENCE; Schema: public; Owner: -\n--\n\nCREATE SEQUENCE public.s;\n\n\n--\n-- PostgreSQL database dump complete\n--\n"  # noqa: E501

    def run(program: str, words: object) -> bytes:
        assert isinstance(words, tuple)
        calls.append(words)
        if "--schema-only" not in words:
            raise TargetError("permission denied for sequence s")
        return text

    (made,) = needs.collect([row("sequence", "public", 's"x')], run)
    assert "CREATE SEQUENCE public.s;" in made.ddl
    assert [("--schema-only" in words) for words in calls] == [False, True]
    assert '--table="public"."s""x"' in calls[0]


def test_the_file_for_psql_leaves_public_out() -> None:
    assert (
        needs.as_file([Need(kind="schema", schema="", name="public", identity="", ddl="CREATE SCHEMA public;\n")]) == ""
    )
    text = needs.as_file([Need(kind="schema", schema="", name="s", identity="", ddl="CREATE SCHEMA s;\n")])
    assert text.startswith("--") and text.endswith("CREATE SCHEMA s;\n")


@pytest.mark.parametrize(
    ("kind", "schema", "name", "identity"),
    [
        ("schema", "", "It's", ""),
        ("type", "It's", "mood", ""),
        ("domain", "It's", "d", ""),
        ("function", "It's", "f", '"It\'s".f(integer)'),
        ("sequence", "It's", "seq", ""),
        ("table", "It's", "t", ""),
        ("view", "It's", "v", ""),
        ("role", "", "pg_monitor", ""),
        ("extension", "", "plpgsql", ""),
        ("collation", "pg_catalog", "C", ""),
    ],
)
def test_whether_it_is_there_can_be_asked(kind: str, schema: str, name: str, identity: str, db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(
            """create schema "It's"; set search_path = "It's"; create type mood as enum ('a'); create domain d as int;
            create function f(int) returns int language sql as 'select 1'; create sequence seq; create table t ();
            create view v as select 1 as one"""
        )
        for wanted, called in ((True, name), (False, "nope")):
            known = identity.replace(".f(", ".nope(") if called == "nope" else identity
            question = needs.check(Need(kind=kind, schema=schema, name=called, identity=known))
            assert conn.execute(question.encode()).fetchone() == (wanted,)


def test_what_cannot_be_asked_is_no_question_and_names_are_readable() -> None:
    assert needs.check(Need(kind="cast", schema="", name="x", identity="(a AS b)")) == ""
    assert needs.display_name(Need(kind="type", schema="Sales", name="mood", identity="")) == 'type "Sales".mood'
    assert (
        needs.display_name(Need(kind="function", schema="s", name="f", identity="s.f(integer)"))
        == "function s.f(integer)"
    )
