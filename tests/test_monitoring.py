"""Real runs with --metrics and --log-format json: good, failing, interrupted, and one that cannot begin.

The metrics file, the log and the journal agree on each, and no secret is in any of them.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.monitoring import metrics_file
from tests.commandline import Done, House, wait_for

SECRET = "a-canary-of-24-letters!!"
PLAN = """\
name: nightly
connections: {target: {}}
steps:
  - {id: save, uses: pg_dump, with: {tables: ["Orders"], to: ./backups, format: insert}}
  - id: say
    uses: command
    with: {argv: [sh, -c, 'echo "the token is $API_TOKEN"; exec sleep "$WAIT"'], env: [API_TOKEN, WAIT]}
  - {id: go, uses: sql, with: {text: insert into done select 1 / count(*) from divisor}}
rollback:
  - {id: back, uses: sql, with: {text: delete from done}}
"""


@pytest.fixture
def house(db: str, tmp_path: Path) -> Iterator[House]:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute('create table "Orders" as select i as id from generate_series(1, 50) i; create table done (n int)')
    made = House(tmp_path, db, PLAN)
    made.env = {"PLANRUN_TARGET_URL": db, "PLANRUN_STATE_DIR": str(tmp_path / "state"), "CI": "1"}
    made.env |= {"API_TOKEN": SECRET, "WAIT": "0"}
    (tmp_path / "metrics").mkdir()
    yield made
    made.close()


def log(done: Done) -> list[dict[str, Any]]:
    """Return the objects on stderr; there is nothing else."""
    return [json.loads(line) for line in done.err.splitlines()]


def samples(house: House) -> dict[str, float]:
    content = metrics_file.read(house.folder / "metrics" / "planrun-nightly.prom")
    key = {one: one.label("state") or one.label("step") or one.label("level") for one in content.samples}
    return {
        f"{one.name.removeprefix('planrun_')}{{{key[one]}}}"
        if key[one]
        else one.name.removeprefix("planrun_"): one.value
        for one in content.samples
        if one.label("mode") in ("", "apply")
    }


def apply(house: House, *more: str) -> Done:
    return house.run("apply", "plan.yml", "--yes", "--metrics", "metrics", "--log-format", "json", *more)


def execute(house: House, text: str) -> None:
    with psycopg.connect(house.db, autocommit=True) as conn:
        conn.execute(text)


def test_metrics_log_and_journal_agree_on_every_end(house: House) -> None:
    # a failing run: there is no table divisor, so the diff fails before anything is done
    done = apply(house)
    entries, found = log(done), samples(house)
    assert done.code == 1 and found["last_run_exit_code"] == 1 and "last_run_success_timestamp_seconds" not in found
    assert entries[-1]["level"] == "error"

    # a good one
    execute(house, "create table divisor as select 1 as n")
    done = apply(house)
    entries, found = log(done), samples(house)
    assert done.code == 0, done.output
    assert found["last_run_exit_code"] == 0 and found["last_run_state{ok}"] == 1 and found["last_run_rows"] == 50
    assert found["sessions{complete}"] >= 1 and found["last_run_steps{ok}"] == 3
    success = found["last_run_success_timestamp_seconds"]
    last = entries[-1]
    assert (last["event"], last["state"], last["exit_code"]) == ("run_ended", "ok", 0)
    steps = {one["step"]: one for one in entries if one["event"] == "outcome"}
    assert steps["save"]["outputs"]["rows"] == 50 and {one["state"] for one in steps.values()} == {"ok"}
    assert [one["message"] for one in entries if one["event"] == "output"] == ["the token is ***"]
    assert all(one["time"].endswith("Z") and one["level"] and one["logger"] and one["message"] for one in entries)
    assert {one["plan"] for one in entries} == {"nightly"} and len({one["run"] for one in entries}) == 1

    # one that fails in its last step
    execute(house, "delete from divisor")
    done = apply(house)
    entries, found = log(done), samples(house)
    assert done.code == 1 and found["last_run_state{failed}"] == 1 and found["last_run_exit_code"] == 1
    assert found["last_run_success_timestamp_seconds"] == success
    failed = next(one for one in entries if one["event"] == "outcome" and one["level"] == "error")
    assert failed["step"] == "go" and failed["code"] and "division by zero" in failed["message"]
    assert entries[-1]["next"].startswith("planrun apply plan.yml --resume")

    # one that is interrupted
    before = len(house.sessions())
    process = house.start(
        "apply", "plan.yml", "--yes", "--metrics", "metrics", "--log-format", "json", env={"WAIT": "60"}
    )
    wait_for(lambda: samples(house).get("last_run_state{running}") == 1, 30)
    assert samples(house)["last_run_end_timestamp_seconds"] == found["last_run_end_timestamp_seconds"]
    wait_for(lambda: len(house.sessions()) > before, 30)
    process.send_signal(signal.SIGTERM)
    done = house.end(process)
    found = samples(house)
    assert done.code == 143 and found["last_run_state{interrupted}"] == 1 and found["last_run_exit_code"] == 143
    assert log(done)[-1]["state"] == "interrupted" and found["last_run_success_timestamp_seconds"] == success

    # one that cannot begin
    done = house.run(
        *("apply", "plan.yml", "--yes", "--metrics", "metrics", "--log-format", "json"),
        env={"PLANRUN_TARGET_URL": "postgresql://nobody@127.0.0.1:1/none"},
    )
    found = samples(house)
    assert done.code == 4 and found["last_run_state{refused}"] == 1 and found["last_run_exit_code"] == 4
    assert [(one["level"], one["code"]) for one in log(done)] == [("error", "PR0401")]

    # without a run, from the journal: the same counts and the same success
    done = house.run("metrics", "plan.yml", "--out", "metrics")
    assert done.code == 0, done.output
    after = samples(house)
    assert after["last_run_state{refused}"] == 1, "the journal does not know the run that could not begin"
    for state in ("ok", "failed", "interrupted"):
        assert after[f"runs_total{{{state}}}"] == found[f"runs_total{{{state}}}"]
    assert abs(after["last_run_success_timestamp_seconds"] - success) < 2

    # a rollback has a series of its own
    done = house.run("rollback", "plan.yml", "--yes", "--metrics", "metrics", "--log-format", "json")
    assert done.code == 0 and samples(house)["last_run_state{refused}"] == 1
    text = (house.folder / "metrics" / "planrun-nightly.prom").read_text()
    assert 'planrun_last_run_exit_code{database="' in text and 'mode="rollback",plan="nightly"} 0.0' in text
    assert SECRET not in text + done.output


def test_a_file_that_cannot_be_written_is_a_warning_and_what_is_wrong_before_is_refused(house: House) -> None:
    execute(house, "create table divisor as select 1 as n")
    broken = "import runner.monitoring.metrics_file as m\ndef fail(*a): raise OSError(28, 'No space left on device')\n"
    broken += "m.as_text = fail"
    done = house.run(
        "apply", "plan.yml", "--yes", "--metrics", "metrics", "--log-format", "json", "--until", "save", before=broken
    )
    warnings = [one["message"] for one in log(done) if one["level"] == "warning"]
    assert done.code == 0 and len(warnings) == 1 and "gets nothing more of this run" in warnings[0]
    done = house.run("apply", "plan.yml", "--yes", "--metrics", "nowhere/x.prom")
    assert done.code == 64 and "PR1126" in done.err and len(house.sessions()) == 1, "nothing ran"
