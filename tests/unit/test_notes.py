"""Notes in the journal about the step at work: one at a time, read again, and never in the way of the run."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.board import Board
from runner.database.connections import Connections
from runner.events import (
    ActionProgress,
    AtWork,
    PhaseProgress,
    RunBegan,
    RunEnded,
    StepEnded,
    StepPlanned,
    at_work_from_json,
    to_json,
)
from runner.journal.database import DatabaseJournal
from runner.journal.file import FileJournal
from runner.journal.history import fold
from runner.journal.records import Journal
from runner.model import Outcome, Sql, State
from runner.report import runs
from runner.run.notes import take_notes
from tests.made import HOSTILE, planned_step
from tests.unit.test_runs import PLAN

BEGAN = RunBegan(
    run="r1", plan="p", file="p.yml", mode="apply", digest="d", total=2, host="h", pid=1, user="u", version="0"
)
TURN = StepPlanned(planned=planned_step("a", Sql(text="select 1")))
OK = StepEnded(outcome=Outcome(path="a", state=State.OK))
ENDED = RunEnded(run="r1", state="ok", exit_code=0, seconds=1.0)


def at_work(seconds: float, share: float | None = 0.41, path: str = "a") -> AtWork:
    phases = (
        PhaseProgress(phase="rows", done=1 << 20, total=2 << 20, rate=1000.5),
        PhaseProgress(phase="x", done=0, total=1),
    )
    action = ActionProgress(path=path, key="k", what=HOSTILE, phases=phases, share=share, left=12.5)
    return AtWork(path=path, uses="sql", seconds=seconds, progress=(action,), server=("CREATE INDEX",), waits="w")


@pytest.fixture
def book(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "state" / "p.jsonl")


@pytest.fixture
def journal(db: str) -> Iterator[DatabaseJournal]:
    found = DatabaseJournal(Connections({}, {"DATABASE_URL": db}), "")
    found.prepare()
    yield found
    found.close()


def noted(book: Journal) -> list[float]:
    return [record["seconds"] for record in book.records() if record["event"] == "at_work"]


def test_a_note_comes_back_as_it_was() -> None:
    record = json.loads(json.dumps({"run": "r", **to_json(at_work(72.0))}))
    assert at_work_from_json(record) == at_work(72.0)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["path", "uses", "seconds", "progress", "server", "waits", "phases", "share", "left"]),
                inner,
                max_size=9,
            )
        ),
        max_leaves=12,
    )
)
def test_a_record_of_another_shape_is_no_note(data: Any) -> None:
    record = data if isinstance(data, dict) else {"path": data}
    found = at_work_from_json(record)
    assert found is None or isinstance(found, AtWork)
    fold([{"run": "r", "event": "at_work", "at": "2025-07-20T12:00:00+00:00", **record}])


# ------------------------------------------------------------------ in both journals


def check_notes(book: Journal) -> None:
    for event in (BEGAN, TURN):
        book.write("r1", event)
    first, mark = book.since(0)
    assert [one["event"] for one in first] == ["run_began", "turn"]
    for seconds in (1.0, 2.0, 3.0):
        book.note("r1", at_work(seconds))
    assert noted(book) == [3.0], "a run has one note, whatever it takes"
    more, mark = book.since(mark)
    assert [(one["event"], one["seconds"]) for one in more] == [("at_work", 3.0)]
    (run,) = fold(book.records())
    assert run.progress() == at_work(3.0) and run.last == more[0]["at"]
    assert "  a: sql at work for 3.0 s, 41 %" in runs.status(run, PLAN, "run r1")
    assert "  last seen: a: sql at work for 3.0 s" in runs.status(run, PLAN, "")
    book.note("r1", at_work(4.0))
    book.write("r1", OK)
    more, mark = book.since(mark)
    assert sorted(one["event"] for one in more) == ["at_work", "outcome"]
    (run,) = fold(book.records())
    assert run.progress() is None, "a step that has ended is not at work"
    book.write("r1", ENDED)
    assert fold(book.records())[0].state == "ok"


def test_a_file_has_one_note_beside_it_until_the_run_ends(book: FileJournal) -> None:
    check_notes(book)
    assert [one.name for one in book.path.parent.iterdir()] == ["p.jsonl"]
    assert "at_work" not in book.path.read_text()


def test_the_note_beside_a_file_is_private_and_one_of_a_killed_run_is_not_taken_for_the_next(book: FileJournal) -> None:
    book.write("r1", BEGAN)
    book.write("r1", TURN)
    book.note("r1", at_work(1.0))
    beside = book.path.with_name("p.jsonl.at_work")
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    book.close()
    again = FileJournal(book.path)
    again.write("r1", BEGAN)
    assert not beside.exists() and noted(again) == []


def test_a_torn_note_and_a_torn_line_are_passed_over(book: FileJournal) -> None:
    book.write("r1", BEGAN)
    book.path.with_name("p.jsonl.at_work").write_text('{"run": "r1", "ev')
    with book.path.open("a") as file:
        file.write('{"run": "r1", "event": "tu')
    found, mark = book.since(0)
    assert [one["event"] for one in found] == ["run_began"]
    with book.path.open("a") as file:
        file.write('rn", "path": "a"}\n')
    assert [one["event"] for one in book.since(mark)[0]] == ["turn"], "the line is read when it is whole"


def test_a_database_has_one_row_for_the_notes_of_a_run(journal: DatabaseJournal, db: str) -> None:
    check_notes(journal)
    with psycopg.connect(db) as conn:
        counts = conn.execute(
            "select event ->> 'event', count(*) from planrun.journal group by 1 order by 1"
        ).fetchall()
    assert counts == [("at_work", 1), ("outcome", 1), ("run_began", 1), ("run_ended", 1), ("turn", 1)]


def test_a_note_waits_for_nobody(journal: DatabaseJournal, db: str) -> None:
    journal.note("r1", at_work(1.0))
    assert noted(journal) == [1.0]
    with journal._one_by_one:  # a record is being written
        journal.note("r1", at_work(2.0))
    assert noted(journal) == [1.0]
    journal.close()
    journal.note("r1", at_work(3.0))
    assert journal._conn is None, "a note opens no connection"


def test_a_role_that_may_not_write_a_note_again_writes_few(
    journal: DatabaseJournal, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("drop role if exists notes_writer; create role notes_writer login")
        conn.execute("grant usage on schema planrun to notes_writer")
        conn.execute("grant select, insert on planrun.journal to notes_writer")
    other = DatabaseJournal(Connections({}, {"DATABASE_URL": f"{db} user=notes_writer"}), "")
    other.write("r1", TURN)
    for seconds in (1.0, 2.0, 3.0):
        other.note("r1", at_work(seconds))
    assert noted(other) == [1.0]
    monkeypatch.setattr(other, "_next", 0.0)
    for seconds in (4.0, 5.0):
        other.note("r1", at_work(seconds))
    other.write("r1", OK)
    assert noted(other) == [1.0, 4.0]
    other.close()
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("drop owned by notes_writer; drop role notes_writer")


# ------------------------------------------------------------------ when they are taken


def board_at_work() -> Board:
    board = Board()
    board.take(BEGAN)
    board.take(TURN)
    return board


def test_notes_are_taken_while_a_step_is_at_work() -> None:
    taken = threading.Semaphore(0)
    with take_notes(board_at_work(), lambda note: taken.release(), 0.01):
        assert taken.acquire(timeout=5) and taken.acquire(timeout=5)


def test_notes_that_cannot_be_written_are_given_up() -> None:
    tried: list[AtWork] = []

    def fail(note: AtWork) -> None:
        tried.append(note)
        raise RuntimeError("no")

    with take_notes(board_at_work(), fail, 0.01):
        threading.Event().wait(0.3)
    assert len(tried) == 3
