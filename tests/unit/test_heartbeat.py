"""When it is said how far the step at work is: after a silence, and when somebody asks."""

from __future__ import annotations

import queue
import signal
import threading
from typing import Any

import pytest

from runner.board import Board
from runner.cli.common import progress_on_signal
from runner.errors import UsageError
from runner.events import AtWork, StepEnded, StepPlanned
from runner.model import Outcome, Sql, State
from runner.report import results
from runner.report.heartbeat import Heartbeat, interval
from tests.made import planned_step

STEP = StepPlanned(planned=planned_step("a", Sql(text="select 1")))
END = StepEnded(outcome=Outcome(path="a", state=State.OK))


def test_a_step_is_told_after_each_silence_and_only_a_step() -> None:
    board, told = Board(), queue.Queue[tuple[AtWork | None, bool]]()
    with Heartbeat(board, lambda *one: told.put(one), 0.02):
        with pytest.raises(queue.Empty):
            told.get(timeout=0.1)
        board.take(STEP)
        for _ in range(2):
            found, asked = told.get(timeout=5)
            assert found and found.path == "a" and not asked


def test_a_line_ends_the_silence() -> None:
    board, told = Board(), list[Any]()
    board.take(STEP)
    with Heartbeat(board, lambda *one: told.append(one), 0.2) as beat:
        for _ in range(30):
            beat.note_line()
            threading.Event().wait(0.01)
        assert not told


def test_who_asks_gets_an_answer_at_once_even_if_no_step_is_at_work() -> None:
    told = queue.Queue[tuple[AtWork | None, bool]]()
    with Heartbeat(Board(), lambda *one: told.put(one), None) as beat:
        beat.ask()
        assert told.get(timeout=5) == (None, True)


@pytest.mark.parametrize(("text", "seconds"), [("", 30.0), ("10", 10.0), ("2min", 120.0), ("250ms", 0.25)])
def test_the_interval_is_a_duration(text: str, seconds: float) -> None:
    assert interval({"PLANRUN_PROGRESS_INTERVAL": text}) == seconds


@pytest.mark.parametrize("text", ["often", "0", "-1", "3d", "1e9"])
def test_another_interval_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        interval({"PLANRUN_PROGRESS_INTERVAL": text})
    assert caught.value.code == "PR1115"


# ------------------------------------------------------------------ the listeners


def wait_for(capsys: pytest.CaptureFixture[str], text: str) -> str:
    seen = ""
    for _ in range(500):
        seen += capsys.readouterr().err
        if text in seen:
            return seen
        threading.Event().wait(0.01)
    raise AssertionError(f"no {text!r} in {seen!r}")


def test_a_pipe_gets_a_line_after_a_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANRUN_PROGRESS_INTERVAL", "100ms")
    with results.listen("text") as listener:
        listener.event(STEP)
        assert "a: sql begins\n" in wait_for(capsys, "a: sql at work for 1")
        listener.event(END)


def test_a_stream_gets_an_object_after_a_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANRUN_PROGRESS_INTERVAL", "100ms")
    with results.listen("jsonl") as listener:
        listener.event(STEP)
        seen = ""
        for _ in range(500):
            seen += capsys.readouterr().out
            if '"event": "at_work"' in seen:
                break
            threading.Event().wait(0.01)
        assert '"event": "at_work", "path": "a", "uses": "sql"' in seen


def test_a_signal_prints_one_line_except_during_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    with results.listen("text") as listener, progress_on_signal(listener.ask):
        listener.event(STEP)
        with listener.pause():
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert wait_for(capsys, "at work").count("at work") == 1
        listener.event(END)
        signal.raise_signal(signal.SIGUSR1)
        wait_for(capsys, "no step is at work now\n")


def test_signals_in_the_middle_of_anything_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """A storm of signals at random moments of events, prints and locks: nothing is lost, nothing hangs."""
    main = threading.main_thread().ident
    assert main
    with results.listen("text") as listener, progress_on_signal(listener.ask):
        stop = threading.Event()

        def storm() -> None:
            while not stop.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)
                stop.wait(0.0005)

        thread = threading.Thread(target=storm)
        thread.start()
        for _ in range(200):
            listener.event(STEP)
            listener.event(END)
        stop.set()
        thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("a: sql begins") == lines.count("a: ok") == 200
    assert all(
        line in ("a: sql begins", "a: ok", "no step is at work now") or " at work for " in line for line in lines
    )
