"""Several connections that work through tasks: the first failure stops the others and is raised."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from runner.cancel import Cancel
from runner.errors import PlanrunError

Tool = TypeVar("Tool")
Task = Callable[[Tool], object]


class WorkerPool(Generic[Tool]):
    """Workers for tasks, which start in their order.

    jobs: how many at the same time. tool: opens what a worker needs, such as its connections, when its first task is
    there. cancel: cancelled by a failure.
    """

    def __init__(self, jobs: int, tool: Callable[[], AbstractContextManager[Tool]], cancel: Cancel) -> None:
        self._jobs, self._tool, self._cancel = jobs, tool, cancel
        self._change, self._todo, self._complete = threading.Condition(), deque[Callable[[Tool], object]](), False
        self._error: BaseException | None = None

    def work_off(self, tasks: Sequence[Task[Tool]]) -> None:
        """Run all tasks; start them in their order. Raises the first error of a task, or the reason of a cancel."""
        if not tasks:
            self._cancel.check()
            return
        self._jobs = max(1, min(self._jobs, len(tasks)))
        with self.workers():
            for task in tasks:
                self.add(task)

    @contextlib.contextmanager
    def workers(self) -> Iterator[None]:
        """Run the tasks that `add` brings during the block. At its end, wait until all of them are complete.

        Raises the first error of a task or of the block, or the reason of a cancel.
        """
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="planrun-worker") as pool:
            try:
                workers = [pool.submit(self._work) for _ in range(self._jobs)]
                yield
                self._end()
                wait(workers)
            except BaseException as exc:  # a Ctrl-C that was not turned into a cancel
                self._fail(exc)
        if self._error:
            raise self._error
        self._cancel.check()

    def add(self, task: Task[Tool]) -> None:
        """Add a task behind the others during the block; any thread may call it, a task of another pool too."""
        with self._change:
            self._todo.append(task)
            self._change.notify()

    def _end(self) -> None:
        with self._change:
            self._complete = True
            self._change.notify_all()

    def _work(self) -> None:
        try:
            if (task := self._next()) is None:
                return
            with self._tool() as tool:
                while task is not None:
                    task(tool)
                    task = self._next()
        except BaseException as exc:
            self._fail(exc)

    def _next(self) -> Task[Tool] | None:
        """Wait for a task and return it; None when there are no more. Raises the reason of a cancel."""
        with self._cancel.on_cancel(self._wake), self._change:
            while not (self._todo or self._complete or self._cancel.reason):
                self._change.wait()
            self._cancel.check()
            return self._todo.popleft() if self._todo else None

    def _wake(self) -> None:
        with self._change:
            self._change.notify_all()

    def _fail(self, exc: BaseException) -> None:
        with self._change:
            self._error = self._error or exc
        self._cancel.cancel(
            exc if isinstance(exc, PlanrunError) else PlanrunError("another part failed", code="PR0517")
        )
