"""A result and its events in the form that was asked for."""

from __future__ import annotations

import json

import pytest

from runner.errors import TargetError
from runner.events import ActionProgress, Progress, RunBegan, ServerProgress, StepEnded, StepPlanned
from runner.model import UNKNOWN, Outcome, Sql, State
from runner.report import results
from tests.made import HOSTILE, RAW, end_step, planned_step, result

DIFF = RunBegan(
    run="r", plan="p", file="p.yml", mode="diff", digest="d", total=1, host="h", pid=1, user="u", version="0"
)


def test_json_has_all_of_it_and_a_version() -> None:
    steps = (
        end_step(
            planned_step("a", Sql(text=HOSTILE), because="b"), State.OK, outputs={"name": HOSTILE, "later": UNKNOWN}
        ),
        end_step(planned_step("c"), State.FAILED, message="m", hint="h", seconds=1.23456),
    )
    whole = result(*steps, state="failed", error=TargetError(HOSTILE, hint="h"), next="planrun x")
    text = results.render(whole, "json", verbose=True)
    assert not RAW.search(text) and text.endswith("}\n")
    data = json.loads(text)
    assert (data["format_version"], data["exit_code"], data["state"], data["next"]) == (1, 1, "failed", "planrun x")
    assert data["error"] == {"message": HOSTILE, "where": None, "hint": "h", "code": "", "exit_code": 1}
    first, second = data["steps"]
    (action,) = first["actions"]
    assert (action["action"], action["text"], action["transaction"]) == ("sql", HOSTILE, True)
    assert first["outputs"] == {"name": HOSTILE, "later": {"unknown": "until run"}} and first["because"] == "b"
    assert (second["path"], second["state"], second["message"], second["seconds"]) == ("c", "failed", "m", 1.235)
    assert "actions" not in json.loads(results.render(whole, "json"))["steps"][0]


def test_each_form() -> None:
    one = result(end_step(planned_step("a")))
    assert results.render(one, "markdown").startswith("<!-- planrun:nightly -->\n### planrun diff: nightly\n")
    assert results.render(one, "text").startswith("Plan nightly")
    assert results.render(one, "text", after=True).startswith("nightly: ok in")
    assert results.render(one, "jsonl") == ""


def test_a_stream_is_one_object_a_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with results.listen("jsonl") as listener, listener.pause():
        listener.event(DIFF)
        listener.event(Progress(path="a", what=HOSTILE, done=0, total=0, unit="line"))
        listener.event(ActionProgress(path="a", key="k", share=0.5))
        listener.event(ServerProgress(connection="", lines=("CREATE INDEX on t",)))
        listener.event(StepEnded(outcome=Outcome(path="a", state=State.OK, outputs={"n": float("nan")})))
    said = capsys.readouterr()
    assert said.err == "" and not RAW.search(said.out)
    events = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        for line in said.out.splitlines()
    ]
    assert [(one["format_version"], one["event"]) for one in events] == [
        (1, "run_began"),
        (1, "progress"),
        (1, "outcome"),
    ]
    assert events[1]["what"] == HOSTILE


def test_plain_lines_go_to_stderr_and_a_diff_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with results.listen("text") as listener:
        listener.event(DIFF)
        listener.event(StepPlanned(planned=planned_step("a")))
        assert capsys.readouterr() == ("", "")
        listener.event(RunBegan(**{**vars(DIFF), "mode": "apply"}))
        listener.event(StepPlanned(planned=planned_step("a")))
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[1:] == ["a: sql begins"]


def test_what_only_reads_is_silent_but_for_jsonl(capsys: pytest.CaptureFixture[str]) -> None:
    for output, lines in (("text", 0), ("json", 0), ("jsonl", 1)):
        results.writer(output).event(DIFF)
        assert len(capsys.readouterr().out.splitlines()) == lines
