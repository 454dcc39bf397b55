"""The page for a pull request: what stands in a table's name cannot end a cell, a fence or a tag."""

from __future__ import annotations

import re
from dataclasses import replace

from runner.errors import Mark, PlanError, Problem, RefusedError
from runner.fates import Fate, ObjectFate, Preview
from runner.model import Note, Sql, State, Step
from runner.report import markdown
from runner.words import PLAN
from tests.made import HOSTILE, RAW, end_step, planned_step, result


def test_a_page_has_state_table_actions_and_the_next_command() -> None:
    steps = (
        end_step(planned_step("a", Sql(text="drop table x")), State.OK, outputs={"count": 3}, seconds=1.2),
        end_step(planned_step("b")),
    )
    page = markdown.result(result(*steps, next="planrun apply p.yml --resume"), after=True)
    assert page.startswith("<!-- planrun:nightly -->\n### planrun result: nightly\n\n**ok**: 1 would run, 1 ok.\n")
    assert "| a | sql | ok | count 3, 1.2 s |\n" in page and "| b | sql | would run |  |\n" in page
    assert "Next: `planrun apply p.yml --resume`" in page
    assert "<summary>a</summary>\n\n```sql\ndrop table x\n```\n" in page and "<summary>b</summary>" not in page
    assert "\n### planrun diff: nightly\n" in markdown.result(result())


def test_hostile_text_stays_text() -> None:
    text = HOSTILE + " ```\n</details><script>"
    at = planned_step("a", Sql(text=text), Note(text=text))
    page = markdown.result(result(end_step(at, State.FAILED, message=text, hint=text)))
    assert not RAW.search(page)
    (row,) = [line for line in page.splitlines() if line.startswith("| a |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5 and "<" not in row and "\\[bold\\]" in row
    fences = re.findall(r"^`{3,}(?:sql)?$", page, re.MULTILINE)
    assert fences == ["````sql", "````"]


def test_what_is_too_long_for_a_comment_is_said_not_lost() -> None:
    steps = [end_step(planned_step(f"s{n}", Sql(text="x" * 1000))) for n in range(100)]
    page = markdown.result(result(*steps))
    assert len(page) <= markdown.LIMIT and "too long for one comment" in page and "| s99 |" in page
    assert "x" * 1000 in markdown.result(result(*steps[:3]))


def test_no_plan_makes_a_page_that_a_code_host_refuses_or_that_lacks_the_summary() -> None:
    """Or else its last comment, with an older diff, would stay."""
    evil = "@#" * 1000
    lost = ObjectFate(kind="table", name=evil, fate=Fate.LOST, note=evil)
    holders = tuple(f"{number}{evil}" for number in range(100))
    preview = Preview(objects=(lost,), locks=(evil,), holders=holders)
    steps = [
        end_step(planned_step(f"s{number:03}", Sql(text=evil), preview=preview), message=evil) for number in range(300)
    ]
    error = PlanError(Problem(Mark("p.yml", 1, 1), evil, code="PR0110"))
    page = markdown.result(result(*steps, databases=(evil,) * 20, plan=evil, mode="diff", error=error))
    assert len(page) <= markdown.LIMIT and "**Plan: 0 to drop, 300 lost.**" in page
    for left_out in (r"and \d+ more", r"- and \d+ more: see `planrun diff -v`", "- :warning: and by 100 more"):
        assert re.search(rf"^{left_out}$", page, re.MULTILINE)
    assert "too long for one comment: `planrun diff -v` shows it" in page


def test_a_command_without_a_result_has_a_page_too() -> None:
    page = markdown.of_error(
        RefusedError("cannot connect", where="target: x", hint=f"planrun doctor {PLAN}"), "nightly"
    )
    assert page.startswith("<!-- planrun:nightly -->\n### planrun: nightly\n\n**failed**: target: x: cannot connect\n")
    assert "planrun doctor PLAN" in page
    problems = [Problem(Mark("p.yml", line, 1), HOSTILE * 5, code="PR0110") for line in range(1, 1000)]
    page = markdown.of_error(PlanError(*problems))
    assert "**invalid**: 999 problems\n" in page and "| p.yml:1:1 | x" in page and len(page) <= markdown.LIMIT
    assert re.search(r"\n\d+ more problems: see `planrun validate`\n", page) and not RAW.search(page)


def test_a_reviewer_sees_by_what_a_loss_is_protected_and_why_it_may_do_without() -> None:
    step = Step(id="wipe", where=Mark("p.yml", 1, 1), kind="sql", acknowledge="an <import> table")
    kept = replace(end_step(planned_step("drop", Sql(text="drop table a"))), protection="drop <- save.ok")
    page = markdown.result(result(kept, end_step(planned_step("wipe", step=step)), mode="diff"))
    assert "| drop | sql | would run | protected: drop &lt;- save.ok |" in page
    assert "acknowledged: an &lt;import&gt; table |" in page
