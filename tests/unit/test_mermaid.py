"""The graph: a box a step, a frame a group, an arrow from what a guard asks about."""

from __future__ import annotations

from pathlib import Path

from runner.api import load_plan
from runner.report.mermaid import graph

PLAN = r"""
name: p
params: {mood: {type: string, default: x}}
steps:
  - id: prepare
    steps:
      - {id: load, uses: sql, with: {text: select 1}}
      - {id: check, uses: check, with: {text: "select 1 where false"}}
  - {id: cleanup, when: prepare.ok, on_error: warn, uses: sql, with: {text: select 2}}
  - {id: swap, when: 'prepare.ok and not cleanup.failed', uses: sql, with: {text: select 3}}
  - {id: odd, when: "params.mood == '\"<b>\\x1b]'", uses: confirm, with: {message: Go on?}}
  - {id: confirm, uses: confirm, with: {message: Go on?}}
rollback:
  - {id: back, uses: sql, with: {text: select 4}}
"""


def test_steps_groups_guards_and_rollback(tmp_path: Path) -> None:
    file = tmp_path / "p.yml"
    file.write_text(PLAN)
    lines = [line.strip() for line in graph(load_plan(file)).splitlines()]
    assert lines[0] == "flowchart TD"
    assert lines.count("end") == 2 and sum(line.startswith("subgraph ") for line in lines) == 2
    assert 's_prepare_load["load: sql"]' in lines and 's_confirm["confirm"]' in lines
    assert "s_prepare_load --> s_prepare_check" in lines
    assert 's_prepare -- "prepare.ok" --> s_cleanup' in lines
    guard = '-- "prepare.ok and not cleanup.failed" --> s_swap'
    assert {f"s_prepare {guard}", f"s_cleanup {guard}"} <= set(lines)
    assert "s_odd --> s_confirm" in lines
    assert lines.index("subgraph rollback") < lines.index('r_back["back: sql"]')


def test_a_guard_cannot_leave_its_label(tmp_path: Path) -> None:
    file = tmp_path / "p.yml"
    file.write_text(PLAN)
    (line,) = [line for line in graph(load_plan(file)).splitlines() if line.endswith("--> s_odd")]
    assert line.count('"') == 2 and "<" not in line and "#quot;" in line
