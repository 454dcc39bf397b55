"""One more kind is one module and one case folder: everything else follows from these."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import kinds
from runner.language import reference, schema

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", kinds.names())
def test_a_kind_has_module_case_folder_schema_and_reference(kind: str) -> None:
    module = kinds.get(kind)
    assert (ROOT / "runner" / "kinds" / f"{kind}.py").is_file()
    assert (module.__doc__ or "").strip(), "the reference page begins with it"
    cases = [path.parent for path in (ROOT / "tests" / "cases" / kind).glob("*/plan.yml")]
    assert cases, f"tests/cases/{kind}/ needs a case"
    for case in cases:
        assert f"uses: {kind}" in (case / "plan.yml").read_text()
        files = {path.name for path in case.iterdir()}
        of_one_database = {"before.sql", "again.txt"} if not {"both.sql", "source.sql"} & files else set()
        assert {"diff.txt", "apply.txt", *of_one_database} <= files
    assert f"\n### {kind}\n" in reference.page()
    assert f'"{kind}"' in schema.as_text(schema.plan_schema())
    for name, param in schema.params_schema(module.Params)["properties"].items():
        assert param.get("description"), f"{kind}.{name} says nothing"
    assert all(output.description for output in module.OUTPUTS.values())


def test_a_case_belongs_to_a_kind() -> None:
    folders = {path.name for path in (ROOT / "tests" / "cases").iterdir() if path.is_dir()}
    assert folders - {*kinds.names(), *schema.bundled_templates(), "group", "hooks", "validate"} == set()


def test_sql_of_a_kind_lies_under_its_name() -> None:
    folders = {path.name for path in (ROOT / "sql").iterdir() if path.is_dir()}
    shared = {"cases", "catalog", "catalogfile", "notify", "planrun", "refresh", "scratch", "server"}
    assert folders - {*kinds.names(), *shared, "demo"} == set()
