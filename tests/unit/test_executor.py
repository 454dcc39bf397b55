"""What acts: each step has a session as if it were the first, and programs see only what they are named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.engine import At
from runner.errors import PlanError, PlanrunError, TargetError
from runner.events import Event, Progress
from runner.journal.database import DatabaseJournal
from runner.journal.file import FileJournal
from runner.journal.history import fold
from runner.model import Check, Command, Confirm, Note, Plan, Prune, Query, Sql, Write
from runner.redact import Redactor
from runner.run.executor import Executor

AT = At("a", "k.0")


class House:
    """Hands on one database, and what they told."""

    def __init__(self, db: str, folder: Path, *, in_database: bool = False) -> None:
        self.db, self.told, self.asked, self.answer = db, list[Event](), list[Confirm](), True
        self.connections = Connections({}, {"DATABASE_URL": db})
        plan = Plan(name="p", file="p.yml", folder=folder, root=folder, digest="d", steps=())
        self.database = DatabaseJournal(self.connections, "")
        self.journal = self.database if in_database else FileJournal(folder / "p.jsonl")
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/h",
            "LC_ALL": "C",
            "SECRET": "s3cret",
            "MINE": "yes",
            "PGPASSWORD": "x",
        }
        self.redactor = Redactor({})
        self.hands = Executor(
            plan,
            self.connections,
            self.journal,
            "r1",
            ask=self.ask,
            emit=self.told.append,
            env=env,
            redactor=self.redactor,
        )

    def ask(self, question: Confirm) -> bool:
        self.asked.append(question)
        return self.answer

    def do(self, action: Any, cancel: Cancel | None = None) -> Any:
        return self.hands.act(action, AT, cancel or Cancel())

    def rows(self, query: str) -> Any:
        return self.do(Query(theirs=True, text=query))["rows"]

    def admin(self, text: str) -> list[Any]:
        with psycopg.connect(self.db, autocommit=True) as conn:
            cursor = conn.execute(text.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def house(db: str, tmp_path: Path) -> Iterator[House]:
    made = House(db, tmp_path)
    yield made
    made.hands.close()


# ------------------------------------------------------------------ SQL


LEFT_BEHIND = [
    "set work_mem = '1234kB'",
    "create temp table left_behind (n int)",
    "prepare left_behind as select 1",
    "select pg_advisory_lock(7)",
    "listen left_behind",
    "set role pg_monitor",
    "set search_path = pg_temp",
    "set lock_timeout = 0",
]


@pytest.mark.parametrize("text", LEFT_BEHIND)
def test_a_step_finds_nothing_of_the_one_before(house: House, text: str) -> None:
    (before,) = house.rows(SESSION)
    house.do(Sql(theirs=True, text=text, transaction=False))
    (after,) = house.rows(SESSION)
    assert after == before


SESSION = """
select current_setting('work_mem') as mem, current_user::text as who, current_setting('lock_timeout') as lock,
  current_setting('search_path') as path, to_regclass('pg_temp.left_behind')::text as temp,
  (select count(*) from pg_prepared_statements) as prepared, (select count(*) from pg_listening_channels()) as heard,
  (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
  pg_backend_pid() as pid
"""


def test_a_connection_is_used_again_and_a_broken_one_is_not(house: House) -> None:
    pids = [house.rows("select pg_backend_pid() as pid")[0]["pid"] for _ in range(3)]
    assert len(set(pids)) == 1
    house.admin(f"select pg_terminate_backend({pids[0]}, 5000)")
    assert house.rows("select pg_backend_pid() as pid")[0]["pid"] != pids[0]
    with pytest.raises(TargetError) as found:
        house.do(Sql(theirs=True, text="select pg_terminate_backend(pg_backend_pid())"))
    assert found.value.category == "connection"
    assert house.rows("select 1 as one") == [{"one": 1}]


def test_a_transaction_that_was_left_open_is_not_given_on(house: House) -> None:
    house.admin("create table public.t (n int)")
    house.do(Sql(text="begin; insert into public.t values (1)", transaction=False))
    assert house.rows("select n from t") == []
    with pytest.raises(PlanError, match="BEGIN has no place in a step"):
        house.do(Sql(theirs=True, text="begin; insert into t values (1)", transaction=False))


def test_text_that_fails_leaves_nothing_and_the_connection_is_good(house: House) -> None:
    with pytest.raises(TargetError, match="division"):
        house.do(Sql(theirs=True, text="create table t (n int); select 1/0"))
    assert house.rows("select to_regclass('t')::text as it") == [{"it": None}]
    assert house.do(Sql(theirs=True, text="create table t (n int); insert into t values (1), (2)"))["count"] == 2


def test_branches_have_sessions_of_their_own(house: House) -> None:
    start, pids = threading.Barrier(3), list[int]()

    def branch() -> None:
        start.wait()
        pids.append(house.rows("select pg_backend_pid() as pid, pg_sleep(0.2)::text as slept")[0]["pid"])

    threads = [threading.Thread(target=branch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 3
    house.hands.close()
    assert house.admin("select 1 from pg_stat_activity where application_name = 'planrun' "
                       f"and pid in ({', '.join(map(str, pids))}) and state = 'active'") == []  # fmt: skip


def test_an_action_commits_its_own_journal_row(db: str, tmp_path: Path) -> None:
    house = House(db, tmp_path, in_database=True)
    house.database.prepare()
    result = house.do(Sql(theirs=True, text="create table t (n int)"))
    assert result["stamped"] is True
    (record,) = house.database.records()
    assert (record["event"], record["path"], record["key"]) == ("action_done", "a", "k.0")
    with pytest.raises(TargetError):
        house.do(Sql(theirs=True, text="select 1/0"))
    assert len(list(house.database.records())) == 1 and fold(house.database.records()) == []
    house.hands.close()
    house.database.close()


def test_a_query_changes_nothing_and_a_check_names_what_is_in_the_way(house: House) -> None:
    house.admin("create sequence seq")
    with pytest.raises(TargetError, match="read-only"):
        house.rows("select nextval('seq')")
    assert house.do(Check(theirs=True, text="select 1 where false")) == {"in_the_way": []}
    with pytest.raises(TargetError, match="check failed: 1; 2") as found:
        house.do(Check(theirs=True, text="select generate_series(1, 2)", hint="move them"))
    assert found.value.hint == "move them"


# ------------------------------------------------------------------ people, programs, files


def test_a_program_sees_only_what_it_is_named(house: House) -> None:
    def environment(*names: str) -> dict[str, str]:
        output = house.do(Command(argv=("env",), env=names))["output"]
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    assert {"PATH", "HOME", "LC_ALL"} <= environment().keys() and not {
        "SECRET",
        "MINE",
        "PGPASSWORD",
    } & environment().keys()
    assert environment("MINE", "NOT_THERE")["MINE"] == "yes" and "SECRET" not in environment("MINE")
    lines = [event.what for event in house.told if isinstance(event, Progress) and event.unit == "line"]
    assert any(line.startswith("PATH=") for line in lines)


def test_a_program_runs_in_the_folder_of_the_plan_and_its_failure_is_told(house: House, tmp_path: Path) -> None:
    assert house.do(Command(argv=("pwd",)))["output"].strip() == str(tmp_path)
    assert house.do(Command(argv=("pwd",), cwd="/"))["output"].strip() == "/"
    with pytest.raises(TargetError, match="exit code 3"):
        house.do(Command(argv=("sh", "-c", "exit 3")))
    with pytest.raises(TargetError, match="no-such-program"):
        house.do(Command(argv=("no-such-program",)))


def test_output_that_means_failure_fails_a_program_that_ends_with_0(house: House) -> None:
    says = ("sh", "-c", "echo fine; echo 'Error: Interactive prompts require a TTY' >&2")
    assert "fine" in house.do(Command(argv=says))["output"]
    with pytest.raises(TargetError, match=r"fail_if_output.*Interactive prompts"):
        house.do(Command(argv=says, fail_if_output=("Interactive prompts require a TTY",)))
    assert house.do(Command(argv=says, fail_if_output=("^never",)))["exit_code"] == 0


def test_a_program_is_stopped(house: House) -> None:
    cancel = Cancel()
    threading.Timer(0.2, cancel.cancel, [PlanrunError("stop")]).start()
    with pytest.raises(PlanrunError, match="stop"):
        house.do(Command(argv=("sleep", "60")), cancel)


def test_no_is_no(house: House) -> None:
    question = Confirm(message="Go on?", expect="yes")
    assert house.do(question) == {"accepted": True} and house.asked == [question]
    house.answer = False
    with pytest.raises(PlanrunError, match="declined"):
        house.do(question)


def test_a_file_is_written_whole(house: House, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.txt"
    assert house.do(Write(path=str(path), text="é\n")) == {"path": str(path), "bytes": 3}
    assert path.read_text() == "é\n" and house.do(Note(text="x")) == {}


def test_what_is_no_session_is_not_pruned(house: House, tmp_path: Path) -> None:
    (tmp_path / "backup_2020-01-01T00-00-00-000Z").mkdir()
    (tmp_path / "notes").mkdir()
    for name in ("notes", "../x", "backup_2020-01-01T00-00-00-000Z"):
        with pytest.raises(PlanrunError, match="not"):
            house.do(Prune(folder=str(tmp_path), sessions=(name,)))
    assert (tmp_path / "notes").is_dir() and (tmp_path / "backup_2020-01-01T00-00-00-000Z").is_dir()
