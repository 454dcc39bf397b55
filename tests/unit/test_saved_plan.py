"""A saved plan as JSON and as a file, without a database."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cli import main
from runner.errors import UsageError
from runner.fates import Fate, ObjectFate
from runner.run import saved_plan
from runner.run.saved_plan import SavedPlan, SavedPlanError
from tests.made import HOSTILE, RAW

ORDERS = ObjectFate(kind="table", name="public.orders", fate=Fate.REPLACED, rows=1, gains=("a int",), loses=("b int",))
PLAN = SavedPlan(
    version="1", saved="2025-07-20T12:26:55+00:00", plan="p", file="p.yml", sets=("n=1",), digest="d",
    content={"p.yml": "x"}, until="", resume="", accept="", last="", databases=("target: a at b:1 as c, from X",),
    servers={}, approved={"s": (ORDERS,)}, fingerprint={"steps": {}, "depths": {}, "relations": {}, "sets": {}},
    pages={"text": "é\n"}, diff={"steps": []},
)  # fmt: skip


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = str(tmp_path / "p.plan")
    saved_plan.write(PLAN, file)
    assert saved_plan.read(file) == PLAN


def test_a_saved_plan_of_somebody_else_drives_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {form: HOSTILE for form in ("text", "verbose", "markdown", "github", "junit")}
    saved_plan.write(
        replace(PLAN, pages=pages, file=HOSTILE, diff={"steps": [], "x": HOSTILE}), str(tmp_path / "p.plan")
    )
    for words in ("-v", "-o text", "-o json", "-o markdown", "-o github", "-o junit"):
        assert main(["show", str(tmp_path / "p.plan"), *words.split()]) == 0
        shown = capsys.readouterr().out
        assert "owned" in shown and not RAW.search(shown)


@pytest.mark.parametrize("name", [name for name in vars(PLAN)])
def test_any_change_of_the_content_is_noticed(name: str) -> None:
    data = json.loads(json.dumps(saved_plan.to_json(PLAN)))
    del data[name]
    with pytest.raises(SavedPlanError, match="does not match its digest"):
        saved_plan.from_json(data)
    data["sha256"] = saved_plan._seal(data)
    with pytest.raises(SavedPlanError, match=f"incomplete: .*{name}"):
        saved_plan.from_json(data)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff", "null", '{"saved_plan": "planrun saved plan"}'])
def test_what_is_no_saved_plan_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.plan"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SavedPlanError) as caught:
        saved_plan.read(str(path))
    assert caught.value.where == str(path) and caught.value.hint


def test_a_saved_plan_is_known_by_its_content_or_its_name(tmp_path: Path) -> None:
    saved_plan.write(PLAN, str(tmp_path / "saved"))
    (tmp_path / "plan.yml").write_text("name: p\n")
    assert saved_plan.is_saved_plan(str(tmp_path / "saved"))
    assert saved_plan.is_saved_plan(str(tmp_path / "not-there.plan"))
    assert not saved_plan.is_saved_plan(str(tmp_path / "plan.yml"))
    os.mkfifo(tmp_path / "pipe")
    assert not saved_plan.is_saved_plan(str(tmp_path / "pipe"))


def test_only_a_saved_plan_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "p.plan"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is not a saved plan"):
        saved_plan.write(PLAN, str(path))
    assert path.read_text() == "mine"
