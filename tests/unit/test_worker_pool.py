"""Workers for tasks: their order, tasks that come later, failures and cancels."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from runner.cancel import Cancel
from runner.database.worker_pool import WorkerPool
from runner.errors import Interrupted, TargetError


class Tools:
    """Opens numbers, and counts what is open."""

    def __init__(self) -> None:
        self.opened, self.open_now = 0, 0

    @contextlib.contextmanager
    def one(self) -> Iterator[int]:
        self.opened += 1
        self.open_now += 1
        try:
            yield self.opened
        finally:
            self.open_now -= 1


def test_tasks_start_in_their_order_and_share_the_tool_of_their_worker() -> None:
    tools, done = Tools(), list[tuple[int, int]]()
    WorkerPool(1, tools.one, Cancel()).work_off([lambda tool, n=n: done.append((n, tool)) for n in range(5)])  # type: ignore[misc]
    assert done == [(n, 1) for n in range(5)]
    assert (tools.opened, tools.open_now) == (1, 0)


def test_nothing_is_opened_for_no_task() -> None:
    tools = Tools()
    pool = WorkerPool(3, tools.one, Cancel())
    with pool.workers():
        pass
    WorkerPool(3, tools.one, Cancel()).work_off([])
    assert tools.opened == 0


def test_no_more_tools_are_opened_than_there_are_tasks() -> None:
    tools = Tools()
    WorkerPool(8, tools.one, Cancel()).work_off([lambda tool: None] * 2)
    assert 1 <= tools.opened <= 2


def test_tasks_that_tasks_of_another_pool_add_are_all_done() -> None:
    cancel, done = Cancel(), list[int]()
    second = WorkerPool(2, Tools().one, cancel)
    with second.workers():
        first = [lambda tool, n=n: second.add(lambda tool: done.append(n)) for n in range(50)]
        WorkerPool(2, Tools().one, cancel).work_off(first)
    assert sorted(done) == list(range(50))


def test_a_failure_of_the_second_pool_stops_the_first_and_is_what_is_raised() -> None:
    cancel, begun = Cancel(), list[int]()
    failed = threading.Event()

    def fail(tool: int) -> None:
        failed.set()
        raise TargetError("no room", code="PR0701")

    second = WorkerPool(1, Tools().one, cancel)

    def feed(tool: int) -> None:
        begun.append(tool)
        second.add(fail)
        failed.wait(10)
        while cancel.reason is None:
            time.sleep(0.001)

    with pytest.raises(TargetError, match="no room"), second.workers():
        WorkerPool(1, Tools().one, cancel).work_off([feed] * 10)
    assert len(begun) == 1


def test_a_failure_of_the_block_ends_workers_that_wait_for_tasks() -> None:
    pool = WorkerPool(2, Tools().one, Cancel())
    with pytest.raises(KeyError), pool.workers():
        raise KeyError("x")


def test_a_cancel_wakes_workers_that_wait_for_tasks() -> None:
    above = Cancel()
    with above.child() as cancel:
        pool = WorkerPool(2, Tools().one, cancel)
        threading.Timer(0.05, above.cancel, [Interrupted("stop", signal=2)]).start()
        with pytest.raises(Interrupted), pool.workers():
            while cancel.reason is None:
                time.sleep(0.001)


def test_the_first_failure_is_raised_and_what_has_not_begun_is_left() -> None:
    tools, done = Tools(), list[int]()

    def fail(tool: int) -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        WorkerPool(1, tools.one, Cancel()).work_off([fail, done.append])
    assert not done and tools.open_now == 0
