"""How long steps took before, from both kinds of journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import api


@pytest.mark.parametrize("journal", ["database", "file"])
def test_the_times_are_those_of_the_plan_and_of_what_a_diff_shows(journal: str, db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": db, "PLANRUN_STATE_DIR": str(tmp_path / "state")}
    for name in ("mine", "other"):
        (tmp_path / f"{name}.yml").write_text(
            f"name: {name}\njournal: {journal}\n"
            'steps:\n  - {id: a, uses: sql, with: {text: "create table if not exists t (n int); lock table t"}}\n'
            'rollback:\n  - {id: a, uses: sql, with: {text: "insert into t values (1)"}}\n'
        )
    mine = api.load_plan(tmp_path / "mine.yml", env=env)

    def seconds(*, rollback: bool = False) -> float | None:
        impact = api.diff(mine, env=env, rollback=rollback)["a"].impact
        assert impact is not None
        return impact.seconds

    assert api.apply(api.load_plan(tmp_path / "other.yml", env=env), env=env).ok
    assert seconds() is None, "another plan's run"
    assert api.apply(mine, env=env).ok
    assert seconds() is not None
    assert seconds(rollback=True) is None, "the step of the rollback has not run"
    assert api.rollback(mine, env=env).ok
    assert seconds(rollback=True) is not None and seconds() is not None
