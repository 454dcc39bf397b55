"""`planrun test` as a user runs it: every word of a case, every failure, and nothing that is left or met elsewhere.

PLANRUN_UPDATE_CASES=1 writes tests/plan_cases/fails.txt anew: read it before you commit it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from runner import resources
from runner.cli import main
from runner.language.layout import layout
from runner.report.output_schema import output_schema
from tests.commandline import ROOT, children, wait_for

HOME = Path(__file__).parent / "plan_cases"
UPDATE = bool(os.environ.get("PLANRUN_UPDATE_CASES"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plans and cases that is a checkout; a temporary folder; an environment that leads elsewhere."""
    shutil.copytree(HOME, tmp_path / "home" / "tests" / "plan_cases")
    (tmp_path / "home" / "plans" / "tests").mkdir(parents=True)
    (tmp_path / "home" / ".git").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "home"


ELSEWHERE = {
    **{"PGHOST": "real.invalid", "PGHOSTADDR": "192.0.2.1", "PGSERVICE": "real", "PGPASSWORD": "a-real-secret"},
    **{"DATABASE_URL": "postgresql://real@real.invalid/real", "PLANRUN_TARGET_URL": "postgresql://real.invalid/real"},
    **{"CANARY": "real", "SHOP_TOKEN": "a-real-token", "CI": "1"},
}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_each_word_of_a_case_passes_and_fails_as_it_should(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(home)
    assert main(["test", "tests/plan_cases/shop.yml", "-o", "json", "--jobs", "2"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    jsonschema_rs.Draft202012Validator(output_schema()).validate(found)
    by_file: dict[str, list[dict[str, Any]]] = {}
    for case in found["cases"]:
        by_file.setdefault(Path(case["file"]).stem, []).append(case)
    assert [case for case in by_file["passes"] if case["state"] != "ok"] == []
    assert [case["name"] for case in by_file["fails"] if case["state"] != "failed"] == []
    shown = "".join(_failure_text(case) for case in by_file["fails"]).replace(str(tmp_path), "<tmp>")
    if UPDATE:
        (HOME / "fails.txt").write_text(shown)
    assert shown == (HOME / "fails.txt").read_text()
    assert "a-real" not in said.out + said.err
    assert files(home) == before, "backups, journals and files went to folders of the cases"
    assert files(tmp_path / "tmp") == [], "nothing is left of these folders"


def _failure_text(case: dict[str, Any]) -> str:
    lines = [case["name"]]
    for one in case["failures"]:
        lines += [
            f"  {one['where']}: {one['code']} {one['message']}".replace(":  ", ": "),
            *one["lines"][:4],
            one["hint"],
        ]
    return "".join(f"{line}\n" for line in lines if line)


def test_the_cases_of_the_plans_that_come_with_planrun_and_that_init_writes_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--job", "nightly", "--tables", "audit.*", "-o", "Größe: 1.yml"]) == 0
    assert main(["init", "--job", "migration", "--command", "alembic upgrade head"]) == 0
    assert main(["init", "--job", "refresh", "--preserve", "Users", "--yes"]) == 0
    assert main(["test", str(resources.PLANS), ".", "--jobs", "2"]) == 0, capsys.readouterr()
    said = capsys.readouterr()
    assert re.search(r"^\d+ cases of 6 plans on PostgreSQL \d+\.\d+: \d+ ok, in ", said.out, re.MULTILINE)


SMALL = """\
plan: ../small.yml
databases: {target: create table t (id int)}
cases:
  - {name: one row, expect: {rows: {t: 1}}}
  - {name: two rows, expect: {rows: {t: 2}}}
"""


@pytest.fixture
def small(home: Path) -> Path:
    """A plan of one step, with a case that passes and one that fails."""
    (home / "plans" / "small.yml").write_text(
        "name: small\nsteps:\n  - {id: add, uses: sql, with: {text: insert into t values (1)}}\n"
    )
    (home / "plans" / "other.yml").write_text("backup: {path: ./backups}\n")
    (home / "plans" / "tests" / "small.yml").write_text(SMALL)
    return home / "plans" / "small.yml"


def test_a_report_says_what_to_type_to_see_more(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = "  - {name: slow, databases: {target: select pg_sleep(60)}, timeout: 1s, expect: {exit_code: 0}}\n"
    (small.parent / "tests" / "small.yml").write_text(SMALL + slow)
    assert main(["test", "plans/small.yml"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("3 cases of 1 plan, on a throw-away server: none of your databases is read or changed\n")
    assert "  small: one row  [ok]  " in said.out and "  small: two rows  [failed]  " in said.out
    assert "    plans/tests/small.yml:5:38: rows of t:\n      - 2\n      + 1\n" in said.out
    assert "    plans/tests/small.yml:6:12: PR1071 the case took longer than 1 s\n" in said.out
    command = said.out.rpartition("next: planrun ")[2].strip()
    assert command == "test plans/tests/small.yml --case 'two rows' -v"


def test_update_writes_the_whole_text(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = SMALL[: SMALL.index("cases:")] + "run: diff\nexpect: {diff: {file: small.txt}}\n"
    (small.parent / "tests" / "small.yml").write_text(cases)
    assert main(["test", "plans/small.yml", "--update"]) == 0
    assert "wrote plans/tests/small.txt: read them before you commit them" in capsys.readouterr().out
    assert (small.parent / "tests" / "small.txt").read_text().startswith("target: <database>\nPlan small: ")


def test_the_example_of_the_page_is_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "testing-plans.md").read_text()
    shown = dict(re.findall(r"^<!-- example: ([^\n]*) -->\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("nightly.yml", "tests/nightly.yml"):
        Path(name).write_text(shown[name])
        assert layout(shown[name], name) == shown[name]
    assert main(["test", "nightly.yml", "--jobs", "1"]) == 0, capsys.readouterr()
    said = capsys.readouterr()
    assert _timeless("$ planrun test nightly.yml\n" + said.err + said.out) == _timeless(
        shown["planrun test nightly.yml"]
    )
    Path("nightly.yml").write_text(shown["nightly.yml"].replace("when: note.ok", "when: save.ok"))
    assert main(["test", "nightly.yml", "--case", "says no"]) == 1
    said = capsys.readouterr()
    typed = "$ planrun test nightly.yml --case 'says no'\n"
    assert _timeless(typed + said.err + said.out) == _timeless(shown["a guard that is wrong"])


def _timeless(text: str) -> str:
    return re.sub(r"PostgreSQL \d+\.\d+", "PostgreSQL", re.sub(r"\d+(\.\d+)? m?s\b", "<time>", text))


@contextlib.contextmanager
def _started(*args: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "test", *args], cwd=cwd, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(cwd.parent / "tmp")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["ctrl-c", "kill-9"])
def test_nothing_is_left_of_a_test_that_is_stopped(number: int, code: int, small: Path, home: Path) -> None:
    small.write_text("name: small\nsteps:\n  - {id: wait, uses: sql, with: {text: select pg_sleep(60)}}\n")
    with _started("plans/small.yml", cwd=home) as process:
        folder = _wait_for_work(process.pid)
        assert list(folder.glob("cases/1/files/**/plans")), "its files are below that folder"
        process.send_signal(number)
        _, err = process.communicate(timeout=40)
        assert process.returncode == code, err
        wait_for(lambda: children(process.pid) == [] and not folder.exists(), 30)
    assert files(home.parent / "tmp") == []


def _wait_for_work(pid: int) -> Path:
    found: list[Path | None] = [None]

    def look() -> bool:
        found[0] = _folder_at_work(pid)
        return found[0] is not None

    wait_for(look, 30)
    assert found[0] is not None
    return found[0]


def _folder_at_work(pid: int) -> Path | None:
    """Return the folder of the server of a process where the first case waits, None as long as there is none."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    watchers = {row[0] for row in rows if row[1] == str(pid) and "watcher.py" in row[2]}
    waiting = {row[1] for row in rows if re.match(r"postgres: postgres case_1_target \[local\] SELECT", row[2])}
    found = [re.search(r"-D (\S+)/data ", row[2]) for row in rows if row[0] in waiting and row[1] in watchers]
    return next((Path(one[1]) for one in found if one), None)


def test_the_databases_of_cases_that_failed_are_kept_until_ctrl_c(
    small: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _started("plans/small.yml", "--keep", cwd=home) as process:
        assert process.stdout is not None
        line = next((line for line in process.stdout if "is kept: psql" in line), "")
        host, port, user, dbname = re.findall(r"-h (\S+) -p (\S+) -U (\S+) (\S+)", line)[0]
        for name in ("PGSERVICE", "PGHOSTADDR"):
            monkeypatch.delenv(name)
        with psycopg.connect(host=host, port=port, user=user, dbname=dbname) as conn:
            assert conn.execute("select * from t").fetchall() == [(1,)]
        assert process.stderr is not None
        next(line for line in process.stderr if "The server stays until Ctrl-C." in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
        assert process.returncode == 1
        wait_for(lambda: not Path(host).exists(), 30)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["plans/none.yml"], 5, "PR0102 cannot read this file"),
        (["plans/small.yml", "--case", "tow rows"], 64, "did you mean --case 'two rows'?"),
        (["plans/other.yml"], 64, "PR1060 there is no case of plans/other.yml in plans/tests"),
        (["plans/small.yml", "--postgres", "13"], 1, "PR0902 PostgreSQL 13 is not on this machine"),
    ],
)
def test_what_cannot_be_run_is_an_error(
    words: list[str], code: int, said: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *words]) == code
    assert said in capsys.readouterr().err


def test_validate_checks_a_file_of_cases(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "plans/small.yml", "plans/tests/small.yml"]) == 0
    assert capsys.readouterr().out == "plans/small.yml: ok\nplans/tests/small.yml: ok\n"
    (small.parent / "tests" / "small.yml").write_text(SMALL.replace("two rows, expect", "two rows, expct"))
    for command in (["validate", "plans/tests/small.yml"], ["test", "plans/small.yml"], ["test", "plans"]):
        assert main(command) == 5
        assert "plans/tests/small.yml:5:22: PR0110 'expct' is not known here" in capsys.readouterr().err


def test_a_folder_without_a_case_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "compose.yml").write_text("services: {db: {image: postgres}}\n---\nmore: 1\n")
    assert main(["test", str(tmp_path)]) == 64
    assert "there is no case in" in capsys.readouterr().err
