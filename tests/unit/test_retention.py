"""Which sessions go: examples, and rules that hold for every folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.backup import sessions
from runner.backup.manifest import Server
from runner.errors import PlanrunError, TargetError
from runner.kinds import retention
from runner.kinds.base import BadParam, build
from runner.kinds.retention import Params
from runner.model import Note, Prune
from runner.retention import PERIODS, Decision
from runner.retention import decide as decide_by_rules
from runner.session_facts import SessionFacts
from tests.backups import CatalogReader, render

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def session(days: float, state: str = "complete", verified: int = 0) -> SessionFacts:
    taken = None if state == "foreign" else NOW - timedelta(days=days)
    return SessionFacts(name=f"{state}_{days}_{verified}", state=state, taken=taken, verified=verified)


def rules(**given: Any) -> Params:
    return Params(path="/x", **given)


def decide(found: list[SessionFacts], given: Params, now: datetime, plan: str = "") -> list[Decision]:
    return decide_by_rules(found, [given.rules], now, plan)


def names_to_keep(found: list[SessionFacts], **given: Any) -> list[str]:
    return [each.name for each in decide(found, rules(**given), NOW) if each.action == "keep"]


def test_sessions_older_than_the_window_go() -> None:
    found = [session(40), session(31), session(30), session(0)]
    assert decide(found, rules(retention_days=30), NOW) == [
        ("complete_40_0", "remove", "older than 30 days"),
        ("complete_31_0", "remove", "older than 30 days"),
        ("complete_30_0", "keep", "not older than 30 days"),
        ("complete_0_0", "keep", "not older than 30 days"),
    ]


def test_a_session_stays_when_any_rule_keeps_it() -> None:
    found = [session(50), session(40), session(31), session(0)]
    assert names_to_keep(found, retention_days=30, keep_last=3) == ["complete_40_0", "complete_31_0", "complete_0_0"]
    assert names_to_keep(found, keep_within=3600.0 * 24 * 35, retention_days=2) == ["complete_31_0", "complete_0_0"]


def test_ages_count_from_the_newest_session_so_that_a_pause_or_a_wrong_clock_removes_nothing() -> None:
    found = [session(90), session(65), session(60)]
    assert names_to_keep(found, keep_within=86400.0 * 7) == ["complete_65_0", "complete_60_0"]


def test_the_last_good_one_stays_however_old_it_is() -> None:
    assert names_to_keep([session(900), session(400)], retention_days=1) == ["complete_400_0"]


def test_nothing_goes_without_a_rule_but_leftovers() -> None:
    found = [session(900), session(3, "partial"), session(1)]
    assert decide(found, rules(), NOW)[1] == ("partial_3_0", "remove", "left over from an interrupted backup")
    assert names_to_keep(found) == ["complete_900_0", "complete_1_0"]


def test_what_is_written_foreign_or_damaged_stays() -> None:
    found = [session(90, "writing"), session(90, "foreign"), session(90, "damaged"), session(1)]
    assert names_to_keep(found, keep_last=1) == [each.name for each in found]


def test_a_damaged_session_does_not_count_as_the_last_good_one() -> None:
    assert names_to_keep([session(9), session(1, "damaged")], keep_last=1) == ["complete_9_0", "damaged_1_0"]


def test_only_verified_sessions_count_as_good_where_that_is_asked() -> None:
    found = [session(9, verified=3), session(8, verified=3), session(7), session(1)]
    assert decide(found, rules(keep_last=1, min_verified=3), NOW) == [
        ("complete_9_3", "remove", "not one of the last 1"),
        ("complete_8_3", "keep", "one of the last 1, the last restored and compared"),
        ("complete_7_0", "remove", "not one of the last 1"),
        ("complete_1_0", "keep", "the newest one"),
    ]


def test_nothing_goes_before_there_is_a_verified_one() -> None:
    found = [session(9, verified=2), session(1)]
    assert [each.reason for each in decide(found, rules(keep_last=1, min_verified=3), NOW)] == [
        "no session is verified at level 3 yet"
    ] * 2


FOLDERS = st.lists(
    st.builds(
        session,
        st.integers(-5, 500),
        st.sampled_from(["complete", "complete", "complete", "partial", "writing", "foreign", "damaged"]),
        st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda each: each.name,
)
RULES = st.builds(
    rules,
    keep_last=st.none() | st.integers(1, 5),
    keep_within=st.none() | st.floats(0, 1e15),
    retention_days=st.none() | st.floats(0, 1e15),
    min_verified=st.integers(0, 3),
    keep_verified_last=st.integers(1, 3),
    **{name: st.none() | st.integers(1, 5) for name in PERIODS},
)


@given(FOLDERS, RULES)
def test_there_is_one_decision_with_a_reason_for_each(found: list[SessionFacts], given: Params) -> None:
    decisions = decide(found, given, NOW)
    assert [each.name for each in decisions] == [each.name for each in found]
    assert all(each.reason for each in decisions)


@given(FOLDERS, RULES)
def test_the_newest_and_the_newest_good_one_never_go(found: list[SessionFacts], given: Params) -> None:
    kept = {each.name for each in decide(found, given, NOW) if each.action == "keep"}
    complete = [each for each in found if each.state == "complete"]
    good = [each for each in complete if each.verified >= given.min_verified]
    for group in (complete, good):
        if group:
            newest = max(each.taken for each in group if each.taken)
            assert any(each.name in kept for each in group if each.taken == newest)


@given(FOLDERS, RULES)
def test_only_complete_sessions_and_leftovers_ever_go(found: list[SessionFacts], given: Params) -> None:
    states = {each.name: each.state for each in found}
    assert {states[e.name] for e in decide(found, given, NOW) if e.action == "remove"} <= {"complete", "partial"}


@given(FOLDERS, RULES)
def test_a_second_time_nothing_more_goes(found: list[SessionFacts], given: Params) -> None:
    kept = {each.name for each in decide(found, given, NOW) if each.action == "keep"}
    rest = [each for each in found if each.name in kept]
    assert all(each.action == "keep" for each in decide(rest, given, NOW))


@given(FOLDERS, RULES, st.integers(1, 5))
def test_keeping_more_never_removes_more(found: list[SessionFacts], given: Params, more: int) -> None:
    first = {each.name for each in decide(found, given, NOW) if each.action == "keep"}
    for rule in ("keep_last", *PERIODS):
        changed: dict[str, Any] = {rule: (getattr(given, rule) or 0) + more}
        wider = replace(given, **changed)
        second = {each.name for each in decide(found, wider, NOW) if each.action == "keep"}
        assert first <= second or not given.rules.removes


@given(FOLDERS, RULES)
def test_the_last_proved_sessions_never_go(found: list[SessionFacts], given: Params) -> None:
    kept = {each.name for each in decide(found, given, NOW) if each.action == "keep"}
    proved = [each for each in found if each.state == "complete" and each.verified == 3 and each.taken]
    proved.sort(key=lambda each: (each.taken or NOW, each.name), reverse=True)
    assert {each.name for each in proved[: given.keep_verified_last]} <= kept


# ------------------------------------------------------------------ the calendar


def reasons(found: list[SessionFacts], **given: Any) -> dict[str, str]:
    return {each.name: each.reason for each in decide(found, rules(**given), NOW) if each.action == "keep"}


def test_the_last_session_of_each_day_stays() -> None:
    """As with restic's `keep-daily`: sessions on the 1st, two on the 2nd, the 4th, the 5th."""
    found = [session(30 - day - hour / 24) for day, hour in ((1, 8), (2, 8), (2, 11), (4, 9), (5, 10))]
    kept = reasons(found, keep_daily=4)
    assert [one.name for one in found if one.name in kept] == [one.name for one in found if one is not found[1]]
    assert kept[found[2].name] == "the last of day 2026-01-03"


