"""What a run came to, as one value."""

from __future__ import annotations

import pytest

from runner.engine import Drive
from runner.errors import TargetError
from runner.model import Outcome, State
from runner.result import step_results
from tests.made import end_step, planned_step, result


def test_a_result_is_asked_by_path() -> None:
    made = result(
        end_step(planned_step("a"), State.OK, outputs={"rows": 2}), end_step(planned_step("g.b"), State.SKIPPED)
    )
    assert made.ok and made["a"].outputs == {"rows": 2} and made["g.b"].state == "skipped"
    with pytest.raises(KeyError):
        made["nope"]
    assert not result(error=TargetError("no")).ok


def test_results_come_in_the_order_of_the_turns() -> None:
    done = Drive()
    for path, state in (("b", State.OK), ("a", State.FAILED)):
        done.planned_steps[path] = planned_step(path)
        done.outcomes[path] = Outcome(path=path, state=state, message=f"{path} is it", hint="h", seconds=1.0)
    first, second = step_results(done)
    assert (first.path, first.state, second.path, second.state) == ("b", "ok", "a", "failed")
    assert (second.message, second.hint, second.seconds, second.planned) == (
        "a is it",
        "h",
        1.0,
        done.planned_steps["a"],
    )
