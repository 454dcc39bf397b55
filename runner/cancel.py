"""One way to stop waiting work: a signal, a timeout and the failure of a parallel branch all call `Cancel.cancel`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from runner.errors import PlanrunError


class Cancel:
    """A request to stop, with its reason. Code that waits for a server or a program registers a wake-up function.

    `cancel` may be called from any thread and from a signal handler: the wake-up functions run in a thread of
    their own, because a handler must not wait for a network.
    """

    def __init__(self, above: Cancel | None = None) -> None:
        self._above = above
        self._lock = threading.RLock()
        self._wakers: dict[object, Callable[[], object]] = {}
        self._reason: PlanrunError | None = None
        self._stage: Cancel | None = None

    @property
    def is_spent(self) -> bool:
        """Whether another request to stop would have no effect, because the work was asked to stop already."""
        return (self._stage or self).reason is not None

    @property
    def has_stage(self) -> bool:
        """Whether the work is in its last stage, see `stage`."""
        return self._stage is not None

    @property
    def reason(self) -> PlanrunError | None:
        return self._reason or (self._above.reason if self._above else None)

    def cancel(self, reason: PlanrunError) -> None:
        """Stop everything that is registered here or registers later; the first reason is kept.

        During a stage, only the stage is stopped.
        """
        if (stage := self._stage) is not None:
            stage.cancel(reason)
            return
        with self._lock:  # re-entrant: a signal may arrive while this thread holds the lock
            if self._reason is not None:
                return
            self._reason = reason
        threading.Thread(target=self._wake, name="planrun-cancel", daemon=True).start()

    def _wake(self) -> None:
        with self._lock:
            wakers = list(self._wakers.values())
        for wake in wakers:  # a server that does not answer must not delay the other wake-up functions
            threading.Thread(target=_quietly, args=[wake], name="planrun-wake", daemon=True).start()

    def check(self) -> None:
        """Raise the reason if there is one."""
        if (reason := self.reason) is not None:
            raise reason

    def wait(self, seconds: float) -> None:
        """Wait for this many seconds, or until cancelled."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.reason is None:
            time.sleep(min(left, 0.05))

    @contextlib.contextmanager
    def on_cancel(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake` from another thread if cancelled inside the block; raise at once if already cancelled."""
        key = object()
        with self._lock:
            self.check()
            self._wakers[key] = wake
        try:
            yield
        finally:
            with self._lock:
                self._wakers.pop(key, None)

    @contextlib.contextmanager
    def after(self, seconds: float | None, reason: PlanrunError) -> Iterator[None]:
        """Cancel with this reason if the block takes longer than `seconds`; never if `seconds` is None."""
        if seconds is None:
            yield
            return
        timer = threading.Timer(seconds, self.cancel, [reason])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def stage(self) -> Iterator[Cancel]:
        """Return a Cancel for work that follows when this one's has ended, even if it was cancelled.

        A request to stop that comes inside the block is for that work alone.
        """
        with self._lock:
            self._stage = stage = Cancel()
        try:
            yield stage
        finally:
            with self._lock:
                self._stage = None

    @contextlib.contextmanager
    def child(self) -> Iterator[Cancel]:
        """Return a Cancel that this one cancels, too; for a step with a timeout or a group of branches."""
        inner = Cancel(self)

        def pass_on() -> None:
            if (reason := self.reason) is not None:
                inner.cancel(reason)

        with self.on_cancel(pass_on):
            yield inner


def _quietly(wake: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # a server that is gone cannot be asked to cancel
        wake()
