"""One door to stop work: whoever waits is woken, whoever comes later is refused, the first reason stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError

STOP = PlanrunError("stop")


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


def test_cancelled_inside_the_block_the_waker_is_called() -> None:
    cancel, woken = Cancel(), threading.Event()
    with cancel.on_cancel(woken.set):
        cancel.check()
        cancel.cancel(STOP)
        assert woken.wait(5)
    with pytest.raises(PlanrunError, match="stop"):
        cancel.check()


def test_cancelled_before_the_block_is_not_entered_and_nobody_is_woken() -> None:
    cancel, woken = Cancel(), threading.Event()
    cancel.cancel(STOP)
    with pytest.raises(PlanrunError, match="stop"), cancel.on_cancel(woken.set):
        raise AssertionError("the block was entered")
    assert not woken.wait(0.05)


def test_cancelled_after_the_block_nobody_is_woken() -> None:
    cancel, woken = Cancel(), threading.Event()
    with cancel.on_cancel(woken.set):
        pass
    cancel.cancel(STOP)
    assert not woken.wait(0.05)


def test_the_first_reason_stays() -> None:
    cancel = Cancel()
    reasons = [PlanrunError(str(number)) for number in range(50)]
    start = threading.Barrier(len(reasons))
    seen: list[PlanrunError | None] = []

    def one(reason: PlanrunError) -> None:
        start.wait()
        cancel.cancel(reason)
        seen.append(cancel.reason)

    threads = [threading.Thread(target=one, args=[reason]) for reason in reasons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1


def test_a_waker_that_fails_or_hangs_does_not_keep_the_others_waiting() -> None:
    cancel, woken, held = Cancel(), threading.Event(), threading.Event()

    def fail() -> None:
        raise OSError("the server is gone")

    with cancel.on_cancel(fail), cancel.on_cancel(held.wait), cancel.on_cancel(woken.set):
        cancel.cancel(STOP)
        assert woken.wait(5)
    held.set()


def test_one_function_may_wait_twice() -> None:
    cancel, calls = Cancel(), threading.Semaphore(0)
    wake = calls.release
    with cancel.on_cancel(wake):
        with cancel.on_cancel(wake):
            pass
        cancel.cancel(STOP)
        assert calls.acquire(timeout=5), "leaving the inner block did not forget the outer one"


def test_racing_with_registration_wakes_or_refuses_every_time() -> None:
    for _ in range(100):
        cancel, woken, start = Cancel(), threading.Event(), threading.Barrier(2)

        def stop(cancel: Cancel = cancel, start: threading.Barrier = start) -> None:
            start.wait()
            cancel.cancel(STOP)

        thread = threading.Thread(target=stop)
        thread.start()
        start.wait()
        try:
            with cancel.on_cancel(woken.set):
                assert woken.wait(5), "registered, cancelled and never woken"
        except PlanrunError as exc:
            assert exc is STOP
        thread.join()


def test_a_child_hears_its_parent_and_keeps_its_own_to_itself() -> None:
    parent = Cancel()
    with parent.child() as inner:
        inner.cancel(TargetError("mine"))
        assert parent.reason is None
        parent.cancel(STOP)
        assert isinstance(inner.reason, TargetError)
    parent = Cancel()
    with parent.child() as inner, inner.child() as innermost:
        woken = threading.Event()
        with innermost.on_cancel(woken.set):
            parent.cancel(STOP)
            assert woken.wait(5) and innermost.reason is STOP
    with pytest.raises(PlanrunError, match="stop"), parent.child():
        raise AssertionError("the block was entered")


def test_a_deadline_cancels_only_while_the_block_lasts() -> None:
    cancel = Cancel()
    with cancel.after(0.02, STOP):
        wait(lambda: cancel.reason is STOP)
    other = Cancel()
    with other.after(0.03, STOP):
        pass
    with other.after(None, STOP):
        time.sleep(0.06)
    assert other.reason is None
