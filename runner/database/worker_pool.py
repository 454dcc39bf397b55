"""Several connections that work through a list: the first failure stops the others and is raised."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from runner.cancel import Cancel
from runner.errors import PlanrunError

Tool = TypeVar("Tool")


class WorkerPool(Generic[Tool]):
    """Workers for a list. tool: opens what each needs, such as its connections. cancel: cancelled by a failure."""

    def __init__(self, jobs: int, tool: Callable[[], AbstractContextManager[Tool]], cancel: Cancel) -> None:
        self._jobs, self._tool, self._cancel = jobs, tool, cancel
        self._lock, self._todo = threading.Lock(), deque[Callable[[Tool], object]]()
        self._error: BaseException | None = None

    def work_off(self, tasks: Sequence[Callable[[Tool], object]]) -> None:
        """Run all tasks; start them in their order."""
        if not tasks:
            self._cancel.check()
            return
        self._todo.extend(tasks)
        jobs = max(1, min(self._jobs, len(tasks)))
        with ThreadPoolExecutor(jobs, thread_name_prefix="planrun-crew") as pool:
            try:
                wait([pool.submit(self._worker) for _ in range(jobs)])
            except BaseException as exc:  # a Ctrl-C that was not turned into a cancel
                self._fail(exc)
        if self._error:
            raise self._error
        self._cancel.check()

    def _worker(self) -> None:
        try:
            with self._tool() as tool:
                while task := self._next():
                    task(tool)
        except BaseException as exc:
            self._fail(exc)

    def _next(self) -> Callable[[Tool], object] | None:
        self._cancel.check()
        with self._lock:
            return self._todo.popleft() if self._todo else None

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._error = self._error or exc
        self._cancel.cancel(
            exc if isinstance(exc, PlanrunError) else PlanrunError("another part failed", code="PR0517")
        )
