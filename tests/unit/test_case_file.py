"""A file of cases is read as strictly as a plan: every problem at once, with its place and what was meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cases import case_file
from runner.cases.case import Case
from runner.errors import PlanError

PLAN = """\
name: shop
params: {who: {type: string, default: Ada}, count: {type: integer, default: 1}}
steps:
  - {id: ask, uses: confirm, with: {message: Really?}}
  - id: work
    steps:
      - {id: note, uses: sql, with: {text: "insert into log values ({{ who }})", values: {who: "${params.who}"}}}
  - {id: call, uses: command, with: {argv: ["true"], env: ["TOKEN"]}}
"""
HEAD = "plan: ../shop.yml\n"
FAULT = "run: {run: apply, fail: {step: ask, with: error}}\n"
OK = "expect: {exit_code: 0}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "shop.yml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str) -> tuple[Case, ...]:
    path = Path("tests/cases.yml")
    path.write_text(text)
    return case_file.read(path, str(path), os.environ)


def problems(text: str) -> list[str]:
    with pytest.raises(PlanError) as caught:
        read(text)
    return [
        f"{one.where.line}:{one.where.column} {one.code} {one.message}; {one.hint}" for one in caught.value.problems
    ]


def test_a_file_without_cases_is_one_case(home: Path) -> None:
    (case,) = read(HEAD + OK)
    assert (case.name, case.title, case.plan.name) == ("cases", "shop: cases", "shop")
    assert [move.verb for move in case.moves] == ["apply"]
    assert list(case.databases) == ["target"] and case.databases["target"].is_empty
    assert case.timeout == 120


def test_a_case_is_merged_over_what_its_file_says(home: Path) -> None:
    text = (
        "databases: {target: {sql: select 1}}\nset: {who: Grace, count: 2}\ncases:\n"
        "  - {name: a, set: {who: Linus}, expect: {exit_code: 0}}\n"
        "  - {name: b, databases: {target: {file: more.sql}}, run: [apply, rollback], expect: {exit_code: 1}}\n"
    )
    (home / "tests" / "more.sql").write_text("select 2;")
    found = problems(HEAD + text)
    assert found == ["6:67 PR1063 shop.yml has no `rollback:`; take this run out"]
    a, b = read(HEAD + text.replace("rollback", "resume"))
    assert a.sets == {"who": "Linus", "count": "2"} and b.sets == {"who": "Grace", "count": "2"}
    assert [one.sql for one in b.databases["target"].texts] == ["select 2;", "select 1"]
    assert a.databases["target"] == read(HEAD + text.replace("rollback", "abort"))[0].databases["target"]


def test_params_of_a_case_make_a_table_of_cases(home: Path) -> None:
    text = (
        HEAD + "params: {n: 1}\nset: {count: '${params.n}'}\nexpect: {rows: {t: '${params.n}'}, exit_code: 0}\n"
        "cases:\n  - {name: one}\n  - {name: two, params: {n: 2}}\n"
    )
    assert [(case.sets, case.expect["rows"]) for case in read(text)] == [
        ({"count": "1"}, {"t": 1}),
        ({"count": "2"}, {"t": 2}),
    ]
    assert problems(text.replace("n: 2", "n: many"))[0].startswith("4:20 PR0112 t: ${params.n} is not an integer; "), (
        "a value that came through a param is checked where it is used"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plan: ../shop.yml\n", ["1:1 PR1062 the case 'cases' expects nothing; say what must hold"]),
        (HEAD + "expect: {}\n", ["1:1 PR1062 the case 'cases' expects nothing"]),
        (OK, ["1:1 PR0111 'plan' is missing; The plan, relative to this file."]),
        ("plan: ../shpo.yml\n" + OK, ["1:7 PR0115 there is no file '../shpo.yml'"]),
        ("plan: ../../../etc/passwd\n" + OK, ["1:7 PR0115 '../../../etc/passwd' is outside the root folder"]),
        (HEAD + "expct: {exit_code: 0}\n", ["2:1 PR0110 'expct' is not known here; did you mean 'expect'?"]),
        (HEAD + "run: aply\n" + OK, ['2:6 PR0112 run: "aply" is not one of apply, diff, rollback, resume, abort']),
        (HEAD + "run: {until: ask}\n" + OK, ["2:6 PR1063 give either `run:` or `sql:`"]),
        (HEAD + "run: {sql: select 1}\n" + OK, ["2:6 PR1063 nothing of planrun runs"]),
        (HEAD + "run: [{sql: selct 1}, apply]\n" + OK, ['2:13 PR0301 syntax error at or near "selct"']),
        (HEAD + "run: {run: apply, until: asc}\n" + OK, ["2:26 PR1063 the plan has no step 'asc'; did you"]),
        (HEAD + "databases: {target: selct 1}\n" + OK, ['2:21 PR0301 syntax error at or near "selct"']),
        (HEAD + "databases: {souce: select 1}\n" + OK, ["2:20 PR1063 the plan has no connection 'souce'; known"]),
        (HEAD + "databases: {target: {file: no.sql}}\n" + OK, ["2:28 PR0115 there is no file 'no.sql'"]),
        (HEAD + "answers: {call: true}\n" + OK, ["2:11 PR1063 no step 'call' asks anything; known: ask"]),
        (HEAD + "commands: {ask: [x]}\n" + OK, ["2:12 PR1063 no step 'ask' runs a program; known: call"]),
        (HEAD + "expect: {steps: {wrk: ok}}\n", ["2:18 PR1063 the plan has no step 'wrk'; did you mean 'work'?"]),
        (HEAD + "expect: {steps: {ask: okay}}\n", ['2:23 PR0112 ask: "okay" is not one of ok, warned, failed']),
        (HEAD + "expect: {rows: {a.b.c: 1}}\n", ["2:24 PR0311 'a.b.c' is not"]),
        (HEAD + "expect: {diff: {file: shop.sql}}\n", ['2:23 PR0112 file: "shop.sql" is not the name of a text']),
        (HEAD + "expect: {queries: [{sql: selct, rows: []}]}\n", ['2:26 PR0301 syntax error at or near "selct"']),
        (HEAD + "expect: {databases: {audit: {rows: {t: 1}}}}\n", ["2:29 PR1063 the plan has no connection 'audit'"]),
        (HEAD + "fail: {step: ask, with: lock}\n" + OK, ["2:7 PR1063 `lock` needs a `table:`; such as users"]),
        (HEAD + "fail: {step: ask, with: kill, times: 2}\n" + OK, ["2:31 PR1063 'times' does not go with `kill`"]),
        (HEAD + "fail: {step: work, with: error}\n" + OK, ["2:14 PR1063 'work' is a group; name a step in it: work."]),
        (HEAD + "fail: {step: ask, with: exit}\n" + OK, ["2:7 PR1063 'ask' runs no program: it uses confirm"]),
        (HEAD + "fail: {step: ask, with: eror}\n" + OK, ['2:25 PR0112 with: "eror" is not one of "error"']),
        (HEAD + FAULT + "fail: {step: ask, with: kill}\n" + OK, ["3:1 PR1063 there is no run for this `fail:`"]),
        (HEAD + "set: {whoo: x}\n" + OK, ["2:13 PR0206 there is no param or setting 'whoo'; did you mean 'who'?"]),
        (HEAD + "set: {count: many}\n" + OK, ['2:14 PR0112 count: "many" is not an integer']),
        (HEAD + "cases: []\n", ["2:1 PR0112 cases: is not a list of cases"]),
        (HEAD + "cases: [x]\n", ["2:9 PR0114 a case is a mapping of keys"]),
        (HEAD + OK + "cases: [{name: a}, {name: a}]\n", ["3:27 PR1061 'a' is the name of the case on line 3, too"]),
        (HEAD + OK + "name: '${params.x}'\n", ["3:8 PR0202 ${params.x}: there is no param 'x'"]),
        ("- 1\n", ["1:1 PR0114 a case is a mapping of keys"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, said: list[str], home: Path) -> None:
    found = problems(text)
    assert len(found) == len(said), found
    for got, wanted in zip(found, said, strict=True):
        assert got.startswith(wanted)


def test_everything_is_told_at_once_also_what_the_plan_has(home: Path) -> None:
    (home / "shop.yml").write_text(PLAN.replace("argv: [", "arg: ["))
    text = HEAD + "expct: 1\ncases:\n  - {name: a, expect: {exit_code: 0}}\n  - {name: b, plan: ../no.yml}\n"
    assert [one.split(";")[0] for one in problems(text)] == [
        "8:38 PR0110 'arg' is not known here",
        "2:1 PR0110 'expct' is not known here",
        "5:21 PR0115 there is no file '../no.yml'",
    ]


def test_no_variable_of_the_caller_gets_into_the_plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_REGION", "eu")
    (home / "shop.yml").write_text(PLAN + '  - {id: told, uses: write, with: {text: "${env.SHOP_REGION}", to: x}}\n')
    (told,) = problems(HEAD + OK)
    assert told.endswith("the environment has no SHOP_REGION; give it in `env:` of the case, as none of yours gets in")
    (case,) = read(HEAD + "env: {SHOP_REGION: us}\n" + OK)
    assert case.plan.env == {"SHOP_REGION": "us"}


@pytest.mark.parametrize(
    ("text", "cases"),
    [
        ("plan: x\n", True), ("cases: []\n", True), ("expect: {}\nother: 1\n", True), ("plan: [\n", True),
        ("name: p\nsteps: []\n", False), ("services: {}\n---\nmore: 1\n", False), ("- plan\n", False), ("", False),
    ],
)  # fmt: skip
def test_which_files_are_cases(text: str, cases: bool, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text)
    assert case_file.is_case_file(tmp_path / "a.yml") is cases


def test_with_several_connections_and_no_target_it_must_be_said_which_one(home: Path) -> None:
    (home / "shop.yml").write_text("connections: {a: {}, b: {}}\n" + PLAN)
    text = "run: [{sql: select 1}, {run: apply, fail: {step: ask, with: lock, table: t}}]\nexpect: {rows: {t: 1}}\n"
    assert [one.split(";")[0] for one in problems(HEAD + text)] == [
        "2:7 PR1063 `on:` is missing: the plan has several connections and no `target`",
        "2:43 PR1063 `on:` is missing: the plan has several connections and no `target`",
        "3:1 PR1063 the plan has several connections and no `target`",
    ]
    (case,) = read(HEAD + "expect: {databases: {b: {rows: {t: 1}}}}\n")
    assert list(case.databases) == ["a", "b"]