def test_the_oldest_stays_while_there_are_fewer_periods_than_asked() -> None:
    found = [session(days) for days in (25, 20, 3, 1, 0)]
    kept = reasons(found, keep_monthly=4)
    assert kept == {
        "complete_25_0": "the oldest, as fewer than 4 months have a session",
        "complete_0_0": "the last of month 2026-01",
    }


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("keep_hourly", "hour 2026-01-31 00:00"),
        ("keep_weekly", "week 2026-W05"),
        ("keep_yearly", "year 2026"),
    ],
)
def test_each_period_has_its_name(rule: str, word: str) -> None:
    assert reasons([session(500), session(0)], **{rule: 1}) == {"complete_0_0": f"the last of {word}"}


def test_every_reason_is_given() -> None:
    found = [session(40), session(1, verified=3), session(0)]
    assert reasons(found, keep_last=2, keep_within=86400.0 * 2, keep_yearly=1)["complete_1_3"] == (
        "one of the last 2, not older than 2 days, the last restored and compared"
    )


# ------------------------------------------------------------------ clocks


def test_nothing_goes_while_the_newest_is_dated_in_the_future() -> None:
    found = [session(90), session(2), session(-400)]
    assert set(reasons(found, keep_last=1).values()) == {
        "nothing goes while complete_-400_0 is dated in the future: check the clock, or remove it by its name"
    }
    assert len(reasons(found, keep_last=1)) == 3


