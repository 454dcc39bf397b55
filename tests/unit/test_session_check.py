"""The newest session is never passed over in silence: damaged, unfinished, unverified, too old or of the future."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema_rs
import pytest

from runner.backup import sessions as folders
from runner.cli import main
from runner.monitoring.session_check import SessionCheck, check
from runner.report.output_schema import output_schema
from runner.session_facts import SessionFacts

NOW = datetime(2025, 7, 20, 12, tzinfo=UTC)
DAY = 86400.0


def session(hours: float, state: str = "complete", verified: int = 0) -> SessionFacts:
    return SessionFacts(
        name=f"s{hours:g}",
        state=state,
        taken=NOW - timedelta(hours=hours),
        verified=verified,
        tables=1,
        rows=2,
        bytes=3,
    )


def of(*every: SessionFacts, max_age: float = 26 * 3600, min_level: int = 0) -> SessionCheck:
    return check(every, NOW, max_age=max_age, min_level=min_level)


def test_a_young_session_is_enough() -> None:
    found = of(session(50), session(3, verified=3))
    assert (found.ok, found.notes, found.age) == (True, (), 3 * 3600)
    assert found.good is not None and found.good.name == "s3"


def test_the_limit_itself_is_young_enough() -> None:
    assert of(session(26)).ok and not of(session(26.001)).ok


@pytest.mark.parametrize(
    ("every", "problem"),
    [
        ((), "there is no complete session"),
        ((session(1, "writing"),), "there is no complete session"),
        ((session(30),), "the newest good session, s30, is 30 h 0 min old: more than 1 d 2 h"),
        ((session(3), session(1, "damaged")), "the newest session, s1, is damaged"),
        ((session(3), session(1, "partial")), "the newest session, s1, was not finished"),
        ((session(3), session(1, "damaged"), session(0.1, "writing")), ""),
        ((session(3), session(-1)), "session s-1 has a date in the future"),
        ((session(-24),), "there is no complete session"),
    ],
)
def test_what_is_wrong_is_said(every: tuple[SessionFacts, ...], problem: str) -> None:
    found = of(*every)
    assert problem in "; ".join(found.problems)
    assert found.ok is not bool(problem) or found.notes


def test_a_clock_that_differs_a_little_is_no_problem() -> None:
    found = of(session(-0.05))
    assert found.ok and found.age == 0


def test_only_verified_sessions_count_if_a_level_is_asked_for() -> None:
    old, new = session(100, verified=3), session(2)
    assert of(old, new).ok
    assert of(old, new, max_age=5 * DAY, min_level=3).good == old
    late = of(old, new, min_level=3)
    assert late.problems == ("the newest good session, s100, is 100 h 0 min old: more than 1 d 2 h",)
    assert of(new, min_level=3).problems == ("no session is verified at level 3: none at all",)
    assert of(session(2, verified=1), min_level=2).problems == ("no session is verified at level 2: at most level 1",)


def test_what_is_no_problem_by_itself_is_told() -> None:
    found = of(session(9, "damaged"), session(8, "partial"), session(3), session(0.1, "writing"))
    assert found.ok
    assert found.notes == ("session s0.1 is being written", "1 other session damaged", "1 other session not finished")


# ------------------------------------------------------------------ the command

PLAN = "name: nightly\nbackup:\n  path: ./backups\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan and no server to connect to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "plan.yml").write_text(PLAN)
    return tmp_path


def make(folder: Path, hours: float, plan: str = "nightly") -> Path:
    started = datetime.now(UTC) - timedelta(hours=hours)
    writing = folders.begin(folder / "backups", started=started, plan=plan)
    return writing.seal(writing.manifest, {})


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["backups", "check", "plan.yml", *words])
    return code, capsys.readouterr().out


def test_the_line_has_the_form_of_nagios(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--max-age", "26h") == (
        6, "CRITICAL - there is no complete session | sessions=0;;;0 damaged=0;;;0\n"
    )  # fmt: skip
    name = make(place, 2).name
    code, line = said(capsys, "--max-age", "26h")
    text, numbers = line.rstrip("\n").split(" | ")
    assert code == 0 and text.startswith(f"OK - newest good session {name} is 2 h 0 min old, not verified: ")
    assert numbers.startswith("age=7200s;;93600;0 size=0B;;;0 rows=0;;;0 level=0;;;0;3 sessions=1;;;0")
    code, line = said(capsys, "--max-age", "26h", "--min-level", "3")
    assert code == 6 and line.startswith("CRITICAL - no session is verified at level 3")
    folders.record_verified(place / "backups" / name, 3, at=datetime.now(UTC), by="r")
    code, line = said(capsys, "--max-age", "26h", "--min-level", "3")
    assert code == 0 and "level=3;;3:;0;3" in line


def test_sessions_of_another_plan_hide_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(place, 1, plan="another")
    assert said(capsys, "--max-age", "1d")[0] == 6
    make(place, 2)
    assert said(capsys, "--max-age", "1d")[0] == 0


def test_a_damaged_newest_session_and_one_that_was_cut_off_are_found_on_disk(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(place, 5)
    newest = make(place, 1)
    folders.record_damage(newest, "bytes differ", at=datetime.now(UTC), by="r")
    assert "CRITICAL - the newest session, backup_" in said(capsys, "--max-age", "1d")[1]
    make(place, 0.5)
    code, line = said(capsys, "--max-age", "1d")
    assert code == 0 and "; 1 other session damaged |" in line
    cut = folders.begin(place / "backups", started=datetime.now(UTC), plan="nightly")
    assert "is being written" in said(capsys, "--max-age", "1d")[1]
    cut._close()
    assert "was not finished" in said(capsys, "--max-age", "1d")[1]


def test_json_says_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validator = jsonschema_rs.Draft202012Validator(output_schema())
    validator.validate(json.loads(said(capsys, "--max-age", "1h", "-o", "json")[1]))
    make(place, 2)
    validator.validate(json.loads(said(capsys, "--max-age", "3h", "-o", "json")[1]))
    code, out = said(capsys, "--max-age", "1h", "-o", "json")
    data = json.loads(out)
    validator.validate(data)
    assert (code, data["exit_code"], data["state"], data["status"]) == (6, 6, "failed", "CRITICAL")
    assert data["problems"] and data["max_age_seconds"] == 3600 and data["session"]["name"].startswith("backup_")
    assert data["plan"] == "nightly" and data["counts"]["complete"] == 1


def test_a_plan_without_sessions_and_a_wrong_age_are_usage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backups", "check", "plan.yml", "--max-age", "soon"]) == 64
    (place / "plan.yml").write_text("name: q\nsteps:\n  - {id: a, uses: query, with: {text: select 1}}\n")
    assert main(["backups", "check", "plan.yml", "--max-age", "1d"]) == 64
    assert "has no step that makes backup sessions" in capsys.readouterr().err
