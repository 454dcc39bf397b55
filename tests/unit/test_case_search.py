"""Which cases a plan, a folder or a file means."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cases import search
from runner.errors import PlanError, UsageError

PLAN = "name: {name}\nsteps:\n  - {{id: one, uses: sql, with: {{text: select 1}}}}\n"
CASE = "plan: {plan}\nexpect: {{exit_code: 0}}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two plans; a case of each in one file, one in a folder below, files that are none, a folder of a dependency."""
    files = {
        "plans/a.yml": PLAN.format(name="a"),
        "plans/b.yml": PLAN.format(name="b"),
        "plans/tests/both.yml": "cases:\n  - {name: of a, plan: ../a.yml, expect: {exit_code: 0}}\n"
        "  - {name: of b, plan: ../b.yml, expect: {exit_code: 0}}\n",
        "plans/tests/a/deep.yaml": CASE.format(plan="../../a.yml"),
        "plans/tests/compose.yml": "services: {}\n",
        "plans/node_modules/x/tests/theirs.yml": "plan: nowhere\n",
        "tests/plan.yml": PLAN.format(name="c"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["plans/a.yml"], ["deep", "of a"]),
        (["plans/b.yml"], ["of b"]),
        (["plans/b.yml", "plans/a.yml"], ["deep", "of a", "of b"]),
        (["plans/tests/both.yml"], ["of a", "of b"]),
        (["plans/tests/both.yml", "plans/a.yml"], ["deep", "of a", "of b"]),
        (["plans/tests/a"], ["deep"]),
        (["plans"], ["deep", "of a", "of b"]),
        ([], ["deep", "of a", "of b"]),
    ],
)
def test_what_is_found(names: list[str], found: list[str], home: Path) -> None:
    assert sorted(case.name for case in search.find(names, {})) == found


@pytest.mark.parametrize("name", ["tests/plan.yml", "plans/tests/a/none", "plans/node_modules/x"])
def test_nothing_found_is_an_error(name: str, home: Path) -> None:
    with pytest.raises((UsageError, PlanError)) as caught:
        search.find([name], {})
    assert caught.value.code in ("PR1060", "PR0102", "PR0115")


def test_a_broken_file_is_told_even_if_others_are_fine(home: Path) -> None:
    (home / "plans" / "tests" / "broken.yml").write_text("plan: ../a.yml\nexpect: [\n")
    (home / "plans" / "tests" / "of_b.yml").write_text("plan: ../b.yml\nexpcet: {}\n")
    with pytest.raises(PlanError) as caught:
        search.find(["plans"], {})
    assert {problem.where.file for problem in caught.value.problems} == {
        "plans/tests/broken.yml",
        "plans/tests/of_b.yml",
    }
    with pytest.raises(PlanError) as caught:
        search.find(["plans/a.yml"], {})
    assert {problem.where.file for problem in caught.value.problems} == {"plans/tests/broken.yml"}, "not those of b"


def test_a_name_or_a_part_of_it_chooses(home: Path) -> None:
    cases = search.find(["plans"], {})
    assert [case.name for case in search.choose(cases, ["of b"])] == ["of b"]
    assert sorted(case.name for case in search.choose(cases, ["OF"])) == ["of a", "of b"]
    assert len(search.choose(cases, [])) == 3
    with pytest.raises(UsageError, match="no case is called 'off c'"):
        search.choose(cases, ["off c"])
