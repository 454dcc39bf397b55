"""A metrics file is what Prometheus reads: checked with the parser of its own client."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from runner.errors import TargetError, UsageError
from runner.monitoring import families, metrics_file, sessions
from runner.monitoring.families import FAMILIES, Owner, Sample, with_run, with_sessions
from runner.monitoring.measures import RUNNING, RunMeasures, StepMeasures
from runner.session_facts import SessionFacts

OWNER = Owner(plan="nightly", file="/srv/plans/backup.yml", database="shop")
STEP = StepMeasures(state="ok", seconds=1.5, rows=10, bytes=4096, locked=0.25)
GOOD = RunMeasures(mode="apply", state="ok", started=100.0, ended=107.5, exit_code=0, steps={"backup.dump": STEP})
BAD = RunMeasures(mode="apply", state="failed", started=200.0, ended=201.0, exit_code=4)
NOW = datetime(2025, 7, 20, 12, tzinfo=UTC)
SESSION = SessionFacts(name="backup_x", state="complete", taken=NOW, verified=2, rows=10, bytes=4096, plan="nightly")


def values(samples: list[Sample], name: str, **labels: str) -> list[float]:
    return [
        one.value
        for one in samples
        if one.name == f"planrun_{name}" and all(one.label(key) == text for key, text in labels.items())
    ]


def text(samples: list[Sample]) -> str:
    return metrics_file.as_text(metrics_file.Content(samples)).decode()


def lint(page: str) -> None:
    """Check what promtool checks: HELP and TYPE once before the samples of a metric, no sample twice, units, names."""
    heads = re.findall(r"^# (HELP|TYPE) (\S+)", page, re.MULTILINE)
    names = [name for word, name in heads if word == "TYPE"]
    assert len(names) == len(set(names)) and heads == [(word, name) for name in names for word in ("HELP", "TYPE")]
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    keys = [line.rpartition(" ")[0] for line in lines]
    assert len(keys) == len(set(keys)), "a sample exists twice"
    for family in text_string_to_metric_families(page):
        assert family.documentation.endswith(".") and family.samples
        for one in family.samples:
            assert re.fullmatch(r"planrun_[a-z_]+", one.name) and not re.search(r"milli|minutes|hours|_ms\b", one.name)
            assert one.name.endswith("_total") is (family.type == "counter")
            assert one.timestamp is None, "the collector takes no times"


def test_every_metric_is_there_and_has_help_and_type() -> None:
    found = sessions.measure([SESSION], NOW)
    samples = with_run(with_sessions([], OWNER, found), OWNER, GOOD)
    lint(text(samples))
    assert {one.name for one in samples} == set(FAMILIES)
    assert values(samples, "last_run_duration_seconds", database="shop", plan="nightly", mode="apply") == [7.5]
    assert values(samples, "last_run_rows") == [10] and values(samples, "last_run_bytes") == [4096]
    assert values(samples, "last_run_locked_seconds") == [0.25]
    assert values(samples, "last_run_state", state="ok") == [1] and sum(values(samples, "last_run_state")) == 1
    assert values(samples, "last_run_step_rows", step="backup.dump") == [10]
    assert values(samples, "newest_good_session_timestamp_seconds") == [NOW.timestamp()]
    assert values(samples, "newest_good_session_verified_level") == [2]
    assert values(samples, "newest_verified_session_timestamp_seconds", level="3") == []
    assert values(samples, "newest_verified_session_timestamp_seconds", level="2") == [NOW.timestamp()]


@pytest.mark.parametrize("state", ["failed", "interrupted", "paused", "refused"])
def test_a_run_that_is_not_good_keeps_the_last_success(state: str) -> None:
    samples = with_run(with_run([], OWNER, GOOD), OWNER, replace(BAD, state=state))
    assert values(samples, "last_run_success_timestamp_seconds") == [107.5]
    assert values(samples, "last_run_exit_code") == [4] and values(samples, "last_run_end_timestamp_seconds") == [201]
    assert values(samples, "runs_total", state="ok") == [1] and values(samples, "runs_total", state=state) == [1]
    lint(text(samples))


def test_a_run_at_work_says_so_and_keeps_what_the_one_before_did() -> None:
    at_work = RunMeasures(mode="apply", state=RUNNING, started=300.0)
    samples = with_run(with_run([], OWNER, GOOD), OWNER, at_work)
    assert values(samples, "last_run_state", state="running") == [1]
    assert values(samples, "last_run_start_timestamp_seconds") == [300]
    assert values(samples, "last_run_end_timestamp_seconds") == [107.5] and values(samples, "last_run_rows") == [10]
    assert values(samples, "runs_total") == [1], "it counts when it has ended"


def test_a_rollback_is_no_success_of_the_plan() -> None:
    back = replace(GOOD, mode="rollback", started=300.0, ended=301.0)
    samples = with_run(with_run([], OWNER, GOOD), OWNER, back)
    assert values(samples, "last_run_success_timestamp_seconds", mode="apply") == [107.5]
    assert values(samples, "last_run_success_timestamp_seconds", mode="rollback") == [301]


def test_the_journal_knows_all_runs_but_those_that_could_not_begin() -> None:
    refused = replace(BAD, state="refused")
    before = with_run(with_run([], OWNER, GOOD), OWNER, refused)
    journal = replace(GOOD, success=107.0, counts={"ok": 5, "failed": 2})
    samples = with_run(before, OWNER, journal)
    assert values(samples, "last_run_state", state="refused") == [1], "the refused run was later"
    assert values(samples, "last_run_success_timestamp_seconds") == [107]
    counts = {one.label("state"): one.value for one in samples if one.name == "planrun_runs_total"}
    assert counts == {"ok": 5, "failed": 2, "refused": 1}
    later = with_run(samples, OWNER, replace(journal, started=400.0, ended=401.0))
    assert values(later, "last_run_state", state="ok") == [1]
    none = with_run(before, OWNER, replace(BAD, counts={"failed": 1}))
    assert values(none, "last_run_success_timestamp_seconds") == [], "a journal without a success has none"
    lint(text(later))


def test_steps_that_the_journal_was_read_without_stay_if_they_are_of_the_same_run() -> None:
    before = with_run([], OWNER, GOOD)
    brief = replace(GOOD, steps=None, success=107.5, counts={"ok": 1})
    assert values(with_run(before, OWNER, brief), "last_run_rows") == [10]
    assert values(with_run(before, OWNER, brief), "last_run_step_rows", step="backup.dump") == [10]
    assert values(with_run(before, OWNER, replace(brief, started=150.0, ended=151.0)), "last_run_rows") == []
    lint(text(with_run(before, OWNER, brief)))


def test_a_plan_without_sessions_has_no_metrics_of_sessions() -> None:
    assert [one.name for one in with_sessions([], OWNER, None)] == ["planrun_info"]


def test_plans_share_a_file(tmp_path: Path) -> None:
    path, other = tmp_path / "all.prom", Owner(plan="weekly", file="/srv/plans/weekly.yml")
    found = sessions.measure([SESSION], NOW)
    for owner, run in ((OWNER, GOOD), (other, BAD), (OWNER, BAD)):
        metrics_file.refuse_conflict(path, owner)
        metrics_file.update(path, lambda old, o=owner, r=run: with_run(with_sessions(old, o, found), o, r))  # type: ignore[misc]
    content = metrics_file.read(path)
    assert values(content.samples, "last_run_exit_code", plan="nightly") == [4]
    assert values(content.samples, "last_run_success_timestamp_seconds", plan="nightly") == [107.5]
    assert values(content.samples, "last_run_exit_code", plan="weekly") == [4]
    assert path.stat().st_mode & 0o777 == 0o644, "node_exporter runs as another user"
    assert [one.name for one in tmp_path.iterdir()] == ["all.prom"]
    lint(path.read_text())


def test_metrics_of_a_newer_planrun_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "all.prom"
    path.write_text(
        '# HELP planrun_new_total New.\n# TYPE planrun_new_total counter\nplanrun_new_total{plan="x"} 3.0\n'
    )
    metrics_file.update(path, lambda old: with_run(old, OWNER, GOOD))
    assert '# TYPE planrun_new_total counter\nplanrun_new_total{plan="x"} 3.0\n' in path.read_text()
    lint(path.read_text())


def test_a_folder_gets_a_file_for_each_plan_and_a_file_needs_its_suffix(tmp_path: Path) -> None:
    assert metrics_file.place(str(tmp_path), "a/b c") == tmp_path / "planrun-a_b_c.prom"
    assert metrics_file.place(str(tmp_path / "x.prom"), "a") == tmp_path / "x.prom"
    for target in ("x.txt", "nowhere/x.prom"):
        with pytest.raises(UsageError) as caught:
            metrics_file.place(str(tmp_path / target), "a")
        assert caught.value.code == "PR1126" and caught.value.hint


def test_what_would_be_overwritten_or_exist_twice_is_refused(tmp_path: Path) -> None:
    plan = tmp_path / "mine.yml"
    plan.touch()
    mine = replace(OWNER, file=str(plan))
    path = tmp_path / "all.prom"
    metrics_file.update(path, lambda old: with_sessions(old, mine, None))
    metrics_file.refuse_conflict(path, mine)
    metrics_file.refuse_conflict(path, replace(mine, plan="another"))
    with pytest.raises(UsageError, match="another plan of the name nightly"):
        metrics_file.refuse_conflict(path, replace(mine, file="/srv/other.yml"))
    with pytest.raises(UsageError, match="already in"):
        metrics_file.refuse_conflict(tmp_path / "second.prom", mine)
    plan.unlink()  # the plan has moved
    metrics_file.refuse_conflict(path, replace(mine, file="/srv/other.yml"))
    for name, content in (("node.prom", "node_up 1\n"), ("broken.prom", "{{{\n"), ("binary.prom", "\x00\xff")):
        (tmp_path / name).write_text(content, encoding="latin-1")
        with pytest.raises(UsageError, match="another program"):
            metrics_file.refuse_conflict(tmp_path / name, replace(mine, plan="another"))


def test_a_missing_library_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics_file.refuse_without_library()
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [one for one in sys.meta_path if "editable" not in repr(one).lower()])
    with pytest.raises(UsageError) as caught:
        metrics_file.refuse_without_library()
    assert caught.value.code == "PR1125" and "pip install 'planrun[metrics]'" in str(caught.value)


def test_a_folder_that_another_process_locks_for_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_file, "_PATIENCE", 0.05)
    with (
        metrics_file._lock(tmp_path),
        pytest.raises(TargetError, match="another process"),
    ):
        metrics_file.update(tmp_path / "a.prom", list)
    metrics_file.update(tmp_path / "a.prom", list)


@settings(max_examples=25)
@given(name=st.text(min_size=1, max_size=20), step=st.text(min_size=1, max_size=20), amount=st.integers(0, 2**53))
def test_any_name_and_number_can_be_written_and_read(name: str, step: str, amount: int) -> None:
    owner = Owner(plan=name, file=f"/{name}", database=name)
    run = replace(GOOD, steps={step: replace(STEP, rows=amount)})
    samples = with_run(with_sessions([], owner, None), owner, run)
    kept = metrics_file.parse(text(samples)).samples
    assert sorted(kept) == sorted(one._replace(labels=tuple(sorted(one.labels))) for one in samples)


def test_a_session_of_the_future_is_never_the_newest_good_one() -> None:
    ahead = replace(SESSION, name="backup_y", taken=NOW + timedelta(hours=3))
    damaged = replace(SESSION, name="backup_z", state="damaged")
    found = sessions.measure([SESSION, damaged, ahead], NOW)
    assert found.newest == SESSION and found.counts == {"complete": 2, "damaged": 1, "partial": 0, "writing": 0}
    assert families.info(OWNER).label("file") == OWNER.file
