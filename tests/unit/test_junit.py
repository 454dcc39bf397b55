"""JUnit reports: a test case for each plan, and text that is no markup."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Mark, Problem, RefusedError
from runner.model import State
from runner.report import junit
from tests.junit import cases
from tests.made import HOSTILE, RAW, end_step, planned_step, result

HERE = Path.cwd()


def test_a_plan_with_problems_fails_with_all_of_them() -> None:
    some = [
        Problem(Mark("bad.yml", 2, 1), "wrong", "do", code="PR0110"),
        Problem(Mark("bad.yml", 3, 1), "worse", code="PR0110"),
    ]
    report = junit.of_problems({"good.yml": [], "bad.yml": some}, HERE, source=lambda file: "a\nb: 1\nc: 2\n")
    found = cases(report)
    assert list(found) == ["good.yml", "bad.yml"] and len(found["good.yml"]) == 0
    (failure,) = found["bad.yml"]
    assert failure.attrib == {"message": "bad.yml:2:1: PR0110 wrong (and 1 more)", "type": "PR0110"}
    text = failure.text or ""
    assert "  2 | b: 1\n    | ^\n" in text and "  hint: do\n" in text and "bad.yml:3:1: PR0110 worse" in text


def test_hostile_text_stays_text() -> None:
    text = HOSTILE + "]]></failure><x y='&amp;'>\ufffe\uffff"
    report = junit.of_problems(
        {HOSTILE: [Problem(Mark(HOSTILE, 1, 1), text, text, code="PR0110")]}, HERE, source=lambda file: text
    )
    (case,) = cases(report).values()
    assert not RAW.search(report)
    assert "]]></failure><x y='&amp;'>" in (case[0].text or "")


@given(st.text(min_size=1).filter(lambda name: "\0" not in name), st.text())
def test_any_text_is_xml(file: str, message: str) -> None:
    cases(
        junit.of_problems(
            {"p.yml": [Problem(Mark(file, 1, 1), message, message, code="PR0110")]}, HERE, source=lambda _: message
        )
    )


def test_each_step_of_a_diff_is_a_test_case_with_its_state() -> None:
    evil = HOSTILE + "]]>"
    steps = (
        end_step(planned_step("a"), seconds=1.25),
        end_step(planned_step("b"), State.SKIPPED, message="a is failed"),
        end_step(planned_step("c"), State.UNKNOWN, message="only the run knows"),
        end_step(planned_step(evil), State.FAILED, message=evil, hint=evil),
        end_step(planned_step("w"), State.WARNED, message="odd"),
    )
    report = junit.of_result(result(*steps, mode="diff", plan=evil), HERE)
    found = cases(report)
    assert not RAW.search(report)
    assert [[part.tag for part in case][:-1] for case in found.values()] == [
        [],
        ["skipped"],
        ["skipped"],
        ["failure"],
        [],
    ]
    assert (found["a"].attrib["file"], found["a"].attrib["time"]) == ("p.yml", "1.250")
    assert found["b"][0].attrib == {"message": "a is failed"} and "[warned]" in (found["w"][0].text or "")


def test_a_command_without_a_result_is_a_failure() -> None:
    (case,) = cases(junit.of_error(RefusedError("cannot connect", hint="do"))).values()
    assert case[0].attrib["message"] == "cannot connect" and "hint: do" in (case[0].text or "")