@pytest.mark.parametrize(("days", "word"), [(3650, "ahead of"), (-3650, "behind")])
def test_nothing_goes_after_a_backup_by_a_wrong_clock(days: int, word: str) -> None:
    wrong = replace(session(0), clock_ahead=days * 86400.0)
    found = [session(90), session(2), wrong]
    assert set(reasons(found, keep_within=86400.0).values()) == {
        f"nothing goes: the clock was 3650 days {word} the database server's for complete_0_0"
    }
    assert [*reasons([*found, session(-0.5)], keep_last=1)] == ["complete_-0.5_0"], "the next one has the right time"


def test_a_session_of_a_wrong_clock_is_dated_by_the_server(tmp_path: Path) -> None:
    writing = sessions.begin(tmp_path, started=NOW + timedelta(days=3650))
    server = Server(version="18", version_num=180000, database="app", clock_ahead=3650 * 86400.0)
    writing.seal(replace(writing.manifest, server=server), {})
    (found,) = sessions.facts(tmp_path)
    assert found.taken == NOW and found.clock_ahead == 3650 * 86400.0


def test_what_this_run_made_stays() -> None:
    mine = [replace(session(days), run="r1") for days in (0.2, 0.1)]
    found = decide_by_rules([session(5), *mine], [rules(keep_last=1).rules], NOW, run="r1")
    assert [each.action for each in found] == ["remove", "keep", "keep"]
    assert found[1].reason == "made by this run"


# ------------------------------------------------------------------ the kind, on a real folder


def make_session(folder: Path, days: float) -> str:
    writing = sessions.begin(folder, started=NOW - timedelta(days=days))
    return writing.seal(writing.manifest, {}).name


def test_it_removes_what_it_says_and_explains_it(tmp_path: Path) -> None:
    old, new = make_session(tmp_path, 40), make_session(tmp_path, 1)
    (tmp_path / "notes").mkdir()
    params = build(Params, {"path": ".", "retention_days": 30}, tmp_path)
    facts = retention.look(params, CatalogReader("", tmp_path))
    note, prune = retention.render(params, facts, render)
    assert isinstance(note, Note) and f"remove {old}: older than 30 days" in note.text
    assert prune == Prune(folder=str(tmp_path), sessions=(old,))
    assert retention.give(params, facts, [{}, {}]) == {
        "kept": [
            {"session": "notes", "reason": "not made by planrun"},
            {"session": new, "reason": "not older than 30 days"},
        ],
        "removed": [{"session": old, "reason": "older than 30 days"}],
    }
    assert sessions.prune(tmp_path, prune.sessions) == {"removed": [old]}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new, "notes"])


def test_nothing_to_remove_is_a_note_alone(tmp_path: Path) -> None:
    params = build(Params, {"path": "missing"}, tmp_path)
    (note,) = retention.render(params, retention.look(params, CatalogReader("", tmp_path)), render)
    assert isinstance(note, Note) and note.text.startswith("no sessions in")


