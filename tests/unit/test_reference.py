"""docs/reference.md says what the kinds say."""

from __future__ import annotations

import re

from runner import kinds, resources
from runner.language import schema
from runner.language.reference import page
from runner.model import State


def test_every_kind_template_key_and_parameter_is_there() -> None:
    text = page()
    for name in (*kinds.names(), *schema.bundled_templates()):
        assert f"\n### {name}\n" in text
    for name in kinds.names():
        for param in schema.params_schema(kinds.get(name).Params)["properties"]:
            assert f"| `{param}` |" in text
        for output in kinds.get(name).OUTPUTS:
            assert f"| `{output}` |" in text
    for key in (*schema.PLAN_KEYS, *schema.COMMON, "uses", "with", "steps"):
        assert f"| `{key}` |" in text
    for code in (0, 1, 2, 3, 4, 5, 6, 11, 64, 70, 75, 130, 143):
        assert f"| {code} |" in text
    for state in (State.OK, State.WARNED, State.FAILED, State.SKIPPED):
        assert f"`{state.value}`" in text


def test_the_committed_page_is_the_derived_one() -> None:
    committed = (resources.ROOT / "docs" / "reference.md").read_text()
    assert committed == page(), "run: planrun reference > docs/reference.md"


def test_the_page_is_the_same_each_time_and_well_formed() -> None:
    text = page()
    assert text == page()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(columns) == 1, table


def test_every_output_has_a_type_and_a_description() -> None:
    outputs = [line for part in page().split("| gives |")[1:] for line in part.split("\n\n")[0].splitlines()[2:]]
    assert outputs and [line for line in outputs if re.search(r"\|\s*\|", line)] == []
