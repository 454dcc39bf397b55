"""Both journals: what is written comes back, whatever it is; what a crash or a stranger left is passed over."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.database import commits
from runner.database.connections import Connections
from runner.errors import ConnectError, PlanrunError, TargetError
from runner.events import ActionDone, Progress, RunBegan, RunEnded, StepEnded, StepPlanned
from runner.journal.database import DatabaseJournal
from runner.journal.file import FileJournal, state_folder
from runner.journal.history import fold, last_unfinished
from runner.journal.records import Journal, record_of
from runner.model import Outcome, Query, Sql, State
from tests.faultproxy import FaultProxy, target_of
from tests.made import HOSTILE, planned_step

BEGAN = RunBegan(
    run="r1", plan="p", file="p.yml", mode="apply", digest="d", total=2, host="h", pid=1, user="u", version="0"
)
TURN = StepPlanned(planned=planned_step("a", Sql(text="select 1")))
DONE = ActionDone(path="a", key="k.0", result={"count": 1})
OK = StepEnded(outcome=Outcome(path="a", state=State.OK, outputs={"count": 1}))
ENDED = RunEnded(run="r1", state="ok", exit_code=0, seconds=1.0)
ODD = 'nul \0 literal \\u0000 \\\\u0000 half \ud83d quote " back \\ ' + HOSTILE


def write(book: Journal, *events: Any) -> None:
    for event in events:
        book.write("r1", event)


def shape(book: Journal) -> list[tuple[str, str]]:
    return [(record["run"], record["event"]) for record in book.records()]


ALL = [("r1", name) for name in ("run_began", "turn", "action_done", "outcome", "run_ended")]


# ------------------------------------------------------------------ in a file


@pytest.fixture
def book(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "state" / "p.jsonl")


def test_a_file_gives_back_what_it_took(book: FileJournal) -> None:
    assert list(book.records()) == []
    write(book, BEGAN, TURN, Progress(path="a", what="x", done=1, total=2, unit="rows"), DONE, OK, ENDED)
    assert shape(book) == ALL
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600 and stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700
    (run,) = fold(book.records())
    assert (run.state, run.plan, run.attempts) == ("ok", "p", 1)
    assert run.actions == {("a", "k.0"): {"count": 1}} and run.recorded_outcomes()["a"].outputs == {"count": 1}


@pytest.mark.parametrize(
    "torn", ['{"run": "r1", "event": "tu', "\x00\x00\x00", "[]", "null", "[" * 100_000, '"x"', "\udcff", "9" * 9999]
)
def test_a_torn_line_is_passed_over_and_the_next_begins_anew(book: FileJournal, torn: str) -> None:
    write(book, BEGAN)
    with book.path.open("ab") as file:
        file.write(torn.encode("utf-8", "surrogateescape"))
    write(book, TURN, DONE, OK, ENDED)
    assert shape(book) == ALL
    assert fold(book.records())[0].state == "ok"


def test_odd_text_comes_back_from_a_file_as_it_was(book: FileJournal) -> None:
    write(book, StepEnded(outcome=Outcome(path="a", state=State.OK, message=ODD, outputs={"n": float("nan")})))
    (record,) = book.records()
    assert record["message"] == ODD
    json.loads(book.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_journal_that_cannot_be_written_or_read_says_where(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(TargetError, match="journal") as found:
        write(FileJournal(tmp_path / "state" / "p.jsonl"), BEGAN)
    assert "PLANRUN_STATE_DIR" in found.value.hint
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(TargetError, match="cannot read the journal"):
        list(FileJournal(tmp_path / "folder.jsonl").records())


def test_where_local_journals_are(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"PLANRUN_STATE_DIR": "/a", "XDG_STATE_HOME": "/b"}
    assert state_folder(both) == Path("/a")
    assert state_folder({"XDG_STATE_HOME": "/b"}) == Path("/b/planrun")
    assert state_folder({}) == Path.home() / ".local" / "state" / "planrun"

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(PlanrunError, match="home"):
        state_folder({})


# ------------------------------------------------------------------ in a database


@pytest.fixture
def journal(db: str) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(Connections({}, {"DATABASE_URL": db}), "")
    yield made
    made.close()


def test_a_database_gives_back_what_it_took(journal: DatabaseJournal, db: str) -> None:
    assert list(journal.records()) == []
    with psycopg.connect(db) as conn:
        assert conn.execute("select to_regnamespace('planrun')").fetchone() == (None,), "reading makes nothing"
    journal.prepare()
    journal.prepare()
    write(journal, BEGAN, TURN, Progress(path="a", what="x", done=1, total=2, unit="rows"), DONE, OK, ENDED)
    assert shape(journal) == ALL
    assert fold(journal.records())[0].recorded_outcomes()["a"].state is State.OK


def test_jsonb_takes_every_text(journal: DatabaseJournal) -> None:
    journal.prepare()
    result = {"output": ODD, ODD: [ODD, float("inf"), {"deep": "\0"}]}
    write(journal, StepPlanned(planned=planned_step("a", Sql(text=ODD))), ActionDone(path="a", key="k", result=result))
    told, done = journal.records()
    wanted = ODD.replace("\0", "\ufffd").replace("\ud83d", "?")
    assert told["actions"][0]["text"] == wanted
    assert done["result"]["output"] == wanted and wanted in done["result"]


def test_what_strangers_put_into_the_table_is_passed_over(journal: DatabaseJournal, db: str) -> None:
    journal.prepare()
    write(journal, BEGAN)
    with psycopg.connect(db) as conn:
        for event in ("[]", "1", '"x"', "null", '{"event": {}}', '{"event": "run_began"}'):
            conn.execute("insert into planrun.journal (run, event) values ('r1', %s)", (event,))
    write(journal, ENDED)
    assert [run.state for run in fold(journal.records())] == ["ok"]


@pytest.mark.parametrize(
    "actions", [[{}], [{"action": 1}], [{"action": "together", "branches": 1}], [{"action": "x", "branches": [[[]]]}]]
)
def test_a_turn_whose_actions_are_none_of_ours_is_passed_over(actions: Any) -> None:
    records = [record_of("r1", BEGAN), {**record_of("r1", TURN), "actions": actions}]
    (run,) = fold(records)
    assert run.paths_at_work() == run.not_kept() == [] and run.recorded_outcomes() == {}


def test_a_cut_connection_is_opened_again_once(journal: DatabaseJournal, db: str) -> None:
    journal.prepare()
    write(journal, BEGAN)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    write(journal, TURN)
    assert shape(journal) == ALL[:2]


def test_without_a_server_only_the_end_of_what_failed_may_be_lost(db: str) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    with FaultProxy(target_of(words)) as proxy:
        through = {**words, "host": "127.0.0.1", "port": str(proxy.port)}
        through.pop("hostaddr", None)
        url = psycopg.conninfo.make_conninfo("", **through)
        book = DatabaseJournal(Connections({}, {"DATABASE_URL": url}), "")
        book.prepare()
        book.close()
        proxy.refuse = True
        for event in (BEGAN, TURN, OK):
            with pytest.raises(ConnectError):
                write(book, event)
        for state in (State.FAILED, State.WARNED, State.SKIPPED):
            write(book, StepEnded(outcome=Outcome(path="a", state=state)))
        write(book, ENDED)


def test_no_right_to_make_the_schema_is_said_with_the_way_out(db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("do $$ begin create role planrun_reader; exception when duplicate_object then null; end $$")
    url = psycopg.conninfo.make_conninfo(db, options="-c role=planrun_reader")
    book = DatabaseJournal(Connections({}, {"DATABASE_URL": url}), "")
    with pytest.raises(TargetError, match="planrun") as found:
        book.prepare()
    assert "create schema planrun" in found.value.hint and found.value.sqlstate == "42501"
    book.close()


def test_the_row_of_an_action_lives_and_dies_with_its_transaction(journal: DatabaseJournal, db: str) -> None:
    journal.prepare()
    with psycopg.connect(db) as conn:
        conn.execute(journal.stamp("r1", DONE).encode())
        conn.rollback()
        assert shape(journal) == []
        conn.execute(journal.stamp("r1", DONE).encode())
    assert shape(journal) == [("r1", "action_done")]
    write(journal, ActionDone(path="a", key="k.0", result={"count": 1}, stamped=True))
    assert len(shape(journal)) == 1, "it already exists"


def test_what_became_of_a_commit_can_be_asked(db: str) -> None:
    connections = Connections({}, {"DATABASE_URL": db})
    with psycopg.connect(db) as conn:

        def xid() -> str:
            row = conn.execute("select pg_current_xact_id()::text").fetchone()
            assert row
            return str(row[0])

        first = xid()
        assert commits.ask(connections, "", first) == "in progress"
        conn.commit()
        second = xid()
        conn.rollback()
    assert [commits.ask(connections, "", each) for each in (first, second)] == ["committed", "aborted"]


# ------------------------------------------------------------------ fold


def test_what_is_gone_is_not_done_again_by_the_next_attempt(book: FileJournal) -> None:
    """It would find each of its actions done, and be ok with nothing behind it."""
    gone = StepEnded(outcome=Outcome(path="a", state=State.FAILED, message="it is gone"))
    again = RunBegan(**{**vars(BEGAN), "mode": "resume"})
    write(book, BEGAN, TURN, DONE, OK, again, gone)
    for _ in range(2):
        (run,) = fold(book.records())
        assert run.recorded_outcomes()["a"].state is State.OK and run.outcomes["a"]["state"] == State.FAILED
        write(book, again, gone)


def test_a_resume_that_is_cut_off_at_once_forgets_nothing(book: FileJournal) -> None:
    """What a step has read stays as it was for the work that was begun with it."""
    read = StepPlanned(planned=planned_step("a", Query(text="select 1")))
    left = StepPlanned(planned=planned_step("b", Sql(text="select 1", transaction=False)))
    write(book, BEGAN, read, OK, left)
    for _ in range(3):
        (run,) = fold(book.records())
        assert set(run.recorded_outcomes()) == {"a"} and list(run.every()) == ["a", "b"]
        write(book, RunBegan(**{**vars(BEGAN), "mode": "resume"}))
    assert list(fold(book.records())[0].earlier) == ["b"]
    write(book, left)
    assert fold(book.records())[0].earlier == {} and fold(book.records())[0].paths_at_work() == ["b"]


def test_a_second_attempt_goes_on_with_the_first(book: FileJournal) -> None:
    failed = StepEnded(outcome=Outcome(path="b", state=State.FAILED, message="no"))
    write(book, BEGAN, TURN, DONE, OK, StepPlanned(planned=planned_step("b")), failed)
    (run,) = fold(book.records())
    assert (
        run.state == "cut off"
        and run.is_unfinished
        and run.paths_at_work() == []
        and set(run.recorded_outcomes()) == {"a"}
    )
    write(book, RunBegan(**{**vars(BEGAN), "mode": "resume"}), StepPlanned(planned=planned_step("b")))
    (run,) = fold(book.records())
    assert (run.attempts, run.mode, run.paths_at_work()) == (2, "apply", ["b"])
    assert last_unfinished(book.records(), "p") == run
    write(book, ENDED)
    assert last_unfinished(book.records(), "p") is None
    assert last_unfinished(book.records(), "other") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "run": st.just("r1") | JSON,
        "event": st.sampled_from(
            ["run_began", "turn", "action_done", "outcome", "waiting", "retrying", "run_ended", "new"]
        )
        | JSON,
        "at": st.sampled_from(["2025-07-20T12:26:55+00:00", "2025-07-20", "9999-99-99"]) | JSON,
        "path": st.just("a") | JSON,
        "state": st.sampled_from(["ok", "failed", "would run", "?"]) | JSON,
        **{
            name: JSON
            for name in ("key", "result", "plan", "mode", "digest", "host", "pid", "user", "outputs", "message", "next")
        },
    },
)


@settings(max_examples=50)
@given(st.lists(RECORDS, max_size=6))
def test_fold_takes_anything(records: list[dict[str, Any]]) -> None:
    for run in fold(records):
        run.recorded_outcomes()
        run.paths_at_work()
        assert isinstance(run.is_unfinished, bool)
    last_unfinished(records, "p")


def test_a_half_known_record_changes_nothing() -> None:
    good = record_of("r1", BEGAN)
    for lost in ("plan", "at", "pid"):
        bad = {key: value for key, value in good.items() if key != lost}
        assert fold([bad]) == [] and fold([good, bad])[0].attempts == 1
    assert os.linesep not in json.dumps(good)


@pytest.mark.parametrize("replace", [False, True])
def test_a_local_journal_that_vanishes_is_not_begun_anew(replace: bool, tmp_path: Path) -> None:
    book = FileJournal(tmp_path / "state" / "p.jsonl")
    book.write("r1", BEGAN)
    book.path.unlink()
    if replace:
        book.path.write_text("")
    with pytest.raises(TargetError, match="cannot write the journal"):
        book.write("r1", BEGAN)


def three_runs(book: Journal) -> None:
    for run in ("r1", "r2", "r3"):
        for event in (replace(BEGAN, run=run, content={"p.yml": "text"}), TURN, DONE, OK, replace(ENDED, run=run)):
            book.write(run, event)


def test_what_older_runs_did_is_not_kept_where_only_the_newest_counts(tmp_path: Path, journal: DatabaseJournal) -> None:
    journal.prepare()
    for book in (FileJournal(tmp_path / "j.jsonl"), journal):
        three_runs(book)
        every, brief = fold(book.records()), fold(book.records(brief=True), brief=True)
        assert brief[-1] == every[-1]
        assert [(one.id, one.state, one.exit_code, one.attempts) for one in brief] == [
            (one.id, one.state, one.exit_code, one.attempts) for one in every
        ]
        assert every[0].outcomes and not brief[0].outcomes and not brief[0].planned_steps and not brief[0].content
    assert len(list(journal.records(brief=True))) == 2 + 2 + 5 < len(list(journal.records()))
