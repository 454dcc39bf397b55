"""What a program changed is told by its kind, with the command that brings back what a backup of the run holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from runner.backup import survey
from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections
from runner.model import Survey
from runner.planfile import templates_of
from runner.table_name import TableName
from tests.servers import Server

SCHEMA = """
create table kept (id int, note text);
create table gone (id int);
create table emptied (id int);
create table cut (id int);
create table never_filled (id int);
create table narrower (id int, note text, old text);
create table wider (id int);
create table rewritten (id int);
create table refilled (id int);
create table before (id int);
create table again (id int);
create table again_filled (id int);
create sequence ticket;
create table numbered (id serial);
create table tree (id int) partition by range (id);
create table tree_1 partition of tree for values from (0) to (10);
create table tree_2 partition of tree for values from (10) to (20);
create table forest (id int) partition by range (id);
create table forest_1 partition of forest for values from (0) to (10);
create view seen as select id from kept;
create materialized view held as select id from kept;
insert into kept values (1); insert into gone values (1); insert into emptied values (1); insert into cut values (1);
insert into narrower values (1); insert into wider values (1); insert into rewritten values (1);
insert into refilled values (1); insert into before values (1); insert into again values (1);
insert into again_filled values (1); insert into tree values (1), (11); insert into forest values (1);
create schema "Other"; create table "Other"."T x" (id int); insert into "Other"."T x" values (1);
"""
PROGRAM = """
drop table gone; delete from emptied; truncate cut; alter table narrower drop column note, drop column old;
alter table wider add column more text default 'x'; alter table rewritten alter column id type bigint;
truncate refilled; insert into refilled values (2); alter table before rename to now;
drop table again; create table again (id int);
drop table again_filled; create table again_filled (id int); insert into again_filled values (3);
drop sequence ticket; drop table numbered; drop table tree_2; drop table forest;
drop view seen; refresh materialized view held; drop table "Other"."T x"; vacuum kept; analyze;
create table made (id int); update kept set note = 'x'; delete from never_filled; create temp table t (id int);
"""
CHANGES = {
    "gone": "table dropped",
    "emptied": "emptied",
    "cut": "emptied",
    "narrower": "has lost note, old",
    "rewritten": "rewritten",
    "refilled": "rewritten",
    "before": "now public.now",
    "again": "table dropped and created again, now empty",
    "again_filled": "table dropped and created again",
    "ticket": "sequence dropped",
    "numbered": "table dropped",
    "tree_2": "table dropped",
    "forest": "table dropped",
    "seen": "view dropped",
    "T x": "table dropped",
}


@pytest.fixture
def survey_of(db: str, tmp_path: Path) -> Iterator[partial[survey.Seen | str]]:
    text = templates_of(tmp_path).sql("command/relations.sql.j2")
    connections = Connections({}, {"DATABASE_URL": db, "PLANRUN_ANSWER_TIMEOUT": "20s"})
    one = Survey(connection="", query=text, folders=())
    yield partial(survey.look, one, connections, Watch(connections), Cancel())


def run(db: str, text: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        for statement in text.split(";"):
            conn.execute(statement.encode())


def test_each_kind_of_change_is_named(db: str, survey_of: partial[survey.Seen | str]) -> None:
    run(db, SCHEMA)
    before = survey_of()
    assert survey.changes(before, survey_of(before)) == []
    run(db, PROGRAM)
    found = survey.changes(before, survey_of(before))
    assert {one.name: one.what for one in found} == CHANGES
    assert [one.name for one in found if not one.lost] == ["before"]
    back = {one.name: " ".join(one.back) for one in found if one.back}
    assert {name for name, options in back.items() if options == "--replace"} == {
        "emptied",
        "cut",
        "again",
        "again_filled",
    }
    assert {name for name, options in back.items() if options != "--replace"} == {"narrower", "rewritten", "refilled"}


def test_each_version_is_asked(each_version: Server, tmp_path: Path) -> None:
    url = each_version.create("survey")
    connections = Connections({}, {"DATABASE_URL": url})
    one = Survey(connection="", query=templates_of(tmp_path).sql("command/relations.sql.j2"), folders=())
    run(url, "create table a (id int generated always as identity); insert into a default values")
    before = survey.look(one, connections, Watch(connections), Cancel())
    run(url, "drop table a")
    after = survey.look(one, connections, Watch(connections), Cancel(), before)
    assert [(one.name, one.what) for one in survey.changes(before, after)] == [("a", "table dropped")]


def test_what_may_not_be_read_is_not_called_empty(db: str, tmp_path: Path) -> None:
    """Neither without a grant nor where row security hides rows; that it was dropped is told all the same."""
    run(db, "create table secret (id int); insert into secret values (1); create table dropped (id int)")
    run(
        db,
        "create table policed (id int); insert into policed values (1); alter table policed enable row level security",
    )
    run(db, "drop role if exists survey_low; create role survey_low login; grant select on policed to survey_low")
    url = psycopg.conninfo.make_conninfo(db, user="survey_low")
    connections = Connections({}, {"DATABASE_URL": url})
    one = Survey(connection="", query=templates_of(tmp_path).sql("command/relations.sql.j2"), folders=())
    before = survey.look(one, connections, Watch(connections), Cancel())
    run(db, "delete from secret; delete from policed; drop table dropped")
    after = survey.look(one, connections, Watch(connections), Cancel(), before)
    assert [(one.name, one.what) for one in survey.changes(before, after)] == [("dropped", "table dropped")]
    run(db, "drop owned by survey_low; drop role survey_low")


def test_a_locked_table_keeps_no_program_from_running(db: str, survey_of: partial[survey.Seen | str]) -> None:
    run(db, "create table busy (id int)")
    with psycopg.connect(db) as conn:
        conn.execute("lock table busy")
        before = survey_of()
        assert isinstance(before, str) and "busy" in before
        found = survey.changes(before, survey_of(before))
    assert [(one.name, one.lost) for one in found] == [("", True)] and "planrun cannot tell what changed: " in found[
        0
    ].what


def test_those_in_no_backup_come_first() -> None:
    changes = [
        survey.Change(schema="public", name="a", what="table dropped"),
        survey.Change(schema="public", name="b", what="now public.c", lost=False),
        survey.Change(schema="public", name="d", what="emptied", back=("--replace",)),
    ]
    found = survey.results(
        changes, {TableName("public", "a"): "s1", TableName("public", "b"): "s1"}, lambda *words: " ".join(words)
    )
    assert [one["name"] for one in found] == ["d", "b", "a"]
    assert [one["restore"] for one in found] == ["", "", "s1 --table public.a"]
