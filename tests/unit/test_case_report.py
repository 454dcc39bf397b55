"""What a person, a script and a CI system read of cases."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from runner.cases import case_file, report
from runner.cases.result import CaseResult, Failure, RunEnd, StepEnd
from runner.errors import Mark
from runner.report.output_schema import output_schema
from tests import junit

PLAN = "name: small\nsteps:\n  - {id: add, uses: sql, with: {text: insert into t values (1)}}\n"
CASES = "plan: ../small.yml\nexpect: {rows: {t: 2}}\ncases: [{name: one row}, {name: two rows}]\n"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[CaseResult]:
    """A case that passed, and one with two failures, of a run that failed and one that was killed."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "small.yml").write_text(PLAN)
    (tmp_path / "tests" / "small.yml").write_text(CASES)
    monkeypatch.chdir(tmp_path)
    one, two = case_file.read(Path("tests/small.yml"), "tests/small.yml", {})
    failures = (
        Failure(where=Mark("tests/small.yml", 2, 17), message="rows of t:", lines=("- 2", "+ 1\x1b[31m")),
        Failure(where=Mark("tests/small.yml", 3, 9), message="it broke:\n  here", code="PR1065", hint="mend it"),
    )
    add = StepEnd(state="failed", code="PR0404", message="no")
    runs = (
        RunEnd(verb="apply", state="failed", exit_code=1, code="PR0404", message="no", steps={"add": add},
               diff="Plan small\n", report="small: failed\n"),
        RunEnd(verb="resume", state="cut off", exit_code=137, steps={"add": StepEnd(state="cut off")}),
    )  # fmt: skip
    kept = {"target": "-h /s -p 5432 -U postgres case_2_target"}
    return [
        CaseResult(case=one, seconds=0.25),
        CaseResult(case=two, seconds=1.5, failures=failures, runs=runs, databases=kept, written=("a.txt",)),
    ]


def test_the_lines_of_a_case(results: list[CaseResult]) -> None:
    assert report.case_lines(results[0]) == "  small: one row  [ok]  250 ms\n"
    assert report.case_lines(results[1], verbose=True).splitlines() == [
        "  small: two rows  [failed]  1.5 s",
        "    tests/small.yml:2:17: rows of t:",
        "      - 2",
        "      + 1\x1b[31m",
        "    tests/small.yml:3:9: PR1065 it broke:",
        "        here",
        "      hint: mend it",
        "    apply: failed, exit code 1",
        "      | Plan small",
        "      | small: failed",
        "    resume: cut off, exit code 137",
        "      | add: cut off",
        "    target is kept: psql -h /s -p 5432 -U postgres case_2_target",
    ], "what a terminal obeys is made visible by whoever prints it"


def test_the_sum_says_what_to_type(results: list[CaseResult]) -> None:
    assert report.sum_text(results, ("14.23", "18.6"), 2.0).splitlines() == [
        "2 cases of 1 plan on PostgreSQL 14.23 and 18.6: 1 ok, 1 failed, in 2.0 s",
        "wrote a.txt: read them before you commit them",
        "next: planrun test tests/small.yml --case 'two rows' -v",
    ]
    assert report.sum_text(results[:1], ("18.6",), 1.0) == "1 case of 1 plan on PostgreSQL 18.6: 1 ok, in 1.0 s\n"


def test_json_fits_the_schema_of_the_output(results: list[CaseResult]) -> None:
    for some, code in ((results, 1), (results[:1], 0)):
        found = report.as_json(some, ("18.6",), 2.0)
        jsonschema_rs.Draft202012Validator(output_schema()).validate(found)
        assert found["exit_code"] == code and found["state"] == ("failed" if code else "ok")
    assert [case["state"] for case in report.as_json(results, ("18.6",), 2.0)["cases"]] == ["ok", "failed"]


def test_junit_has_each_failure_and_what_the_runs_showed(results: list[CaseResult]) -> None:
    text = report.as_junit(results, Path.cwd())
    one, two = junit.cases(text).values()
    assert (one.get("name"), list(one)) == ("one row", [])
    assert (two.get("name"), two.get("classname"), two.get("file")) == ("two rows", "planrun.small", "tests/small.yml")
    (failure,) = two.iter("failure")
    assert failure.get("message") == "tests/small.yml:2:17: rows of t:"
    assert "PR1065 it broke" in (failure.text or "") and "\x1b" not in (failure.text or "")
    assert "| small: failed" in (two.findtext("system-out") or "")
