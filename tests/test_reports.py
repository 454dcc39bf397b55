"""Reports of real runs: failed, resumed, interrupted, of a backup; made elsewhere, checked, changed, indexed."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from runner.cli import main
from runner.database import blockers
from tests.commandline import House, wait_for
from tests.htmlpage import Page, harmless

PLAN = """\
name: ledger
params:
  who: {type: string, default: nobody}
steps:
  - id: make
    uses: sql
    with: {text: "create table if not exists \\"Orders\\" (id int)"}
  - id: count
    uses: query
    with: {text: "select count(*) as n from \\"Orders\\""}
  - id: never
    uses: sql
    when: count.row.n > 5
    with: {text: "select 1"}
  - id: widen
    uses: sql
    when: count.ok
    with: {text: "alter table \\"Orders\\" add column note text"}
  - id: gate
    uses: check
    when: widen.ok
    with: {text: "select 'not yet: <b>' where to_regclass('public.gate') is null"}
rollback:
  - {id: back, uses: sql, with: {text: "alter table \\"Orders\\" drop column note"}}
"""


@pytest.fixture
def plan(tmp_path: Path, db: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(blockers, "FIRST", 0.1)
    (tmp_path / "plan.yml").write_text(PLAN)
    return tmp_path / "plan.yml"


@contextmanager
def somebody_holds(db: str, table: str) -> Iterator[None]:
    """Hold a lock on a table in another connection, until somebody has waited for it for half a second."""
    with psycopg.connect(db, application_name="nightly job") as other, psycopg.connect(db, autocommit=True) as looking:
        other.execute(f'create table if not exists "{table}" (id int)')
        other.commit()
        other.execute(f'lock table "{table}" in access share mode')

        def release() -> None:
            wait_for(lambda: looking.execute("select 1 from pg_locks where not granted").fetchall())
            time.sleep(0.5)
            other.rollback()

        releasing = threading.Thread(target=release)
        releasing.start()
        yield
        releasing.join()


def only(folder: Path) -> Path:
    (file,) = folder.glob("*.html")
    assert file.stat().st_mode & 0o777 == 0o600
    return file


def said(page: Page, *words: str) -> None:
    text = " ".join(page.text.split())
    for word in words:
        assert word in text, word


def test_a_run_that_failed_and_was_resumed(plan: Path, db: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(plan), "--yes", "--set", "who=me", "--report", "out"]
    with somebody_holds(db, "Orders"):
        assert main(["apply", *words]) == 1
    err = capsys.readouterr().err
    report = only(Path("out"))
    assert err.splitlines()[-1] == f"report: {report}", "the last line names it"
    page = harmless(report.read_text())
    said(page, "ledger: ✗ failed", "check failed: not yet: <b>", "planrun apply", "--resume", "who=me")
    said(page, "when count.row.n > 5: count.row.n is 0", "ACCESS EXCLUSIVE", "at most")
    said(page, "waits for ACCESS EXCLUSIVE", "nightly job", "1 wait, about", "PostgreSQL (default connection)")

    with psycopg.connect(db) as conn:
        conn.execute("create table gate ()")
    assert main(["apply", *words, "--resume"]) == 0
    assert only(Path("out")) == report, "a resume continues the same run"
    resumed = harmless(report.read_text())
    said(
        resumed, "ledger: ✓ ok", "in 2 attempts", "attempt 1: ✗ failed", "attempt 2: ✓ ok", "The way back:", "rollback"
    )
    assert "What went wrong" not in resumed.text
    assert main(["rollback", str(plan), "--yes", "--report", "out"]) == 0
    assert len(list(Path("out").glob("ledger-*.html"))) == 2


def test_a_report_is_made_and_checked_on_another_machine(
    plan: Path, db: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(plan)]) == 64 and "has not been run yet" in capsys.readouterr().err
    assert main(["apply", str(plan), "--yes", "--report", "here"]) == 1
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(plan.parent / "elsewhere"))
    capsys.readouterr()
    assert main(["report", str(plan), "-o", "there/r.html"]) == 0
    assert "report: there/r.html" in capsys.readouterr().out
    for file in (only(Path("here")), Path("there/r.html")):
        assert main(["report", str(plan), "--check", str(file)]) == 0
        assert "the same, byte by byte" in capsys.readouterr().out

    changed = Path("changed.html")
    changed.write_text(Path("there/r.html").read_text().replace("failed", "fine"))
    assert main(["report", str(plan), "--check", str(changed)]) == 6
    assert "PR1107" in capsys.readouterr().err
    run = only(Path("here")).stem.removeprefix("ledger-")
    with psycopg.connect(db) as conn:
        conn.execute(
            "update planrun.journal set event = event || '{\"message\": \"\"}' where event ->> 'state' = 'failed'"
        )
    assert main(["report", str(plan), "--check", "there/r.html"]) == 6
    err = capsys.readouterr().err
    assert "PR1106" in err and f"other records of run {run}" in err

    assert main(["report", str(plan), "-o", str(plan)]) == 1 and "PR1109" in capsys.readouterr().err
    assert plan.read_text() == PLAN
    assert main(["report", str(plan), "20990101T000000Z-0000"]) == 64
    assert main(["apply", str(plan), "--yes", "--report", str(plan)]) == 64
    assert "PR1108" in capsys.readouterr().err
    assert main(["report", str(plan), "--check", str(plan)]) == 1 and "PR1105" in capsys.readouterr().err
    assert main(["report", str(plan), run, "-o", "-"]) == 0
    assert harmless(capsys.readouterr().out).all("h1")


def test_a_backup_and_its_proofs_are_in_the_index(plan: Path, db: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan.write_text("name: nightly\nbackup: {path: ./b, prefix: t_}\n")
    with psycopg.connect(db) as conn:
        conn.execute('create table "t_Big" as select n as id from generate_series(1, 500) n')
    assert main(["apply", str(plan), "--yes", "--report", "out"]) == 0
    assert main(["backups", "verify", str(plan), "--level", "1"]) == 0
    page = harmless(only(Path("out")).read_text())
    said(page, 'public."t_Big"', "500", "rows/s", "pg_dump", "saved")
    capsys.readouterr()
    assert main(["report", "--index", "out", str(plan)]) == 0
    assert "index: out/index.html" in capsys.readouterr().out
    index = harmless(Path("out/index.html").read_text())
    links = [one.attrs["href"] for one in index.all("a") if one.attrs["href"].startswith("./")]
    assert links == [f"./{file.name}" for file in Path("out").glob("nightly-*")]
    said(index, "nightly_verify", "level 1", "never, as far as a journal tells", "a plan states no schedule")
    assert main(["report", "--index", "out"]) == 0, "of the reports alone, and over an older index"
    said(harmless(Path("out/index.html").read_text()), "1 run, 0 sessions", "No plan was named")
    Path("out/index.html").write_text("mine")
    assert main(["report", "--index", "out", str(plan)]) == 1 and "PR1109" in capsys.readouterr().err
    assert main(["report", "--index", "empty"]) == 64 and "PR1110" in capsys.readouterr().err


def test_an_interrupted_run_has_a_report_too(tmp_path: Path, db: str) -> None:
    house = House(tmp_path, db, "name: p\nsteps:\n  - {id: wait, uses: sql, with: {text: 'select pg_sleep(30)'}}\n")
    process = house.start("apply", "plan.yml", "--yes", "--report", "out", "-o", "json")
    with psycopg.connect(db, autocommit=True) as conn:
        asleep = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        wait_for(lambda: conn.execute(asleep).fetchall())
    process.send_signal(signal.SIGINT)
    done = house.end(process)
    assert done.code == 130 and json.loads(done.out)["state"] == "interrupted", "stdout stays JSON"
    said(harmless(only(tmp_path / "out").read_text()), "p: ✗ interrupted", "interrupted by SIGINT", "--resume")
    house.close()


def test_a_run_that_did_not_begin_has_no_report(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.write_text(PLAN)
    assert main(["apply", str(plan), "--report", "out"]) == 1, "nobody answers the question"
    assert "report: none, as no run began" in capsys.readouterr().err and not Path("out").exists()


def test_a_folder_that_cannot_be_written_is_a_warning(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    plan.write_text(PLAN.replace("widen.ok", "count.row.n > 7"))
    Path("out/x").write_text("")
    assert main(["apply", str(plan), "--yes", "--report", "out/x/y"]) == 0
    err = capsys.readouterr().err
    assert "warning: --report" in err and "report: " not in err.splitlines()[-1]
