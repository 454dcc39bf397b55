"""Send a test message to each recipient of a plan, and tell how each answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from runner.cancel import Cancel
from runner.model import Plan, Recipient
from runner.notify.message import SendError
from runner.notify.notifier import GRACE, facts_of, name
from runner.notify.sending import send
from runner.redact import Redactor
from runner.words import one_line


@dataclass(frozen=True, kw_only=True)
class RecipientAnswer:
    """How a recipient answered. state: ok, failed, skipped where its variable is empty, or not tried."""

    recipient: str
    state: str
    message: str
    seconds: float = 0.0


def send_test_messages(plan: Plan, redactor: Redactor, cancel: Cancel) -> Iterator[RecipientAnswer]:
    """Send a test message to everybody in `notify:`, all at once, and yield the answers in the plan's order.

    A recipient that hangs counts as failed after its `timeout`. Raises the reason of `cancel`.
    """
    calls = [_Call(one, plan, redactor) for one in plan.notify]
    for call in calls:
        yield call.answer(cancel)


class _Call:
    """One message in a thread that keeps nobody waiting when it hangs."""

    def __init__(self, recipient: Recipient, plan: Plan, redactor: Redactor) -> None:
        self._recipient, self._plan, self._redactor = recipient, plan, redactor
        self._found: RecipientAnswer | None = None
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="planrun-notify", daemon=True)
        self._thread.start()

    def answer(self, cancel: Cancel) -> RecipientAnswer:
        ends = self._began + self._recipient.timeout + GRACE
        while self._thread.is_alive() and time.monotonic() < ends:
            cancel.check()
            self._thread.join(0.05)
        return self._found or self._answer("failed", f"it did not answer within {self._recipient.timeout:g} s")

    def _work(self) -> None:
        self._found = self._try()

    def _try(self) -> RecipientAnswer:
        if not self._recipient.address:
            return self._answer("skipped", f"nobody is told, because {self._recipient.variable} is empty")
        facts = replace(facts_of(self._plan, run="test", attempt="test"), moment="test")
        try:
            return self._answer("ok", send(self._recipient, self._redactor.of(facts)))
        except SendError as exc:
            return self._answer("failed", str(exc))
        except Exception as exc:  # whatever a service or its library does
            return self._answer("failed", f"{type(exc).__name__}: {exc}")

    def _answer(self, state: str, message: str) -> RecipientAnswer:
        text = self._redactor.text(one_line(message))
        spent = time.monotonic() - self._began
        return RecipientAnswer(recipient=name(self._recipient), state=state, message=text, seconds=spent)
