"""The check that `validate` makes of SQL steps: each problem at its line of the plan or of the template."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from runner.language import source
from runner.model import UNKNOWN
from runner.safesql.sqlcheck import check_step_sql
from runner.safesql.templates import Templates


def check(kind: str, yaml: str, templates: Templates | None = None) -> list[tuple[str, int, int, str]]:
    document = source.parse(yaml, "plan.yml")
    found = check_step_sql(kind, document.data, document.place, templates or Templates([]))
    return [(*problem.where, problem.message) for problem in found]


def test_good_steps_have_no_problem() -> None:
    assert check("sql", "text: |\n  create table a (x int);\n  drop table b;\n") == []
    assert check("query", "text: select * from t where a = '{{1,2}}' and b ~ '$$${'\n") == []
    assert check("check", "text: select {{ a }}, {{ b|ident }}\nvalues: {a: 1, b: '${params.x}'}\n") == []
    assert check("sql", "{text: vacuum, transaction: false}") == []
    assert check("command", "argv: [1]") == []


def test_an_error_in_a_block_is_at_its_line_and_column() -> None:
    assert check("sql", "# c\ntext: |\n    -- é\n    alter table é\n      renam to b;\n") == [
        ("plan.yml", 5, 7, 'syntax error at or near "renam"')
    ]
    assert check("sql", 'text: "selec 1"\n') == [("plan.yml", 1, 8, 'syntax error at or near "selec"')]
    assert check("sql", "{id: 1, text: selec 1}") == [("plan.yml", 1, 15, 'syntax error at or near "selec"')]


def test_an_error_in_an_inline_template_is_at_its_line() -> None:
    yaml = "values: {a: 1}\ntext: |\n  select {{ a }}\n  form t x\n"
    assert check("query", yaml) == [("plan.yml", 4, 8, 'syntax error at or near "t"')]
    assert check("query", yaml.replace("{{ a }}", "'{{ a }}'"))[0][:3] == ("plan.yml", 3, 11)
    assert check("query", yaml.replace("{{ a }}", "{{ b }}")) == [("plan.yml", 3, 13, "'b' is undefined")]


def test_a_reference_in_a_text_is_refused() -> None:
    for text in ("select '${params.x}'", "select ${env.HOME}", "select ${"):
        for rest in ("", "values: {a: 1}\n"):
            [(_, line, column, message)] = check("sql", f"{rest}text: |\n  {text}\n")
            assert message == "`text` is fixed: ${} has no place in SQL"
            assert line == (3 if rest else 2)
            assert column >= 3


def test_a_text_that_was_resolved_is_refused_too() -> None:
    place = source.parse("text: a", "plan.yml").place
    [problem] = check_step_sql("sql", {"text": UNKNOWN}, place, Templates([]))
    assert "fixed" in problem.message


@pytest.mark.parametrize("yaml", ["connection: a", "{text: select 1, file: a.sql}"])
def test_either_text_or_file(yaml: str) -> None:
    assert "either `text` or `file`" in check("sql", yaml)[0][3]


def test_what_the_schema_tells_is_left_to_it() -> None:
    wrong: list[Any] = [None, [], {"text": 1}, {"file": 1}, {"text": "selec", "values": 3}]
    for data in wrong:
        place = source.parse("a: 1", "plan.yml").place
        assert check_step_sql("sql", data, place, Templates([])) == []


def test_the_kind_of_statement() -> None:
    assert "no place in a step" in check("sql", "text: begin")[0][3]
    assert "cannot run inside a transaction" in check("sql", "text: vacuum")[0][3]
    assert "not a query" in check("query", "text: delete from t")[0][3]
    assert "not a query" in check("check", "text: 'truncate {{ a|ident }}'\nvalues: {a: x}")[0][3]


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Templates:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sql").mkdir()
    for name, text in {
        "good.sql": "{% for t in tables %}\nalter table {{ t|qualified }} alter column {{ c|ident }}"
        " set statistics {{ n }};\n{% endfor %}\ncomment on table x is {{ why }};\n",
        "bad.sql": "select 1\n  form {{ t|ident }} x y\n",
        "branch.sql": "select 1 {% if mode == 'a' %}where a{% endif %}{% if mode == 'b' %} where b{% endif %}\n",
        "missing.sql": "select 1;\n{% include 'nope.sql' %}\n",
        "nul.sql": "select 1\0; drop table x",
    }.items():
        (tmp_path / "sql" / name).write_text(text)
    return Templates([tmp_path / "sql"])


def test_unknown_values_stand_where_grammar_wants_names_texts_and_numbers(templates: Templates) -> None:
    refs = ", ".join(f"{name}: '${{steps.x.{name}}}'" for name in ("tables", "c", "n", "why"))
    assert check("sql", f"file: good.sql\nvalues: {{{refs}}}", templates) == []


def test_an_error_in_a_file_is_at_its_line(templates: Templates) -> None:
    found = check("query", "file: bad.sql\nvalues: {t: '${params.t}'}", templates)
    assert found == [("sql/bad.sql", 2, 8, 'syntax error at or near ""unknown_until_run""')]
    assert check("query", "file: bad.sql\nvalues: {T: 1}", templates) == [
        ("sql/bad.sql", 2, 11, "'t' is undefined"),
    ]
    assert check("sql", "file: nul.sql", templates)[0][:3] == ("sql/nul.sql", 1, 9)


def test_branches_on_unknown_values_are_not_refused_for_standing_together(templates: Templates) -> None:
    assert check("query", "file: branch.sql\nvalues: {mode: a}", templates) == []
    assert check("query", "file: branch.sql\nvalues: {mode: '${params.mode}'}", templates) == []


def test_a_branch_that_is_sql_in_one_way_is_enough() -> None:
    yaml = "text: select 1 {% if not a %} form x y {% endif %}\nvalues: {a: '${params.a}'}\n"
    assert check("query", yaml) == []


def test_a_file_that_is_not_there(templates: Templates) -> None:
    assert check("sql", "id: a\nfile: god.sql", templates) == [("plan.yml", 2, 7, "there is no template 'god.sql'")]
    assert check("sql", "file: ../plan.yml", templates)[0][3] == "'../plan.yml' is not a template's name"
    assert check("sql", "file: missing.sql", templates)[0][:3] == ("sql/missing.sql", 2, 1)
    assert check("sql", "file: '${params.f}'", templates) == []


def test_many_steps_stay_quick(templates: Templates) -> None:
    document: Any = source.parse("text: select {{ a }}\nvalues: {a: '${params.x}'}", "plan.yml")
    check_step_sql("query", document.data, document.place, templates)
    began = time.perf_counter()
    for _ in range(300):
        check_step_sql("query", document.data, document.place, templates)
    assert time.perf_counter() - began < 3
