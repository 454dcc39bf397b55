"""What is known of the step that is at work."""

from __future__ import annotations

from runner.board import Board
from runner.events import (
    ActionDone,
    ActionProgress,
    AtWork,
    RunBegan,
    ServerProgress,
    StepEnded,
    StepPlanned,
    Waiting,
)
from runner.model import Outcome, Sql, State
from tests.made import group, planned_step

BEGAN = RunBegan(
    run="r", plan="p", file="p.yml", mode="apply", digest="d", total=1, host="h", pid=1, user="u", version="0"
)


def board_at(path: str = "a") -> tuple[Board, list[float]]:
    now = [100.0]
    board = Board(lambda: now[0])
    board.take(BEGAN)
    board.take(StepPlanned(planned=planned_step(path, Sql(text="select 1"))))
    return board, now


def known(board: Board) -> AtWork:
    found = board.at_work()
    assert found is not None
    return found


def test_a_step_is_at_work_from_its_plan_to_its_end() -> None:
    board, now = board_at()
    now[0] += 5
    board.take(ActionProgress(path="a", key="k", share=0.5))
    assert (known(board).path, known(board).uses, known(board).seconds) == ("a", "sql", 5.0)
    assert [one.share for one in known(board).progress] == [0.5]
    board.take(ActionDone(path="a", key="k", result={}))
    assert known(board).progress == ()
    board.take(StepEnded(outcome=Outcome(path="a", state=State.OK)))
    assert board.at_work() is None


def test_a_late_word_of_another_step_is_not_shown() -> None:
    board, _ = board_at("b")
    board.take(ActionProgress(path="a", key="k", share=0.5))
    assert known(board).progress == ()


def test_no_step_is_at_work_in_a_diff_nor_is_a_group() -> None:
    board = Board()
    board.take(RunBegan(**{**vars(BEGAN), "mode": "diff"}))
    board.take(StepPlanned(planned=planned_step("a", Sql(text="select 1"))))
    assert board.at_work() is None
    board.take(BEGAN)
    board.take(StepPlanned(planned=group("g")))
    assert board.at_work() is None


def test_a_wait_is_known_until_the_server_says_that_it_has_ended() -> None:
    board, now = board_at()
    board.take(Waiting(connection="target", message="waits for SHARE on t; blocked by: pid 7"))
    assert known(board).waits.startswith("waits for SHARE")
    board.take(ServerProgress(connection="target", lines=("CREATE INDEX on t, 45 %",), waits="waits for SHARE on t"))
    board.take(ServerProgress(connection="source", lines=("COPY TO on t, 3 MB",)))
    assert known(board).server == ("CREATE INDEX on t, 45 %", "COPY TO on t, 3 MB")
    board.take(ServerProgress(connection="target", lines=()))
    assert known(board).waits == "" and known(board).server == ("COPY TO on t, 3 MB",)
    now[0] += 60
    assert known(board).server == (), "a server that says nothing more is not quoted for ever"


def test_a_note_of_another_process_is_shown_as_it_is() -> None:
    board = Board()
    note = AtWork(path="a", uses="shadow_load", seconds=72.0)
    board.take(note)
    assert board.at_work() is note
    board.take(StepEnded(outcome=Outcome(path="a", state=State.OK)))
    assert board.at_work() is None
