"""runner.report.summary: the first screen of a diff, of 1 to 2,000 tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from runner.errors import Mark
from runner.fates import Fate, ObjectFate, Preview
from runner.model import PlannedStep, State, Step
from runner.report import markdown, summary, text
from runner.result import RunResult, StepResult

MARK = Mark("plan.yml", 1, 1)


def table(name: str, fate: Fate = Fate.REPLACED, **more: object) -> ObjectFate:
    given = {"rows": 10, "rows_after": 10, "bytes": 8192, **more}
    return ObjectFate(kind="table", name=f"public.{name}", fate=fate, **given)  # type: ignore[arg-type]


def many(count: int) -> list[ObjectFate]:
    """Return tables of which the last one loses a column, and the one before it most of its rows."""
    plain = [table(f"table_with_a_name_{number:04}", bytes=count - number) for number in range(count - 2)]
    return [*plain, table("shrinks", rows=1000, rows_after=3), table("narrow", loses=("note text",), bytes=1)]


def result(*objects: ObjectFate, preview: Preview | None = None, way_back: str = "planrun rollback p.yml") -> RunResult:
    told = preview or Preview(objects=objects, locks=tuple(one.name for one in objects), holders=("pid 812 (report)",))
    step = Step(id="swap", where=MARK, kind="swap_tables")
    planned = PlannedStep(step=step, path="swap", preview=told)
    one = StepResult(
        path="swap", state=State.WOULD, message="", hint="", code="", outputs={}, seconds=0.0, planned=planned
    )
    return RunResult(
        run="r", plan="p", mode="diff", state="ok", exit_code=0, seconds=0.1, steps=(one,), counts={"would run": 1},
        something_to_do=True, way_back=way_back, databases=("target: prod at db1:5432 as owner, from service prod",),
    )  # fmt: skip


def lines_of(objects: Sequence[ObjectFate], *, verbose: bool = False) -> list[str]:
    found = result(*objects)
    return list(summary.lines(summary.summarize(found), way_back=found.way_back, verbose=verbose))


@pytest.mark.parametrize("count", [2, 30, 375, 2000])
def test_the_first_screen_names_the_gravest_first_and_counts_the_rest(count: int) -> None:
    shown = lines_of(many(count))
    assert len(shown) <= 24 and max(map(len, shown)) <= summary.WIDTH
    assert shown[0] == f"~ {count:,} tables of public replaced"
    assert shown[1:3] == ["      narrow  10 rows  ! - note text", "      shrinks  ! 1,000 -> 3 rows"]
    assert f"  locks: ACCESS EXCLUSIVE on {count:,} tables, in one short transaction" in shown
    assert shown[-1] == f"Plan: {count:,} to replace, 0 to drop, 0 lost."


def test_verbose_names_each() -> None:
    shown = "\n".join(lines_of(many(375), verbose=True))
    assert all(one.name.removeprefix("public.") in shown for one in many(375))


def test_a_diff_of_thirty_tables_fits_on_a_screen() -> None:
    shown = text.diff(result(*many(30)))
    assert len(shown.splitlines()) <= 50 and max(map(len, shown.splitlines())) <= 80


def test_what_is_lost_comes_before_what_is_kept() -> None:
    kept = ObjectFate(kind="policy", name="mine on public.a", fate=Fate.CARRIED)
    lost = ObjectFate(kind="view", name="public.v", fate=Fate.LOST, note="uses public.a")
    shown = lines_of([kept, table("a"), lost])
    assert shown[:2] == ["- 1 view lost", "    - public.v  uses public.a"]
    assert shown[-1] == "Plan: 1 to replace, 0 to drop, 1 lost."


def test_tables_of_two_schemas_have_their_schemas() -> None:
    other = ObjectFate(kind="table", name='"My.App".a', fate=Fate.REPLACED, rows=1, rows_after=1)
    assert lines_of([table("a"), other])[0] == '~ 2 tables replaced: public.a 10, "My.App".a 1'


def test_what_is_built_for_a_later_swap_is_told_as_such() -> None:
    found = result(preview=Preview(coming=(table("a"),), place="public"))
    assert next(summary.lines(summary.summarize(found))) == "Once a swap puts in what is built:"


def test_the_way_back_is_told_only_where_tables_are_replaced() -> None:
    assert "  the way back afterwards: planrun rollback p.yml" in lines_of([table("a")])
    assert not any("way back" in line for line in lines_of([table("a", Fate.SAVED)]))


@pytest.mark.parametrize("count", [2, 30, 375, 2000])
def test_the_markdown_stays_under_its_limit_with_the_summary_whole(count: int) -> None:
    page = markdown.result(result(*many(count)))
    assert len(page) <= markdown.LIMIT
    assert page.startswith("<!-- planrun:p -->\n")
    assert f"**Plan: {count:,} to replace, 0 to drop, 0 lost.**" in page
    assert f"- {count:,} tables of public replaced" in page
    rows = re.findall(r"^\| ~ \| table (\S+) \|", page, re.M)
    assert rows[:2] == ["public.narrow", "public.shrinks"]
    left = re.search(r"([\d,]+) more objects: see", page)
    assert len(rows) + (int(left[1].replace(",", "")) if left else 0) == count


def test_a_name_cannot_leave_its_cell_or_call_somebody() -> None:
    evil = table("a|b`c</details>@team [x](https://evil.example)\n| - |")
    page = markdown.result(result(evil))
    row = next(line for line in page.splitlines() if line.startswith("| ~") and "team" in line)
    assert row.count(" | ") == 4 and "@team" not in row and "</details>" not in row and "https://" not in row
