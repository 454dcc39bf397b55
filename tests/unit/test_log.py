"""With --log-format json, stderr has one JSON object for each line, whoever writes it, and no secret."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from runner.cli import log, main
from runner.cli.log import LogStream
from runner.errors import UsageError, VerifyError
from runner.events import (
    ActionDone,
    ActionProgress,
    Event,
    PhaseProgress,
    Progress,
    Resuming,
    Retrying,
    RunEnded,
    StepEnded,
    Waiting,
    Warned,
)
from runner.model import Outcome, State
from runner.report.colours import show
from tests.unit.test_measures import began, planned

EVENTS: list[Event] = [
    Resuming(run="r1", state="cut off", last="", who="u", done=("a",), begun={}),
    began(),
    planned("save", "pg_dump"),
    ActionProgress(path="save", key="k.0", phases=(PhaseProgress(phase="rows", done=1024, total=2048),), share=0.4),
    ActionProgress(path="save", key="k.0", phases=(PhaseProgress(phase="rows", done=2048, total=2048),), share=0.9),
    Progress(path="save", what="a line\n", done=0, total=0, unit="line"),
    Retrying(path="save", attempt=1, of=3, delay=2.0, message="lock"),
    Warned(about="notify webhook h (from HOOK)", message="it answered 401", hint="do that", code="PR1093"),
    Waiting(connection="", message="waits for a lock"),
    ActionDone(path="save", key="k.0", result=None),  # type: ignore[arg-type]
    StepEnded(outcome=Outcome(path="save", state=State.WARNED, outputs={"rows": 3, "tables": ["x"]}, seconds=1.0)),
    StepEnded(outcome=Outcome(path="go", state=State.FAILED, message="no", hint="do this", code="PR0301")),
    RunEnded(run="r1", state="failed", exit_code=1, seconds=2.0, message="no", next="planrun apply p.yml --resume"),
]


def begin(monkeypatch: pytest.MonkeyPatch) -> LogStream:
    """Make stderr a log. A fixture cannot: pytest has another stderr while a test runs."""
    made = LogStream(io.StringIO())
    monkeypatch.setattr(sys, "stderr", made)
    return made


def entries(stream: LogStream) -> list[dict[str, Any]]:
    inner = stream._stream
    assert isinstance(inner, io.StringIO)
    return [json.loads(line) for line in inner.getvalue().splitlines()]


def test_every_event_is_an_object_with_time_level_run_plan_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = begin(monkeypatch)
    with log.listen("text") as listener:
        for event in EVENTS:
            listener.event(event)
    found = entries(stream)
    assert [one["event"] for one in found] == [
        *("resuming", "run_began", "turn", "progress", "output", "retrying", "warning", "waiting", "action_done"),
        *("outcome", "outcome", "run_ended"),
    ], "a progress that follows at once is left out"
    assert [one["level"] for one in found[5:]] == [
        "warning",
        "warning",
        "warning",
        "debug",
        "warning",
        "error",
        "error",
    ]
    assert all(one["time"].endswith("Z") and one["logger"].startswith("planrun") for one in found)
    assert all((one["run"], one["plan"], one["mode"]) == ("r1", "nightly", "apply") for one in found[1:])
    assert (found[3]["message"], found[3]["done"], found[3]["total"], found[3]["share"]) == (
        "save: rows 1,024 bytes of 2,048 bytes, 40 %", 1024, 2048, 0.4,
    )  # fmt: skip
    steps = [one for one in found if one["logger"] == "planrun.step"]
    assert {one["step"] for one in steps} == {"save", "go"}
    assert steps[-2]["outputs"] == {"rows": 3} and steps[-1]["hint"] == "do this" and steps[-1]["code"] == "PR0301"
    assert found[-1]["next"] == "planrun apply p.yml --resume" and found[-1]["exit_code"] == 1


def test_the_steps_of_a_diff_are_logged_for_a_diff_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = begin(monkeypatch)
    diff: list[Event] = [
        began("diff"),
        planned("save", "pg_dump"),
        StepEnded(outcome=Outcome(path="save", state=State.WOULD)),
    ]
    with log.listen("text") as listener:
        for event in diff:
            listener.event(event)
    assert [one["event"] for one in entries(stream)] == ["run_began"]
    writer = log.writer("jsonl")
    for event in diff:
        writer.event(event)
    assert [one["event"] for one in entries(stream)][1:] == ["run_began", "turn", "outcome"]
    assert len(capsys.readouterr().out.splitlines()) == 3, "-o jsonl still goes to stdout"


def test_what_anybody_prints_is_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = begin(monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("API_TOKEN", "a-canary-of-24-letters!!")
    show("warning: disk is nearly full\n\n  hint: a-canary-of-24-letters!!", sys.stderr)
    print("error: two ", end="", file=sys.stderr)
    print("parts", file=sys.stderr)
    click.echo("by click", err=True)
    print("no line break", end="", file=sys.stderr)
    log.finish()
    told = [(one["level"], one["message"]) for one in entries(stream)]
    assert told == [
        ("warning", "warning: disk is nearly full"),
        ("info", "  hint: ***"),
        ("error", "error: two parts"),
        ("info", "by click"),
        ("info", "no line break"),
    ]
    assert not stream.isatty(), "nothing draws on it, and no program gets it as its terminal"


def test_an_error_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = begin(monkeypatch)
    assert log.error(VerifyError("two\nlines", where="x", hint="do\nthat", code="PR0706"))
    (one,) = entries(stream)
    assert (one["level"], one["event"], one["code"], one["exit_code"]) == ("error", "error", "PR0706", 6)
    assert one["hint"] == "do\nthat"


def test_a_question_is_refused_where_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch)
    log.refuse_questions(yes=True)
    with pytest.raises(UsageError) as caught:
        log.refuse_questions(yes=False)
    assert caught.value.code == "PR1129"


def test_without_the_option_stderr_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert not log.is_on() and not log.error(VerifyError("x", code="PR0706"))
    log.refuse_questions(yes=False)


@pytest.mark.parametrize(
    "words",
    [
        ["apply"], ["rollback"], ["abort"], ["diff"], ["rehearse"], ["backups", "verify"],
        ["backups", "restore", "latest"], ["backups", "adopt", "t"], ["backups", "prune"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_long_commands_have_the_option(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = words[:2] if words[0] == "backups" else words[:1]
    assert main([*verb, "nothing.yml", *words[len(verb) :], "--log-format", "json"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["code"] == "PR0102"
