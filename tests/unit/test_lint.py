"""planrun lint: each rule, the lines of templates, comments that accept, the formats, squawk."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.errors import PlanrunError
from runner.lint.accepted import accepts
from runner.lint.lint import Linted, lint
from runner.lint.squawk import findings as squawk_findings

FOUND = {
    "alter table t add column a float8 default random()": ["PR1020"],
    "alter table t add column a bigserial": ["PR1020"],
    "alter table t add column a int generated always as identity": ["PR1020"],
    "alter table t add column a int generated always as (b + 1) stored": ["PR1020"],
    "alter table t add column a int default app.number()": ["PR1020"],
    "alter table t alter column a type bigint": ["PR1020"],
    "alter table t set logged": ["PR1020"],
    "cluster t using i": ["PR1020"],
    "alter table t alter column a set not null": ["PR1021"],
    "alter table t add constraint c check (a is not null) not valid; alter table t alter column a set not null": [
        "PR1021"
    ],
    "alter table t add foreign key (a) references o": ["PR1022"],
    "alter table t add check (a > 0)": ["PR1023"],
    "alter table t add column a int check (a > 0)": ["PR1023"],
    "alter table t add constraint n not null a": ["PR1023"],
    "create index on t (a)": ["PR1024"],
    "create unique index on t (a)": ["PR1024"],
    "reindex table t": ["PR1024"],
    "reindex index i": ["PR1024"],
    "set lock_timeout = 0; alter table t add column a int": ["PR1025"],
    "set local lock_timeout to default; lock table t in share mode": ["PR1025"],
    "reset lock_timeout; drop table t": ["PR1025"],
    "set lock_timeout = 0; set lock_timeout = '2s'; drop table t": [],
    "alter table t rename to u": ["PR1026"],
    "alter table t rename column a to b": ["PR1026"],
    "alter view v set schema old": ["PR1026"],
    "alter table t add unique (a)": ["PR1027"],
    "alter table t add primary key (a)": ["PR1027"],
    "alter table t add exclude using gist (a with =)": ["PR1027"],
    "alter table t add column a int; alter table u add column a int": ["PR1028"],
    "alter table t add column a int; update t set a = 1": ["PR1029"],
    "alter table t add constraint c check (a > 0) not valid; alter table t validate constraint c": ["PR1029"],
    "drop index i": ["PR1030"],
    "refresh materialized view m": ["PR1031"],
    "create table n partition of t for values in (1)": ["PR1032"],
    "alter table t detach partition n": ["PR1032"],
    "alter type mood add value 'new'; insert into t values ('new')": ["PR1033"],
}
CLEAN = [
    "alter table t add column a int default 5",
    "alter table t add column a app.mood",
    "alter table t add column a timestamptz default now(), add column b text",
    "alter table t add constraint c foreign key (a) references o not valid",
    "alter table t validate constraint c",
    "alter table t add constraint u unique using index i",
    "create table n (a int primary key, b int references o); create index on n (b); alter table n add check (a > 0)",
    "create table n (a int); alter table n rename to m",
    "create temp table n as select 1; alter table n alter column a type bigint",
    "create index on only t (a)",
    "alter index i rename to j",
    "lock table t, u; alter table t add column a int",
    "alter table t add column a int; insert into t values (1)",
    "alter type mood add value 'new'; select 'other'",
    "truncate t",
    "set lock_timeout = '3s'; alter table t add column a int",
    "drop table a, b",
    "insert into t select * from u; delete from u",
]


def write(folder: Path, *texts: str, more: str = "") -> Path:
    """Write a plan with a step for each text."""
    steps = "".join(
        f"  - id: s{number}\n    uses: sql\n    acknowledge: a test\n    with:\n      text: |\n"
        + "".join(f"        {line}\n" for line in text.split("\n"))
        for number, text in enumerate(texts)
    )
    path = folder / "plan.yml"
    path.write_text(f"name: p\n{more}steps:\n{steps}")
    return path


def look(folder: Path, *texts: str, **options: Any) -> Linted:
    return lint(write(folder, *texts), env={}, **options)


def codes(found: Linted) -> list[str]:
    return [one.code for one in found.problems]


@pytest.mark.parametrize("text", FOUND)
def test_a_rule_finds(tmp_path: Path, text: str) -> None:
    assert codes(look(tmp_path, text)) == FOUND[text]


@pytest.mark.parametrize("text", CLEAN)
def test_what_holds_up_nobody_is_clean(tmp_path: Path, text: str) -> None:
    assert [one.message for one in look(tmp_path, text).problems] == []


def test_statements_that_no_transaction_takes(tmp_path: Path) -> None:
    steps = "".join(
        f"  - {{id: s{number}, uses: sql, with: {{text: '{text}', transaction: false}}}}\n"
        for number, text in enumerate(["vacuum full t", "create index concurrently on t (a)", "reindex schema app"])
    )
    (tmp_path / "plan.yml").write_text(f"name: p\nsteps:\n{steps}")
    assert codes(lint(tmp_path / "plan.yml", env={})) == ["PR1020", "PR1024"]


def test_steps_before_prove_and_make(tmp_path: Path) -> None:
    check = "alter table t add constraint c check (a is not null) not valid"
    set_not_null = "alter table t alter column a set not null"
    assert codes(look(tmp_path, check, "alter table t validate constraint c", set_not_null)) == []
    assert codes(look(tmp_path, check, set_not_null)) == ["PR1021"]
    assert codes(look(tmp_path, "create table n (a int)", "create index on n (a)")) == []
    assert codes(look(tmp_path, "create table if not exists n (a int)", "create index on n (a)")) == ["PR1024"]


def test_a_finding_is_at_its_line_in_the_plan_and_in_the_template(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "index.sql").write_text("-- for reports\n\n  create index on {{ table|ident }} (a);\n")
    (tmp_path / "plan.yml").write_text(
        "name: p\nparams: {big: {type: string, default: Orders}}\nsteps:\n"
        "  - {id: a, uses: sql, with: {file: index.sql, values: {table: '${params.big}'}}}\n"
        "  - id: b\n    uses: sql\n    with:\n      text: |\n        select 1;\n        drop index i;\n"
    )
    found = lint(tmp_path / "plan.yml", env={}).problems
    assert [(Path(one.where.file).name, one.where.line, one.where.column) for one in found] == [
        ("plan.yml", 10, 9),
        ("index.sql", 3, 3),
    ]
    assert '"Orders"' in found[1].message


def test_both_ways_of_an_unknown_test_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "way.sql").write_text(
        "{% if wide %}\ncreate index on t (a);\n{% else %}\ndrop index {{ name|ident }};\n{% endif %}\n"
    )
    (tmp_path / "plan.yml").write_text(
        "name: p\nsteps:\n  - {id: q, uses: query, with: {text: select 1 as n}}\n"
        "  - {id: a, uses: sql, with: {file: way.sql, values: {wide: '${steps.q.rows}', name: '${steps.q.row}'}}}\n"
    )
    found = lint(tmp_path / "plan.yml", env={}).problems
    assert [one.code for one in found] == ["PR1024", "PR1030"]
    assert "the table of ..." in found[1].message


# ------------------------------------------------------------------ comments that accept


@pytest.mark.parametrize(
    "text",
    [
        "-- lint: accept PR1024: it has 200 rows\ncreate index on t (a);",
        "create index on t (a); -- lint: accept PR1024: it has 200 rows",
        "create index -- lint: accept PR1024: it has 200 rows\n  on t (a);",
        "select 1;\n/* lint: accept PR1020, PR1024: it has 200 rows */\n"
        "create index on t (a); -- lint: accept PR1020: no",
    ],
)
def test_a_comment_accepts_with_a_reason(tmp_path: Path, text: str) -> None:
    found = look(tmp_path, text)
    assert "PR1024" not in codes(found)
    assert [(one.problem.code, one.reason) for one in found.accepted] == [("PR1024", "it has 200 rows")]


def test_a_comment_is_about_one_statement(tmp_path: Path) -> None:
    text = "-- lint: accept PR1024: it has 200 rows\ncreate index on t (a);\ncreate index on u (a);"
    found = look(tmp_path, text)
    assert [(one.code, one.where.line) for one in found.problems] == [("PR1024", 10)]


def test_a_comment_that_accepts_nothing_or_gives_no_reason_is_a_finding(tmp_path: Path) -> None:
    assert codes(look(tmp_path, "-- lint: accept PR1024: small\nselect 1")) == ["PR1038"]
    for words in ("accept PR1024", "accept PR1024:", "ignore PR1024: small", ""):
        assert codes(look(tmp_path, f"-- lint: {words}\nselect 1")) == ["PR1039"], words
    assert codes(look(tmp_path, "select ' -- lint: accept PR1024'")) == []


def test_the_offset_of_a_statement_behind_letters_of_several_bytes() -> None:
    text = "select 'ä€'; -- lint: accept PR1020: x\nselect 2"
    (one,) = accepts(text, [0, text.index("select 2")])
    assert (one.statement, text[one.offset :][:8]) == (0, "-- lint:")


# ------------------------------------------------------------------ the command


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["lint", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_names_place_code_and_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "drop index i", "-- lint: accept PR1031: nobody reads it at night\nrefresh materialized view m")
    code, out, err = run(capsys, "plan.yml", "-v")
    assert code == 1
    assert "plan.yml:8:9: PR1030 DROP INDEX waits for all" in err and "hint: write CONCURRENTLY" in err
    assert "planrun explain PR1030" in err
    assert out.startswith("plan.yml: 1 finding, 1 accepted\n") and "nobody reads it at night" in out
    write(tmp_path, "select 1")
    assert run(capsys, "plan.yml") == (0, "plan.yml: ok, 1 SQL text\n", "")
    (tmp_path / "wrong.yml").write_text("steps: [{id: a, uses: sqll}]\n")
    code, _, err = run(capsys, "plan.yml", "wrong.yml")
    assert code == 5 and "sqll" in err


def test_the_formats_of_pull_requests_say_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "drop index i")
    assert run(capsys, "plan.yml", "-o", "github")[1].startswith("::warning file=plan.yml,line=8,col=9,")
    (quality,) = json.loads(run(capsys, "plan.yml", "-o", "gitlab")[1])
    assert (quality["severity"], quality["check_name"]) == ("major", "PR1030")
    sarif = json.loads(run(capsys, "plan.yml", "-o", "sarif")[1])["runs"][0]
    assert [(one["ruleId"], one["level"]) for one in sarif["results"]] == [("PR1030", "warning")]
    assert 'failures="1"' in run(capsys, "plan.yml", "-o", "junit")[1]
    data = json.loads(run(capsys, "plan.yml", "-o", "json")[1])
    assert data["state"] == "findings" and not data["clean"]
    assert [(one["code"], one["line"]) for one in data["problems"]] == [("PR1030", 8)]


def test_no_secret_gets_into_a_finding(tmp_path: Path) -> None:
    (tmp_path / "plan.yml").write_text(
        "name: p\nsteps:\n  - {id: a, uses: sql, with: {text: 'drop index {{ n|ident }}', values: {n: '${env.KEY}'}}}\n"
    )
    found = lint(tmp_path / "plan.yml", env={"KEY": "hunter2-hunter2"}).problems
    assert [one.code for one in found] == ["PR1030"] and "hunter2" not in str(found)


def test_the_page_shows_what_lint_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "locks.md").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "widen.yml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    shown = page.partition("```text\nplans/")[2].partition("```")[0].rstrip()
    assert run(capsys, "plans/widen.yml")[2].startswith(f"plans/{shown}\n")
    (comment,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert [one.reason for one in look(tmp_path, comment).accepted] == ["the table has 200 rows"]
    named = set(re.findall(r"\[(PR10\d\d)\]", page))
    assert named == {f"PR10{number}" for number in range(20, 34)}


# ------------------------------------------------------------------ squawk


def test_squawk_adds_its_findings_at_their_place(tmp_path: Path) -> None:
    text = "select 'ä€';\ncreate table n (a bigint, b varchar(10));\ndrop index i;"
    found = look(tmp_path, text, squawk=True).problems
    own = [one for one in found if one.code == "PR1037"]
    assert codes(Linted(found, (), 1)).count("PR1030") == 1, "what planrun says itself is said once"
    (field,) = [one for one in own if one.message.startswith("squawk prefer-text-field:")]
    assert (field.where.line, field.where.column) == (9, 9 + text.split("\n")[1].index("varchar"))


def test_a_rule_of_squawk_is_accepted_by_its_name(tmp_path: Path) -> None:
    text = "-- lint: accept prefer-text-field: a code of ten letters\ncreate table n (a bigint, b varchar(10));"
    assert not [one for one in look(tmp_path, text, squawk=True).problems if "prefer-text-field" in one.message]
    assert codes(look(tmp_path, text)) == [], "without squawk nobody knows"


def test_squawk_that_is_not_there_or_says_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    env = {"PATH": str(tmp_path)}
    with pytest.raises(PlanrunError, match="squawk is not there") as caught:
        list(squawk_findings("select 1", env))
    assert "planrun[lint]" in caught.value.hint
    (tmp_path / "squawk").write_text("#!/bin/sh\ncat > /dev/null\necho hello\n")
    (tmp_path / "squawk").chmod(0o755)
    with pytest.raises(PlanrunError, match="a form that planrun does not know"):
        list(squawk_findings("select 1", {"PATH": f"{tmp_path}:{os.environ['PATH']}"}))


def test_every_rule_has_an_entry_with_its_statement() -> None:
    """The example of an entry of a rule has just that finding."""
    from runner.error_codes import error_codes

    rules = [one for one in error_codes().values() if re.fullmatch(r"PR10(2\d|3[0-3])", one.code)]
    assert len(rules) == 14
    for one in rules:
        assert one.cause.startswith("`planrun lint` found"), one.code


@pytest.mark.parametrize("number", [*range(20, 34)])
def test_the_example_of_an_entry_has_its_finding(tmp_path: Path, number: int) -> None:
    from runner.error_codes import error_codes

    entry = error_codes()[f"PR10{number}"]
    assert codes(look(tmp_path, entry.example)) == [entry.code]
