"""render: every step in order with final SQL and argv, and nothing outside is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.api import load_plan
from runner.errors import NotKnownYet
from runner.model import Command, Plan, Sql
from runner.run.render import Offline, render_plan

PLAN = """
name: p
params: {who: {type: string, default: O'Hara}}
steps:
  - {id: one, uses: sql, with: {text: "insert into t values ({{ who }})", values: {who: "${params.who}"}}}
  - {id: find, uses: find_tables, with: {prefix: _cdc_}}
  - {id: dump, when: find.count > 0, uses: pg_dump, with: {to: ./b, tables: "${steps.find.tables}"}}
  - {id: go, uses: command, with: {argv: [echo, "${params.who}"]}}
rollback:
  - {id: back, uses: sql, with: {text: truncate t}}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("DATABASE_URL", "host=192.0.2.1")  # answers nobody
    (tmp_path / "p.yml").write_text(PLAN)
    return load_plan(tmp_path / "p.yml")


def test_what_can_be_known_is_final_and_the_rest_is_said_to_be_unknown(plan: Plan) -> None:
    steps = {step.path: step for step in render_plan(plan)}
    assert list(steps) == ["one", "find", "dump", "go", "back"]
    assert steps["one"].planned.actions == (Sql(text="insert into t values ('O''Hara')", theirs=True),)
    (go,) = steps["go"].planned.actions
    assert isinstance(go, Command) and go.argv == ("echo", "O'Hara")
    assert "unknown until run" in steps["find"].message and "database" in steps["find"].message
    assert steps["dump"].state == "unknown until run"
    assert steps["back"].planned.actions == (Sql(text="truncate t", theirs=True),)


def test_the_offline_world_refuses_whatever_is_outside(plan: Plan) -> None:
    reader = Offline(plan)
    for look in (
        lambda: reader.rows("select 1"),
        lambda: reader.ask("select 1"),
        lambda: reader.server(),
        lambda: reader.pg_dump_for(15),
        lambda: reader.sessions("/"),
    ):
        with pytest.raises(NotKnownYet) as found:
            look()
        assert "planrun diff" in found.value.hint
    assert (reader.folder, reader.root) == (plan.folder, plan.root)
