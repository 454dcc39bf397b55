"""Tells the recipients of a plan what becomes of a run, from its events, each in a thread of its own."""

from __future__ import annotations

import getpass
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from runner.cancel import Cancel
from runner.errors import Interrupted, PlanrunError, UsageError
from runner.events import Event, RunBegan, RunEnded, StepEnded, Warned
from runner.model import Plan, Recipient, State
from runner.notify.message import Facts, SendError
from runner.notify.sending import send
from runner.redact import Redactor
from runner.words import one_line

_MOMENTS = {"ok": "success", "paused": "paused"}
"""The moment of each state of a run that is no failure."""

_BUG = 70
"""The exit code of a bug (runner.cli.bug)."""

GRACE = 1.0
"""Seconds beyond the time of a recipient, in which it says itself that this is over."""


class Notifier:
    """Receives the events of one run, without secrets, and sends the messages that they give.

    report: where a report of the run will be; `{run}` in it stands for the id of the run. databases: returns the line
    of each connection. Sending never delays the caller; `finish` waits for it, each recipient within its `timeout`.
    """

    def __init__(
        self,
        plan: Plan,
        redactor: Redactor,
        *,
        run: str,
        mode: str,
        report: str = "",
        databases: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._plan, self._redactor, self._databases = plan, redactor, databases
        command = plan.command("notify", "--test")
        self._senders = [_Sender(one, redactor, command) for one in plan.notify if one.address]
        self._about = facts_of(plan, run=run, attempt=mode, report=report)
        self._warnings = list[str]()
        self.has_begun = False
        self._ended = False

    def lines(self) -> tuple[str, ...]:
        """Return a line for each recipient: who it is, when it is told, and why it could not be."""
        return tuple(map(line, self._plan.notify))

    # -------------------------------------------------------------- events

    def event(self, event: Event) -> None:
        """Take an event of the run."""
        match event:
            case RunBegan(mode=mode) if mode != "diff":
                self.has_begun, self._ended = True, False
                self._warnings.clear()
                self._about = replace(
                    self._about,
                    run=event.run,
                    attempt=mode,
                    databases=event.databases,
                    host=event.host,
                    user=event.user,
                )
                self._send(replace(self._about, moment="start", at=_now()))
            case StepEnded(outcome=outcome) if outcome.state is State.WARNED and outcome.message:
                self._warnings.append(f"{outcome.path}: {outcome.message}")
            case Warned():
                self._warnings.append(f"{event.about}: {event.message}")
            case RunEnded():
                self._end(event)

    def broke_off(self, exc: Exception, next_command: str) -> None:
        """Take an error that ended the run, or that kept it from beginning."""
        expected = isinstance(exc, PlanrunError) and not isinstance(exc, UsageError | Interrupted)
        if self._ended or not (expected or self.has_begun):
            return
        self._ended = True
        message, code, exit_code = f"a bug in planrun: {type(exc).__name__}", "", _BUG
        if isinstance(exc, PlanrunError):
            message, code, exit_code = exc.message, exc.code, exc.exit_code
        self._send(
            replace(
                self._about,
                moment="failure",
                at=_now(),
                state="failed" if self.has_begun else "not begun",
                exit_code=exit_code,
                error=message,
                code=code,
                next=next_command,
                warnings=tuple(self._warnings),
                databases=self._about.databases or tuple(self._databases()),
            )
        )

    def _end(self, event: RunEnded) -> None:
        self._ended = True
        back = self._plan.command("rollback") if self._plan.rollback and self._about.attempt != "rollback" else ""
        self._send(
            replace(
                self._about,
                moment=_MOMENTS.get(event.state, "failure"),
                at=_now(),
                state=event.state,
                run=event.run,
                exit_code=event.exit_code,
                seconds=event.seconds,
                step=event.step,
                code=event.code,
                error=event.message,
                next=event.next,
                way_back=back,
                counts=event.counts,
                warnings=tuple(self._warnings),
            )
        )

    def _send(self, facts: Facts) -> None:
        facts = self._redactor.of(replace(facts, report=facts.report.replace("{run}", facts.run)))
        for sender in self._senders:
            if facts.moment in sender.recipient.on or (facts.moment != "start" and "exit" in sender.recipient.on):
                sender.put(facts)

    def finish(self, cancel: Cancel) -> tuple[Warned, ...]:
        """Wait until everybody is told, or for as long as each may take; return what failed."""
        ends = time.monotonic() + max((one.recipient.timeout for one in self._senders if one.is_at_work), default=0.0)
        for sender in self._senders:
            sender.close()
        for sender in self._senders:
            sender.wait(ends + GRACE, cancel)
        found = [failure for sender in self._senders for failure in sender.take_failures()]
        self._senders = []
        return tuple(self._redactor.of(found))


# ------------------------------------------------------------------ one recipient


class _Sender:
    """Sends messages to one recipient, in their order, in a thread that begins with the first one."""

    def __init__(self, recipient: Recipient, redactor: Redactor, command: str) -> None:
        self.recipient, self._redactor, self._command = recipient, redactor, command
        self._messages: queue.SimpleQueue[Facts | None] = queue.SimpleQueue()
        self._failures: queue.SimpleQueue[Warned] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = list[Facts]()

    @property
    def is_at_work(self) -> bool:
        return bool(self._waiting)

    def put(self, facts: Facts) -> None:
        self._waiting.append(facts)
        self._messages.put(facts)
        if self._thread is None:  # a daemon: a server that hangs must not keep the process from ending
            self._thread = threading.Thread(target=self._work, name="planrun-notify", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._messages.put(None)

    def wait(self, until: float, cancel: Cancel) -> None:
        while self._thread and self._thread.is_alive() and time.monotonic() < until and cancel.reason is None:
            self._thread.join(0.05)

    def take_failures(self) -> list[Warned]:
        found = []
        while not self._failures.empty():
            found.append(self._failures.get())
        for facts in tuple(self._waiting):
            found.append(self._failure(facts, "it had not answered when planrun stopped waiting"))
        return found

    def _work(self) -> None:
        while (facts := self._messages.get()) is not None:
            try:
                send(self.recipient, facts)
            except SendError as exc:
                self._failures.put(self._failure(facts, str(exc)))
            except Exception as exc:  # whatever a service or its library does, the run goes on
                self._failures.put(self._failure(facts, f"{type(exc).__name__}: {exc}"))
            self._waiting.remove(facts)

    def _failure(self, facts: Facts, why: str) -> Warned:
        return Warned(
            about=f"notify {name(self.recipient)}",
            message=self._redactor.text(f"it was not told of the {facts.moment}: {one_line(why)}"),
            hint=f"see what it answers: {self._command}",
            code="PR1093",
        )


def facts_of(plan: Plan, *, run: str, attempt: str, report: str = "") -> Facts:
    """Return the facts of a run that is about to begin."""
    return Facts(
        moment="start", at=_now(), run=run, plan=plan.name, file=plan.file, attempt=attempt, report=report,
        host=socket.gethostname(), user=_user(),
    )  # fmt: skip


def name(recipient: Recipient) -> str:
    """Return a name for people, without a secret: the kind, the host or the service, and the variable."""
    where = ""
    if "://" in recipient.address:
        parts = urlsplit(recipient.address)
        where = f" {parts.scheme}" if recipient.kind == "url" else f" {parts.hostname}"
    return f"{recipient.kind}{where} (from {recipient.variable})"


def line(recipient: Recipient) -> str:
    """Return who a recipient is and when it is told, in one line."""
    head = f"{name(recipient)}: on {', '.join(recipient.on)}"
    if not recipient.address:
        set_ = "is empty" if recipient.variable in os.environ else "is not set"
        return f"{head}; nobody is told, because {recipient.variable} {set_}"
    if recipient.kind == "url":
        from runner.notify.service import UNKNOWN, is_known

        if not is_known(recipient.address):
            return f"! {head}; nobody can be told: {UNKNOWN}"
    unsigned = recipient.kind == "webhook" and not recipient.secret
    return f"{head}{', without a signature' if unsigned else ''}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return str(os.getuid())
