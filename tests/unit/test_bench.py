"""The benchmarks: every subject still runs, results have their shape, and the README shows the kept ones."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench import __main__ as bench
from bench import clients, compare, delay, readme, results
from bench.machine import Machine
from bench.place import Place, place
from bench.results import GroupResult, Ratio, Result, WayResult
from bench.sample import Group, Sample, Way, measure, most_rounds
from bench.subject import Subject, measure_subject
from bench.subjects import SUBJECTS, swap, tiny
from tests import servers

ROOT = Path(__file__).parents[2]
MACHINE = Machine(2, 24, "Linux", "6.1", "3.11.7", "15.18", 0.1)
BESIDES = {"prepare": "a rare peer", "swap": "stall runs the same code"}
"""Subjects that are not run for themselves, and why."""
FIRST_GROUP = ("backup", "catch_up")
"""Subjects whose second group does the same work again."""
SMALLEST: dict[str, dict[str, Any]] = {"scale": {"steps": (2,), "tables": (2,), "lines": (20,)}}


@pytest.fixture(scope="module")
def where(_no_settings_of_the_caller: None) -> Iterator[Place]:
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here")
    with place(bench.MAJOR) as made:
        yield made


@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one.name not in BESIDES], ids=lambda one: one.name)
def test_every_subject_runs(subject: Subject[Any], where: Place) -> None:
    if subject.name in FIRST_GROUP:
        groups = subject.groups
        subject = dataclasses.replace(subject, groups=lambda where, size: itertools.islice(groups(where, size), 1))
    size = subject.size(quick=True, **SMALLEST.get(subject.name, {}))
    found = measure_subject(subject, where, size, pairs=1)
    assert found.groups
    assert all(way.seconds > 0 for group in found.groups for way in group.ways)
    assert any(ratio.headline for group in found.groups for ratio in group.ratios) or subject.name == "scale"


@dataclasses.dataclass(frozen=True)
class Size:
    rows: int = 10
    tables: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize(
    ("words", "pairs", "size"),
    [
        ("all", 5, Size()),
        ("all --pairs 6 --note x", 6, Size()),
        ("fake --rows 7 --tables 3", 5, Size(7, (3,))),
        ("fake --quick", 0, None),
    ],
)
def test_only_a_run_that_is_not_quick_is_kept(
    words: str, pairs: int, size: Size | None, where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [Group("", "", [Way("fast", lambda: Sample(1)), Way("slow", lambda: Sample(2), ("fast",))])]
    fake = Subject("fake", "A fake.", Size(), Size(1), lambda where, size: iter(groups))
    kept: list[Result] = []
    monkeypatch.setattr(bench, "SUBJECTS", [fake])
    monkeypatch.setattr(bench, "place", lambda major: contextlib.nullcontext(where))
    monkeypatch.setattr(results, "keep", kept.append)
    bench.main(words.split())
    assert [(one.pairs, one.size) for one in kept] == ([(pairs, dataclasses.asdict(size))] if size else [])


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda one: one.name)
def test_help_says_what_is_measured_and_the_sizes(subject: Subject[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main([subject.name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert subject.about.strip().splitlines()[0] in said
    assert all(f"--{name.replace('_', '-')}" in said for name in subject.numbers())


# ------------------------------------------------------------------ how it measures


def test_rounds_alternate_and_a_warm_round_does_not_count() -> None:
    ran: list[str] = []

    def run(name: str) -> Sample:
        ran.append(name)
        return Sample(len(ran))

    found = measure(Group("", "", [Way(name, partial(run, name)) for name in "ab"], warm=True), pairs=2)
    assert "".join(ran) == "baabba"
    assert [one.seconds for one in found["a"]] == [3, 6]


def test_a_group_that_takes_long_has_fewer_rounds_and_says_so() -> None:
    group = Group("", "", [Way("a", lambda: Sample(1))], most=3)
    assert [results.summary(group, measure(group, pairs)).rounds for pairs in (1, 5)] == [1, 3]
    large = [one for subject in (swap.SUBJECT, tiny.SUBJECT) for one in subject.full.tables if one >= 1_000]
    assert large == [1_000, 1_000, 5_000]
    assert [most_rounds(count) for count in (10, 999, 1_000, 5_000)] == [0, 0, 3, 3]


def test_ratios_are_of_one_round_and_cpu_only_of_whole_samples() -> None:
    slow, fast = [Sample(4, 1, 1, 8), Sample(9, 2, 2, 8)], [Sample(1, 1, 0, 4), Sample(3, 1, 0, 4)]
    ways = [Way("fast", fast.pop), Way("slow", slow.pop, ("fast",))]
    (ratio,) = results.summary(Group("", "", ways), {"fast": fast[:], "slow": slow[:]}).ratios
    assert (ratio.median, ratio.least, ratio.greatest, ratio.cpu, ratio.memory) == (3.5, 3, 4, 3, 2)
    part = [dataclasses.replace(one, whole=False) for one in slow]
    assert results.summary(Group("", "", ways), {"fast": fast, "slow": part}).ratios[0].cpu is None


def test_the_peak_is_that_of_the_program_and_not_of_what_started_it(where: Place) -> None:
    kept = bytearray(200 << 20)
    kept[:: 1 << 12] = b"x" * len(kept[:: 1 << 12])
    assert (where.run(["true"]).peak or 0) < len(kept) / 4


def test_a_program_that_fails_is_an_error_with_what_it_said(where: Place) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        where.run(["true"], ["sh", "-c", "echo no such thing >&2; exit 3"], ["true"])


def test_cpu_of_the_server_counts_a_connection_that_has_ended(where: Place) -> None:
    before = where.server_cpu()
    if before is None:
        pytest.skip("no /proc here")
    with where.connect("postgres") as conn:
        conn.execute("select count(*) from generate_series(1, 1000000)")
    assert (where.server_cpu() or 0) - before > 0.02


def test_the_proxy_makes_a_round_trip_longer_but_not_two_at_once(where: Place) -> None:
    with (
        delay.far(where.home / "away", Path(where.server.words["host"]), 20) as host,
        psycopg.connect(where.url("postgres", host), autocommit=True) as conn,
    ):
        took = []
        for _ in range(5):
            began = time.perf_counter()
            conn.execute("select 1; select 2")
            took.append(time.perf_counter() - began)
    assert statistics.median(took) >= 0.02


def test_clients_that_get_an_error_are_an_error(where: Place) -> None:
    where.fresh("clients")
    at_work = clients.at_work(where, "clients", "select 1 from nowhere;", lead=0.3)
    with pytest.raises(RuntimeError, match=r"relation .* does not exist"), at_work:
        pass


def test_the_longest_transaction_is_that_of_a_wait(where: Place) -> None:
    where.fresh("clients")
    with where.connect("clients") as conn:
        conn.execute("create table t ()")
        with clients.at_work(where, "clients", "select from t;", lead=0.2) as watch:
            conn.execute("begin; lock table t; select pg_sleep(0.3); commit")
    assert 0.25 < watch.longest < 5
    assert watch.rate > 1


def test_a_log_under_a_rate_counts_from_when_a_transaction_began(tmp_path: Path) -> None:
    lines = "0 1 9000000 0 99 0 0", "0 2 900000 0 100 500000 700000", "1 1 300000 0 102 0 0", "1 2 skipped 0 102 0 9"
    (tmp_path / "log.1").write_text("\n".join(lines))
    watch = clients.Watch()
    watch.read(tmp_path, began=100.0)
    assert (watch.longest, watch.rate) == (0.3, 1.0)


# ------------------------------------------------------------------ results


def make_result(median: float = 2.0, **words: Any) -> Result:
    ratio = Ratio("planrun it", "peer", median, median - 0.5, median + 0.5, 1.5, None, headline=True)
    ways = WayResult("peer", 1, None, 0.5, 10), WayResult("planrun it", 2, 0.1, 0.5, 70)
    group = GroupResult("key", "a job", ways, (ratio,))
    result = Result("made_up", "2026-01-01", MACHINE, "quiet.", 5, {"rows": 10, "tables": [1, 2]}, (group,))
    return dataclasses.replace(result, **words)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = results.keep(make_result(), tmp_path / "results")
    assert results.read(path.parent) == {"made_up": make_result()}
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(ValueError, match="version 1"):
        results.read(path.parent)


def test_the_shape_of_a_result() -> None:
    data = json.loads(make_result().to_json())
    (group,) = data["groups"]
    assert list(data) == ["format_version", "subject", "date", "machine", "note", "pairs", "size", "groups"]
    assert list(data["machine"]) == ["cores", "memory_gb", "system", "kernel", "python", "postgresql", "load"]
    assert list(group) == ["key", "title", "ways", "ratios", "rounds"]
    assert list(group["ways"][0]) == ["name", "seconds", "client_cpu", "server_cpu", "peak_mb"]
    assert list(group["ratios"][0]) == ["of", "to", "median", "least", "greatest", "cpu", "memory", "headline"]


def test_kept_results_are_of_our_subjects_and_name_no_place() -> None:
    kept = results.read()
    assert kept.keys() <= {subject.name for subject in SUBJECTS}
    for subject in SUBJECTS:
        if (found := kept.get(subject.name)) is None:
            continue
        assert found.pairs >= 5
        assert found.size.keys() == subject.numbers().keys()
        assert all(r.least <= r.median <= r.greatest for group in found.groups for r in group.ratios)
        text = found.to_json()
        assert not re.search(r"/(tmp|home|root|usr|work)\b", text)
        assert len(platform.node()) < 6 or platform.node() not in text


@pytest.mark.parametrize(
    ("now", "before", "says"),
    [
        (make_result(), None, "no result in the last commit"),
        (make_result(), make_result(), "not measured since the last commit"),
        (make_result(2.2), make_result(), r"2\.00x ->    2\.20x   \+10\.0 %         planrun it  :  peer"),
        (make_result(3.0), make_result(), r"\+50\.0 % slower "),
        (make_result(1.0), make_result(), r"-50\.0 % faster "),
        (make_result(3.0, size={"rows": 20}), make_result(), r"the sizes differ.*'rows': 10.* then, .*'rows': 20"),
        (make_result(3.0), make_result(machine=dataclasses.replace(MACHINE, cores=8)), "another machine: 8 cores"),
        (make_result(3.0), make_result(groups=()), r"new ->    3\.00x"),
    ],
)
def test_the_change_of_a_ratio(now: Result, before: Result | None, says: str) -> None:
    assert re.search(says, compare.report({"made_up": now}, {"made_up": before} if before else {}))


def test_what_was_kept_last_is_what_git_has(tmp_path: Path) -> None:
    assert compare.committed_results(tmp_path) == {}
    folder = tmp_path / "bench" / "results"
    folder.parent.mkdir()
    results.keep(make_result(), folder)
    words = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "."], [*words, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    results.keep(make_result(9.0), folder)
    assert compare.committed_results(tmp_path) == {"made_up": make_result()}


def test_the_table_has_a_row_for_each_headline_and_names_the_machine() -> None:
    made = readme.block({"made_up": make_result()})
    assert "| a job | it | 2.0 | 2.0 (1.5 to 2.5) | 1.5 | peer |" in made
    assert "Measured on 2026-01-01: 2 cores, 24 GB, Linux 6.1, Python 3.11.7, PostgreSQL 15.18. quiet." in made
    page = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter"
    assert readme.with_block(page, made) == f"before\n{readme.BEGIN}\n{made}{readme.END}\nafter"
    with pytest.raises(ValueError, match="no <!--"):
        readme.with_block("a page", made)


def test_the_readme_shows_the_kept_results() -> None:
    text = readme.README.read_text()
    assert text == readme.with_block(text, readme.block(results.read())), "run: make bench-table"


def test_modules_are_short() -> None:
    long = {path.name: n for path in (ROOT / "bench").rglob("*.py") if (n := len(path.read_text().splitlines())) > 250}
    assert not long
