"""Sinks receive the events of a run; one that fails is told once and does not disturb the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from runner.cli.sinks import Sinks
from runner.events import Event, Waiting


@dataclass
class _Sink:
    name: str
    fails: bool = False
    events: list[Event] = field(default_factory=list)
    closed: int = 0

    def event(self, event: Event) -> None:
        self.events.append(event)
        if self.fails:
            raise OSError("no space left\non device")

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("closed all the same")


def test_a_sink_that_fails_gets_nothing_more_and_the_others_get_everything(capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = _Sink("--report out", fails=True), _Sink("--metrics m.prom")
    sinks = Sinks([bad, good])
    terminal: list[Event] = []
    emit = sinks.after(terminal.append)
    told = [Waiting(connection="", message=text) for text in ("one", "two")]
    for event in told:
        emit(event)
    sinks.close()
    assert terminal == good.events == told and bad.events == told[:1]
    assert (bad.closed, good.closed) == (0, 1)
    said = capsys.readouterr().err
    assert said == "warning: --report out gets nothing more of this run: no space left | on device\n"


def test_a_sink_that_cannot_be_closed_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = _Sink("a", fails=True), _Sink("b")
    Sinks([bad, good]).close()
    assert (bad.closed, good.closed) == (1, 1)
    assert "a gets nothing more of this run: closed all the same" in capsys.readouterr().err