def test_a_session_that_is_gone_by_then_is_told(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="planrun did not make this session"):
        sessions.prune(tmp_path, ("backup_2025-07-20T12-26-55-178Z",))


# ------------------------------------------------------------------ whose sessions


def test_sessions_of_another_plan_are_not_ours_to_remove() -> None:
    ours = [replace(session(days), plan="ours") for days in (90, 60)]
    theirs = [replace(session(days, state), plan="theirs") for days, state in ((95, "complete"), (94, "partial"))]
    found = {each.name: each for each in decide([*theirs, *ours], rules(keep_last=1), NOW, "ours")}
    assert [each.action for each in found.values()] == ["keep", "keep", "remove", "keep"]
    assert found["complete_95_0"].reason == "made by plan theirs"


def test_each_database_has_its_own_last_good_session() -> None:
    found = [replace(session(days), database=name) for days, name in ((9, "a"), (8, "b"), (7, "b"))]
    assert names_to_keep(found, keep_last=1) == ["complete_9_0", "complete_7_0"]


def test_the_last_complete_session_is_not_pruned_whatever_was_decided(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    names = []
    for day in range(2):
        writing = sessions.begin(tmp_path, started=moment + timedelta(days=day))
        names.append(writing.seal(writing.manifest, {}).name)
    for chosen in (names, names[1:]):
        with pytest.raises(TargetError, match="none is removed"):
            sessions.prune(tmp_path, tuple(chosen))
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    sessions.prune(tmp_path, (names[0],))
    assert [path.name for path in tmp_path.iterdir()] == [names[1]]


def test_the_last_proved_session_is_pruned_by_its_name_only(tmp_path: Path) -> None:
    old, new = make_session(tmp_path, 9), make_session(tmp_path, 1)
    sessions.record_verified(tmp_path / old, 3, at=NOW, by="test")
    with pytest.raises(TargetError, match=f"the last proved session is among them: none is removed: {old}"):
        sessions.prune(tmp_path, (old,))
    assert sessions.prune(tmp_path, (old,), by_name=True) == {"removed": [old]}
    assert [path.name for path in tmp_path.iterdir()] == [new]


def test_a_prune_that_fails_says_how_far_it_came_and_the_list_is_true(tmp_path: Path) -> None:
    names = [make_session(tmp_path, days) for days in (9, 8, 7, 1)]
    (tmp_path / names[1] / "manifest.json").unlink()
    with pytest.raises(TargetError, match=r"1 of 3 sessions were removed before"):
        sessions.prune(tmp_path, tuple(names[:3]))
    assert [(one.name, one.state) for one in sessions.facts(tmp_path) if one.state == "complete"] == [
        (names[2], "complete"),
        (names[3], "complete"),
    ]


def test_sessions_go_by_their_full_names(tmp_path: Path) -> None:
    old, new = make_session(tmp_path, 9), make_session(tmp_path, 1)
    named = build(Params, {"path": ".", "sessions": [new]}, tmp_path)
    reader = CatalogReader("", tmp_path)
    facts = retention.look(named, reader)
    assert facts.decisions == ((old, "keep", "not named"), (new, "remove", "named, whatever the rules say"))
    assert retention.render(named, facts, render)[1] == Prune(folder=str(tmp_path), sessions=(new,), by_name=True)
    with pytest.raises(PlanrunError, match="there is no session backup_2020"):
        retention.look(build(Params, {"path": ".", "sessions": ["backup_2020"]}, tmp_path), reader)


def test_more_rules_have_the_same_words_and_need_one(tmp_path: Path) -> None:
    for name in ("keep_first", "path", "also"):
        with pytest.raises(BadParam, match=f"also: {name}: no rule"):
            build(Params, {"path": ".", "also": [{name: 1}]}, tmp_path)
    empty = build(Params, {"path": ".", "also": [{"keep_last": 2}]}, tmp_path)
    assert [one.keep_last for one in retention.every_rule(empty, tmp_path)] == [2]
    none = build(Params, {"path": "."}, tmp_path)
    assert retention.every_rule(none, tmp_path) == [none], "without any rule, leftovers go"
