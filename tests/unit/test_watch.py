"""A run that is followed by its journal: the same events, until it ends, or is seen to be dead."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.cancel import Cancel
from runner.errors import TargetError
from runner.events import AtWork, Event, RunBegan, RunEnded, StepEnded, StepPlanned
from runner.journal.file import FileJournal
from runner.model import Outcome, Sql, State
from runner.run import watch as module
from runner.run.watch import Watch
from tests.made import planned_step

BEGAN = RunBegan(
    run="r1", plan="p", file="p.yml", mode="apply", digest="d", total=2, host=socket.gethostname(), pid=os.getpid(),
    user="u", version="0",
)  # fmt: skip
TURN = StepPlanned(planned=planned_step("a", Sql(text="select 1"), because="when x.ok: x.ok is true"))
OK = StepEnded(outcome=Outcome(path="a", state=State.OK, outputs={"count": 3}, seconds=1.5))
BAD = StepEnded(outcome=Outcome(path="a", state=State.FAILED, message="no", hint="do", code="PR0404"))
ENDED = RunEnded(run="r1", state="ok", exit_code=0, seconds=1.0)


def note(seconds: float) -> AtWork:
    return AtWork(path="a", uses="sql", seconds=seconds)


class Script(Cancel):
    """Does the next thing each time that the watcher waits, so that no test waits for the clock."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self._steps = iter(steps)

    def wait(self, seconds: float) -> None:
        next(self._steps)()


class Watched:
    def __init__(self, path: Path) -> None:
        self.book, self.told, self.said = FileJournal(path), list[Event](), list[str]()
        self.now = time.time()
        self.lock: Callable[[], str] | None = None

    def write(self, *events: Any) -> Callable[[], None]:
        def go() -> None:
            for event in events:
                self.book.note("r1", event) if isinstance(event, AtWork) else self.book.write("r1", event)

        return go

    def follow(self, *steps: Callable[[], object]) -> Any:
        watch = Watch(
            FileJournal(self.book.path), "p", self.lock, lambda record, event: self.told.append(event),
            self.said.append, clock=lambda: self.now,
        )  # fmt: skip
        return watch.follow(1.0, Script(*steps))

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.told]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path / "p.jsonl")
    yield found
    found.book.close()


def test_the_watcher_is_told_what_the_run_told(watched: Watched) -> None:
    watched.write(BEGAN)()
    run = watched.follow(
        watched.write(TURN), watched.write(note(5.0)), lambda: None, watched.write(note(10.0)), watched.write(OK, ENDED)
    )
    assert run.state == "ok" and run.exit_code == 0
    assert watched.names == ["RunBegan", "StepPlanned", "AtWork", "AtWork", "StepEnded"]
    planned, ended = watched.told[1], watched.told[-1]
    assert isinstance(planned, StepPlanned) and (planned.planned.step.uses, planned.planned.because) == (
        "sql", "when x.ok: x.ok is true",
    )  # fmt: skip
    assert isinstance(ended, StepEnded) and ended.outcome.outputs == {"count": 3} and ended.outcome.seconds == 1.5


def test_what_was_done_before_is_told_first_and_only_once(watched: Watched) -> None:
    watched.write(BEGAN, TURN, OK)()
    watched.follow(lambda: None, watched.write(ENDED))
    assert watched.names == ["RunBegan", "StepPlanned", "StepEnded"]


def test_a_failure_is_told_with_all_of_it(watched: Watched) -> None:
    watched.write(BEGAN, TURN, BAD, replace(ENDED, state="failed", exit_code=1, next="planrun apply p.yml --resume"))()
    run = watched.follow()
    assert (run.state, run.exit_code, run.next) == ("failed", 1, "planrun apply p.yml --resume")
    bad = watched.told[-1]
    assert isinstance(bad, StepEnded) and (bad.outcome.message, bad.outcome.hint, bad.outcome.code) == (
        "no", "do", "PR0404",
    )  # fmt: skip


def test_only_the_newest_attempt_is_told(watched: Watched) -> None:
    watched.write(BEGAN, TURN, BAD, replace(ENDED, state="failed", exit_code=1))()
    watched.write(replace(BEGAN, mode="resume"), TURN)()
    watched.follow(watched.write(OK, ENDED))
    assert watched.names == ["RunBegan", "StepPlanned", "StepEnded"]


def test_nothing_was_ever_run(watched: Watched) -> None:
    assert watched.follow() is None


# ------------------------------------------------------------------ dead, silent, not begun


def test_a_run_without_a_lock_whose_process_is_gone_is_dead(watched: Watched) -> None:
    watched.write(replace(BEGAN, pid=2**22 + 1), TURN)()
    assert watched.follow().state == "cut off"


def test_a_run_on_another_host_may_be_silent_and_is_not_called_dead(watched: Watched) -> None:
    watched.write(replace(BEGAN, host="elsewhere", pid=2**22 + 1), TURN)()

    def later(seconds: float) -> Callable[[], None]:
        return lambda: setattr(watched, "now", watched.now + seconds)

    run = watched.follow(later(30), later(40), later(40), later(40), watched.write(OK, ENDED))
    assert run.state == "ok"
    assert len(watched.said) == 2 and "run r1 has written nothing for 70 s" in watched.said[0]


def test_a_run_that_lost_its_lock_is_dead_unless_it_ended_just_now(watched: Watched) -> None:
    watched.lock = lambda: ""
    watched.write(BEGAN, TURN)()
    assert watched.follow().state == "cut off"

    def end() -> str:
        watched.write(OK, ENDED)()
        return ""

    watched.lock = end
    assert watched.follow().state == "ok"


def test_a_run_that_is_being_prepared_is_waited_for(watched: Watched) -> None:
    watched.write(BEGAN, TURN, OK, ENDED)()
    watched.lock = lambda: "run r2, host h"

    def begin() -> None:
        for event in (replace(BEGAN, run="r2"), TURN):
            watched.book.write("r2", event)

    def end() -> None:
        watched.book.write("r2", OK)
        watched.book.write("r2", replace(ENDED, run="r2"))

    run = watched.follow(lambda: None, begin, end)
    assert run.id == "r2" and run.state == "ok"
    assert watched.names == ["RunBegan", "StepPlanned", "StepEnded"] and "being prepared" in watched.said[0]


def test_a_journal_that_is_away_for_a_while_ends_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.write(BEGAN, TURN)()
    away = [False]
    real = FileJournal.since

    def since(self: FileJournal, mark: int) -> Any:
        if away[0]:
            raise TargetError("the server is away")
        return real(self, mark)

    monkeypatch.setattr(FileJournal, "since", since)

    def leave() -> None:
        away[0] = True

    def come_back() -> None:
        away[0] = False
        watched.write(OK, ENDED)()

    assert watched.follow(leave, come_back).state == "ok"
    assert watched.said == ["the journal cannot be read: the server is away"]


@pytest.mark.parametrize(
    "record",
    [{"event": "turn"}, {"event": "outcome", "path": "a", "state": "great"}, {"event": "at_work", "path": "a"}, {}],
)
def test_a_strange_record_is_passed_over(record: dict[str, Any]) -> None:
    assert list(module._events({"run": "r1", "at": "2025-07-20T12:00:00+00:00", **record})) == []
