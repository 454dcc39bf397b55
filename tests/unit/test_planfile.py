"""A plan file as every command opens it: what is wrong in YAML, names, guards and SQL comes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import PlanError
from runner.planfile import open_plan, templates_of
from runner.safesql.templates import BadTemplateName


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "sql").mkdir()
    (tmp_path / "plans").mkdir()
    (tmp_path / "sql" / "bad.sql").write_text("select 1;\nselct 2;\n")
    (tmp_path / "sql" / "good.sql").write_text("select {{ n }} as n")
    return tmp_path


def plan(home: Path, steps: str, name: str = "p") -> Path:
    file = home / "plans" / f"{name}.yml"
    file.write_text(f"name: {name}\nparams: {{n: {{type: integer, default: 1}}}}\nsteps:\n{steps}")
    return file


def test_every_problem_at_once_each_at_its_place(home: Path) -> None:
    file = plan(
        home,
        "  - {id: a, uses: sql, with: {text: selct 1}}\n"
        "  - {id: b, uses: sql, with: {file: bad.sql}}\n"
        "  - {id: c, uses: query, when: nope.ok, with: {text: select 1}}\n"
        "  - {id: d, uses: sqll}\n",
    )
    with pytest.raises(PlanError) as found:
        open_plan(file, env={})
    lines = {Path(one.where.file).name + f":{one.where.line}" for one in found.value.problems}
    assert lines == {"p.yml:4", "bad.sql:2", "p.yml:6", "p.yml:7"}, found.value


def test_the_sql_of_a_plan_lies_under_its_root(home: Path) -> None:
    made = open_plan(
        plan(home, "  - {id: a, uses: query, with: {file: good.sql, values: {n: '${params.n}'}}}\n"), env={}
    )
    assert made.root == home and made.folder == home / "plans"
    assert templates_of(home).sql("good.sql", n=3) == "select 3 as n"
    with pytest.raises((PlanError, BadTemplateName)):
        open_plan(plan(home, "  - {id: a, uses: query, with: {file: ../plans/p.yml}}\n"), env={})


def test_settings_and_the_environment_come_in(home: Path) -> None:
    file = plan(home, "  - {id: a, uses: confirm, with: {message: '${env.WHO} ${params.n}'}}\n")
    assert open_plan(file, sets=["n=7"], env={"WHO": "me"}).params["n"] == 7
    assert open_plan(file, sets={"n": "7"}, env={"WHO": "me"}).env == {"WHO": "me"}
    assert open_plan(file, env={}, offline=True).name == "p"
    with pytest.raises(PlanError, match="WHO"):
        open_plan(file, env={})
    with pytest.raises(PlanError, match="nope"):
        open_plan(file, sets=["nope=7"], env={"WHO": "me"})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yml", tmp_path):
        with pytest.raises(PlanError):
            open_plan(path, env={})


def test_a_folder_of_templates_that_is_a_link_out_of_the_root_gives_none(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "sql").symlink_to(home / "sql")
    with pytest.raises(BadTemplateName):
        templates_of(root).sql("good.sql", n=1)
    assert templates_of(home).sql("good.sql", n=1) == "select 1 as n"
