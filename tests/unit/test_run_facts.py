"""What the records of a run tell: attempts, waits, locks, measures; the digest; the page over all runs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.journal.file import FileJournal
from runner.session_facts import SessionFacts
from runner.webpage import charts, digest, index_facts, stored_report, timeline
from runner.webpage.index_facts import PlanFacts
from runner.webpage.locks import step_locks
from runner.webpage.measures import checks, measures, proof
from runner.webpage.run_facts import RunFacts
from runner.webpage.run_records import run_facts
from tests.runrecords import BEGAN, RUN, at, began, ended, fate, record, step


def facts(*records: dict[str, Any]) -> RunFacts:
    found = run_facts(records)
    assert found
    return found


RESUMED = [
    began(0, sets=["x=1"], options=["--until", "c"]),
    *step("g.a", 0, 2),
    *step("g.b", 2, 1, state="failed", message="no"),
    record("turn", 3, path="g", uses="group", actions=[]),
    record("outcome", 3, path="g", state="failed", seconds=0.0),
    ended(4, "failed", message="no", next="planrun apply p.yml --resume"),
    began(100, mode="resume"),
    record("turn", 100, path="g.a", uses="sql", settled=True, actions=[]),
    record("outcome", 100, path="g.a", state="ok", recorded=True, seconds=2.0),
    *step("g.b", 101, 5),
    record("turn", 106, path="g", uses="group", actions=[]),
    record("outcome", 106, path="g", state="ok", seconds=0.0),
    *step("c", 106, 1),
    ended(8, way_back="planrun rollback p.yml"),
]


def test_a_resumed_run_has_each_step_as_the_attempt_that_did_it_left_it() -> None:
    run = facts(*RESUMED)
    steps = run.steps()
    assert [one.path for one in steps] == ["g", "g.a", "g.b", "c"]
    of = {one.path: one for one in steps}
    assert of["g.a"].actions and not of["g.a"].recorded, "as the first attempt did it"
    assert (of["g.b"].state, of["g.b"].seconds, of["g"].is_group) == ("ok", 5, True)
    assert (run.state, run.seconds, len(run.attempts), run.next_command) == ("ok", 12, 2, "")
    assert run.way_back == "planrun rollback p.yml"


def test_the_next_command_of_a_run_that_was_cut_off_comes_from_its_beginning() -> None:
    run = facts(*RESUMED[:3])
    assert run.state == "cut off" and run.seconds is None
    assert run.next_command == "planrun apply plans/prod.yml --set x=1 --resume --until c"
    back = facts(began(0, mode="rollback"))
    assert back.next_command == "planrun rollback plans/prod.yml"


def test_a_wait_ends_where_it_is_told_and_attempts_at_locks_are_waits() -> None:
    run = facts(
        began(),
        *list(step("a", 0))[:1],
        record("waiting", 1, connection="t", message="waits for SHARE on x; blocked by: pid 1"),
        record("waiting", 3, connection="t", message="waits for SHARE on x; blocked by: pid 2"),
        record("wait_ended", 4.5, connection="t", seconds=3.5),
        record("retrying", 6, path="a", attempt=1, of=0, delay=2.0, message="could not get the locks"),
        record("retrying", 8.5, path="a", attempt=2, of=0, delay=2.0, message="could not get the locks"),
        record("retrying", 9, path="a", attempt=1, of=3, delay=2.0, message="the step again: no wait"),
        record("waiting", 20, connection="t", message="killed while it waited"),
    )
    waits = [(wait.path, wait.seconds, wait.about) for wait in run.waits()]
    assert waits == [
        ("a", 2.0, "about"), ("a", 1.5, "about"), ("a", 6.0, "at most"), ("a", 0.5, "at most"), ("a", None, "about"),
    ]  # fmt: skip
    attempt = run.attempts[0]
    span = timeline.span(attempt)
    assert span and span.seconds == 20
    (bars,) = timeline.step_bars(attempt, span, [])
    assert [bar.kind for bar in bars] == ["step", "wait", "wait", "wait", "wait", "wait"]
    assert all(bar.x >= 0 and bar.x + bar.width <= timeline.WIDTH + 0.1 for bar in bars)


def test_locks_are_measured_in_an_exchange_and_told_from_the_text_of_sql() -> None:
    lock = 'lock table "app"."Orders", app.users in access exclusive mode'
    exchange = {"action": "exchange", "what": "swap", "locks": lock, "text": "..."}
    run = facts(
        began(),
        *step("swap", 0, 2, uses="swap_tables", actions=[exchange], result={"locked_ms": 8.5}),
        *step("ddl", 2, 3, text="alter table t add column c int; insert into u values (1); create table new ()"),
        *step("bad", 5, 1, text="this is *** no SQL"),
    )
    found = [one for each in run.steps() for one in step_locks(each)]
    assert [(one.path, one.mode, one.what, one.seconds, one.about) for one in found] == [
        ("swap", "ACCESS EXCLUSIVE", 'app."Orders", app.users', 0.0085, "measured"),
        ("ddl", "ACCESS EXCLUSIVE", "t", 3, "at most"),
    ]


def test_measures_proofs_and_checks() -> None:
    table = {"schema": "app", "name": "Orders", "rows": 50, "bytes": 1000, "seconds": 0.5, "checksum": "17"}
    run = facts(
        began(),
        *step("load", uses="shadow_load", result={"measures": [table]}, outputs={"tables": [table]}),
        *step("prove", uses="verify_backup", outputs={"level": 3, "session": "s", "tables": [table], "rows": 50}),
        *step("look", result={"in_the_way": []}),
    )
    load, prove, look = run.steps()
    (one,) = measures(load)
    assert (one.name, one.rows_per_second, one.bytes_per_second) == ('app."Orders"', 100, 2000)
    assert measures(prove) == [] and measures(look) == [] and proof(load) is None
    proved = proof(prove)
    assert proved and proved.level.startswith("level 3: restored") and proved.facts == {"session": "s", "rows": "50"}
    assert [one.checksum for one in proved.tables] == ["17"] and checks(run.steps()) == [("look", 1)]


def test_the_digest_is_of_values_and_not_of_their_order(tmp_path: Path) -> None:
    shuffled = [json.loads(json.dumps(dict(reversed(one.items())))) for one in RESUMED]
    assert digest.digest(RESUMED) == digest.digest(shuffled)
    assert digest.digest([]) == "" and len(set(digest.digests(RESUMED))) == len(RESUMED)
    assert digest.digest([{**RESUMED[0], "pid": 8}, *RESUMED[1:]]) != digest.digest(RESUMED)
    book = FileJournal(tmp_path / "j")
    book.path.write_text("".join(json.dumps(one) + "\n" for one in [*RESUMED, {**RESUMED[0], "run": "other"}]))
    assert digest.digest(list(book.records(run=RUN))) == digest.digest(RESUMED)
    kept = [one["event"] for one in book.milestones()]
    assert kept == ["run_began", "run_ended", "run_began", "run_ended", "run_began"]


def test_the_name_of_a_report_stays_in_its_folder() -> None:
    assert stored_report.file_name("prod", RUN) == f"prod-{RUN}.html"
    assert stored_report.file_name("../../e t<c", "../x") == "_.._e_t_c-.._x.html"
    assert stored_report.file_name("", RUN) == f"plan-{RUN}.html"


# ------------------------------------------------------------------ the index


def milestones(day: int, state: str = "ok", **outputs: Any) -> list[tuple[str, dict[str, Any]]]:
    run, since = f"run{day}", day * 86400
    every = [began(since), record("outcome", since + 60, path="a", state="ok", seconds=9.5, outputs=outputs),
             ended(since + 90, state)]  # fmt: skip
    return [("prod", {**one, "run": run}) for one in every]


def test_sessions_come_from_the_folder_and_from_the_journal() -> None:
    made = milestones(0, session="/b/old", left_out=[], rows=5, bytes=70)
    told = [*made, *milestones(1, session="here", level=3), *milestones(2, session="/b/here", tables=[], left=[])]
    there = SessionFacts(name="here", state="complete", taken=BEGAN + timedelta(days=1), verified=1, rows=6, bytes=80)
    old, here = index_facts.sessions(PlanFacts(name="prod", milestones=told, sessions=[("/b", there)]))
    assert (old.name, old.state, old.bytes, old.restored) == ("old", "gone", 70, None)
    assert (here.level, [one.level for one in here.proofs], here.proofs[0].seconds) == (3, [3, 0], 9.5)
    assert here.restored and here.restored.isoformat(timespec="milliseconds") == at(2 * 86400 + 60)


def test_the_next_run_is_estimated_from_enough_good_ones() -> None:
    told = [one for day in (0, 1, 2, 4) for one in milestones(day)] + milestones(5, "failed")
    runs = list(index_facts.runs(PlanFacts(name="prod", milestones=told), {}))
    found = index_facts.next_run("prod", runs)
    assert found and (found.usual, found.at) == (86400, BEGAN + timedelta(days=5))
    assert index_facts.next_run("prod", runs[1:]) is None, "three are too few"
    days, months = charts.calendar(runs, BEGAN + timedelta(days=6))
    looks = [day.look for day in days if day.look != "empty"]
    assert looks == ["ok", "ok", "ok", "ok", "bad"] and len(months) == 6 and len(days) == charts.WEEKS * 7 - 1


@pytest.mark.parametrize("bytes", [0, 1, 10**15])
def test_bars_of_sizes_fit_their_picture(bytes: int) -> None:
    facts = [SessionFacts(name=f"s{n}", state="complete", taken=BEGAN, bytes=bytes * n) for n in range(100)]
    found = index_facts.sessions(PlanFacts(name="p", sessions=[("/b", one) for one in facts]))
    bars, _ = charts.size_bars(found)
    assert len(bars) == charts.BARS and all(bar.y >= 0 and bar.y + bar.height <= charts.HEIGHT + 0.1 for bar in bars)
    assert fate("x")["name"] == "x"
