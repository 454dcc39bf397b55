"""Annotations of a pull request: what stands in a name or a message cannot end one, nor begin another."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Mark, Problem, RefusedError
from runner.fates import Fate, ObjectFate, Preview
from runner.model import Note, PlannedStep, State, Step
from runner.report import github
from runner.report.findings import findings
from runner.result import StepResult
from tests.made import HOSTILE, RAW, end_step, group, planned_step, result

HERE = Path.cwd()


def annotation_lines(file: str, message: str, hint: str = "") -> str:
    return github.of_findings(
        findings({"p.yml": [Problem(Mark(file, 1, 2), message, hint, code="PR0110")]}, Path.cwd())
    )


def test_annotations_escape_what_would_end_them() -> None:
    text = annotation_lines("a,b:c.yml", "50% of\nit::x", "a, b")
    assert text == "::error file=a%2Cb%3Ac.yml,line=1,col=2,title=planrun::50%25 of%0Ait::x%0Ahint: a, b\n"


@given(st.text(min_size=1).filter(lambda name: "\0" not in name), st.text())
def test_each_is_one_line_and_its_words_cannot_grow(file: str, message: str) -> None:
    (line,) = annotation_lines(file, message).splitlines()
    assert re.fullmatch(r"::error file=[^,:]+,line=1,col=[12],title=planrun::.*", line)


# ------------------------------------------------------------------ a diff


def table(name: str, fate: Fate, **more: object) -> ObjectFate:
    return ObjectFate(kind="table", name=f"public.{name}", fate=fate, **more)  # type: ignore[arg-type]


def swap(*objects: ObjectFate, **more: object) -> StepResult:
    preview = Preview(objects=objects, **more)  # type: ignore[arg-type]
    step = Step(id="swap", where=Mark("plans/p.yml", 9, 5), kind="swap_tables")
    return end_step(PlannedStep(step=step, path="swap", preview=preview))


def lines(*steps: StepResult, **more: object) -> list[str]:
    return github.of_result(result(*steps, mode="diff", file="p.yml", **more), HERE).splitlines()  # type: ignore[arg-type]


def test_a_reviewer_sees_what_goes_and_what_has_an_exclamation_mark() -> None:
    at = "file=plans/p.yml,line=9,col=5,title=planrun diff of nightly"
    told = lines(
        swap(
            table("kept", Fate.KEPT, rows=5, rows_after=5),
            table("narrow", Fate.REPLACED, rows=1000, rows_after=3, loses=("note text",), gains=("n int",)),
            table("old", Fate.DROPPED, rows=7, bytes=8192, note="made by prod"),
            ObjectFate(kind="view", name="public.v", fate=Fate.LOST, note="it uses a column that goes"),
            lines=("! public.x loses 3 rows written since the swap", "all else is as it was"),
            locks=("public.narrow",),
            holders=("pid 812 (report)",),
        )
    )
    assert told == [
        f"::warning {at}::view public.v, lost: it uses a column that goes",
        f"::warning {at}::table public.old, dropped: 7 rows, 8,192 bytes; made by prod",
        f"::warning {at}::table public.narrow, replaced: 1,000 -> 3 rows; columns that go: note text",
        f"::warning {at}::swap: public.x loses 3 rows written since the swap",
        f"::warning {at}::swap: a lock that it needs is held now by pid 812 (report)",
        f"::notice {at}::Plan: 1 to replace, 1 to keep, 1 to drop, 1 lost.",
    ]
    assert lines(end_step(planned_step("a"))) == []


def test_what_fails_is_an_error_at_its_step_and_a_group_repeats_none() -> None:
    failed = end_step(planned_step("g.a"), State.FAILED, message="cannot be replaced:\n  two reasons", hint="do")
    warned = end_step(
        planned_step("w", Note(text="one\n! left out public.t: it is a view")), State.WARNED, message="bad"
    )
    told = lines(failed, end_step(group("g"), State.FAILED, message="g.a failed"), warned, error=RefusedError("no"))
    at = "file=p.yml,line=1,col=1,title=planrun diff of nightly"
    assert told == [
        f"::error {at}::g.a: cannot be replaced:%0A  two reasons%0Ahint: do",
        f"::warning {at}::w: left out public.t: it is a view",
        f"::warning {at}::w: bad",
    ]
    assert lines(error=RefusedError("no"))[0] == f"::error {at}::no"
    assert github.of_error(RefusedError("no", hint="do")) == "::error title=planrun::no%0A  hint: do\n"


def test_a_step_of_a_template_that_comes_with_planrun_is_shown_where_it_is_used() -> None:
    inner = Step(id="find", where=Mark("planrun:plans/steps/backup.yml", 40, 5), kind="find_tables")
    outer = Step(id="save", where=Mark("p.yml", 3, 5), steps=(inner,))
    failed = end_step(PlannedStep(step=inner, path="save.find"), State.FAILED, message="none")
    around = end_step(PlannedStep(step=outer, path="save"), State.FAILED, message="save.find failed")
    assert lines(failed, around)[0].startswith("::error file=p.yml,line=3,col=5,")
    assert lines(failed)[0].startswith("::error file=p.yml,line=1,col=1,")


def test_no_more_than_github_shows_and_the_rest_is_counted() -> None:
    told = lines(swap(*(table(f"t{number:02}", Fate.DROPPED) for number in range(1234))))
    warnings = [line for line in told if line.startswith("::warning")]
    assert len(warnings) == github.SHOWN and warnings[-1].endswith("%0Aand 1,224 more: see `planrun diff -v`")
    assert "more:" not in "".join(lines(swap(*(table(f"t{number}", Fate.LOST) for number in range(10)))))


def test_hostile_names_stay_names() -> None:
    evil = f"{HOSTILE}\n::error::faked\r::stop-commands::x"
    told = lines(
        swap(table(evil, Fate.LOST, note=evil)),
        end_step(planned_step(evil, Note(text=f"! {evil}")), State.FAILED, message=evil * 1000, hint=evil),
        plan=evil,
    )
    for line in told:
        assert re.match(r"::(error|warning|notice) file=[^,:]+,line=\d+,col=\d+,title=[^,:]+::", line)
        assert not RAW.search(line) and len(line) < 6000
