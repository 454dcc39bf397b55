"""The sink writes a report from the journal, from its events if the journal is gone, and none of a mere diff."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.cli.report_sink import ReportSink
from runner.errors import TargetError
from runner.events import RunBegan, RunEnded, StepEnded
from runner.model import Outcome, State
from tests.htmlpage import harmless
from tests.unit.test_journal import BEGAN, ENDED


def gone(run: str) -> list[dict[str, object]]:
    raise TargetError("the server closed the connection", code="PR0403")


def test_a_journal_that_cannot_be_read_leaves_what_was_seen(tmp_path: Path) -> None:
    sink = ReportSink(tmp_path / "out", gone)
    outcome = Outcome(path="a", state=State.FAILED, message="lost <i>")
    for event in (replace(BEGAN, mode="diff"), BEGAN, StepEnded(outcome=outcome), replace(ENDED, state="failed")):
        sink.event(event)
    sink.close()
    assert sink.file and "lost <i>" in harmless(sink.file.read_text()).text
    assert "cannot be read (the server closed the connection): it tells of this attempt alone" in sink.note


def test_a_run_that_did_not_begin_has_no_report(tmp_path: Path) -> None:
    sink = ReportSink(tmp_path / "out", gone)
    sink.event(replace(BEGAN, mode="diff"))
    sink.event(RunEnded(run="r1", state="failed", exit_code=1, seconds=1.0))
    sink.close()
    assert sink.file is None and not (tmp_path / "out").exists()
    assert isinstance(BEGAN, RunBegan)
