"""Every event is JSON data, by name and version, and comes back as it was."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from runner.errors import TargetError, VerifyError
from runner.events import Event, StepEnded, StepPlanned, plain, to_json
from runner.model import UNKNOWN, Action, Outcome, State
from tests.made import HOSTILE, planned_step
from tests.unit.test_actions import EXAMPLES as ACTIONS
from tests.unit.test_text import EVENTS


def through_json(event: Event) -> dict[str, Any]:
    text = json.dumps(to_json(event), allow_nan=False)
    return dict(json.loads(text))


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_goes_through_json(kind: type) -> None:
    event = EVENTS[kind]
    data = through_json(event)
    assert data["format_version"] == 1
    assert datetime.fromisoformat(data["at"]).tzinfo is not None
    assert isinstance(data["event"], str) and data["event"] == data["event"].lower()
    if not isinstance(event, StepPlanned | StepEnded):
        names = [one.name for one in dataclasses.fields(event)]
        again = kind(**{name: data[name] for name in names})
        assert plain(dataclasses.asdict(again)) == plain(dataclasses.asdict(event))


def test_no_two_events_have_one_name() -> None:
    names = [to_json(event)["event"] for event in EVENTS.values()]
    assert len(set(names)) == len(get_args(Event))


@pytest.mark.parametrize("kind", get_args(Action), ids=lambda kind: kind.__name__)
def test_a_turn_tells_every_action_whole(kind: type) -> None:
    action, _ = ACTIONS[kind]
    data = through_json(StepPlanned(planned=planned_step("g.a", action, because=HOSTILE)))
    assert (data["path"], data["uses"], data["because"], data["stale"]) == ("g.a", "sql", HOSTILE, False)
    (told,) = data["actions"]
    assert told["action"] == kind.__name__.lower()
    assert {one.name for one in dataclasses.fields(kind)} <= told.keys()


def test_an_outcome_tells_state_outputs_and_the_code_of_its_error() -> None:
    bad = Outcome(path="a", state=State.FAILED, message="m", hint="h", error=VerifyError("m"), outputs={"x": UNKNOWN})
    data = through_json(StepEnded(outcome=bad))
    assert (data["state"], data["message"], data["hint"], data["exit_code"]) == ("failed", "m", "h", 6)
    assert data["outputs"] == {"x": {"unknown": "until run"}}
    assert "exit_code" not in through_json(StepEnded(outcome=Outcome(path="a", state=State.OK)))
    assert TargetError("x").exit_code == 1


def test_time_is_utc_with_milliseconds() -> None:
    at = datetime(2025, 7, 20, 12, 26, 55, 178000, tzinfo=UTC)
    assert to_json(next(iter(EVENTS.values())), at=at)["at"] == "2025-07-20T12:26:55.178+00:00"


def test_what_json_has_not_becomes_text() -> None:
    odd = {1: Path("/x"), "nan": float("nan"), "inf": -float("inf"), "t": (1, [UNKNOWN]), "n": None, "b": True}
    assert plain(odd) == {
        "1": "/x", "nan": "nan", "inf": "-inf", "t": [1, [{"unknown": "until run"}]], "n": None, "b": True
    }  # fmt: skip
