"""How far an action is: never backwards, never complete before its end, and no time left without a basis."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.events import ActionProgress, AtWork, PhaseProgress
from runner.progress import WEIGHTS, Meter, Tally
from runner.report import progress as words


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_meter() -> tuple[Meter, Clock, list[ActionProgress]]:
    clock, told = Clock(), list[ActionProgress]()
    return Meter("load", "k", told.append, clock), clock, told


def test_no_time_is_left_before_there_is_a_basis_and_then_it_follows_the_bytes() -> None:
    meter, clock, told = make_meter()
    meter.report(0, 1000, "rows", "")
    for second in range(1, 11):
        clock.now = float(second)
        meter.report(second * 50, 1000, "rows", "rows of public.t")
    assert [one.left for one in told[:3]] == [None, None, None]
    last = told[-1]
    assert last.share == 0.5 and last.left == 10 and last.what == "rows of public.t"
    assert [(one.phase, one.done, one.total, one.rate) for one in last.phases] == [("rows", 500, 1000, 50.0)]


def test_phases_weigh_by_their_bytes_and_a_later_one_is_expected_from_the_beginning() -> None:
    meter, clock, told = make_meter()
    meter.report(0, 1000, "rows", "")
    meter.report(0, 2000, "indexes", "")
    clock.now = 10
    meter.report(1000, 1000, "rows", "")
    assert told[-1].share == 1000 / (1000 + 2000 * WEIGHTS["indexes"]) == 0.5
    assert told[-1].phases == (), "a phase that has ended is not at work, and the next one has not begun"


def test_what_a_server_says_counts_until_the_work_has_ended() -> None:
    meter, clock, told = make_meter()
    meter.report(0, 1000, "indexes", "")
    clock.now = 5
    meter.note_server({"indexes": 400})
    assert told[-1].share == 0.4 and told[-1].phases[0].done == 400
    meter.note_server({"indexes": 5000})
    assert told[-1].phases[0].done == 990, "it is not done before planrun's own statement has ended"
    meter.report(500, 1000, "indexes", "indexes of public.t")
    assert told[-1].phases[0].done == 500 and told[-1].share == 0.99, "the share does not go back"


def test_it_tells_often_enough_and_not_of_each_piece() -> None:
    meter, clock, told = make_meter()
    meter.report(0, 1 << 30, "rows", "")
    for piece in range(1, 1001):
        clock.now += 0.001
        meter.report(piece, 1 << 30, "rows", "rows of public.t")
    assert 4 <= len(told) <= 6
    meter.report(0, 0, "", "triggers")
    assert told[-1].what == "triggers", "what is named is told at once, as nothing may follow for long"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["rows", "indexes", "x"]), st.integers(0, 50), st.integers(0, 40), st.floats(0, 5)),
        max_size=60,
    )
)
def test_a_share_never_falls_and_is_never_whole(steps: list[tuple[str, int, int, float]]) -> None:
    meter, clock, told = make_meter()
    for phase, done, total, seconds in steps:
        clock.now += seconds
        meter.report(done, total, phase, "")
    shares = [one.share for one in told if one.share is not None]
    assert shares == sorted(shares) and all(0 <= one <= 0.99 for one in shares)
    assert all(phase.done < phase.total for one in told for phase in one.phases)
    assert all(one.left is None or one.left >= 0 for one in told)


# ------------------------------------------------------------------ tables whose streams have another size


def make_tally(**sizes: int) -> tuple[Tally, list[Any]]:
    told: list[Any] = []
    return Tally("rows", sizes, lambda *one: told.append(one)), told


def test_rows_tell_how_much_of_a_table_has_arrived() -> None:
    tally, told = make_tally(a=1000, b=1000)
    tally.add("a", "a", data=9_999, rows=5, of_rows=10)
    assert told == [(0, 2000, "rows", ""), (500, 2000, "rows", "a")]
    tally.add("a", "a", data=9_999, rows=500, of_rows=10)
    assert told[-1][0] == 980, "an estimate that was too small does not make it complete"
    tally.complete(["a", "a", "unknown"], "a")
    assert told[-1][0] == 1000


def test_without_rows_the_first_complete_table_tells_what_a_byte_of_the_stream_is() -> None:
    tally, told = make_tally(a=1000, b=1000)
    tally.add("a", "a", data=300)
    assert told[-1][0] == 300
    tally.add("a", "a", data=4700)
    tally.complete(["a"], "a")
    tally.add("b", "b", data=2500)
    assert told[-1][0] == 1500


def test_a_stream_of_many_tables_fills_one_after_the_other() -> None:
    tally, told = make_tally(a=100, b=100, c=0)
    for _ in range(12):
        tally.fill(["a", "b", "c"], "3 tables", 20)
    assert told[-1][0] == 98 + 98
    tally.complete(["a", "b", "c"], "3 tables")
    assert told[-1][:2] == (200, 200)


def test_nothing_to_do_is_no_phase() -> None:
    meter, _, told = make_meter()
    Tally("rows", {}, meter.report)
    Tally("indexes", {"empty": 0}, meter.report)
    assert all(one.share is None and one.phases == () for one in told)


# ------------------------------------------------------------------ in words


def test_one_line_has_all_that_is_known() -> None:
    action = ActionProgress(
        path="load",
        key="k",
        what='rows of public."a\x1b[2J"',
        phases=(PhaseProgress(phase="rows", done=12 << 30, total=30 << 30, rate=float(45 << 20)),),
        share=0.416,
        left=130.0,
    )
    found = AtWork(
        path="load", uses="shadow_load", seconds=72.0, progress=(action,), server=("CREATE INDEX on a, 45 %",),
        waits="waits for SHARE on b; blocked by: pid 7",
    )  # fmt: skip
    assert words.line(found) == (
        "load: shadow_load at work for 1 min 12 s, 41 %, about 2 min left; rows 12 GB of 30 GB, 45 MB/s; "
        'rows of public."a\\x1b[2J"; CREATE INDEX on a, 45 %; waits for SHARE on b; blocked by: pid 7'
    )


def test_several_actions_at_once_have_no_common_share() -> None:
    one = ActionProgress(path="a", key="1", what="x", share=0.5, left=4)
    two = ActionProgress(path="a", key="2", what="y", share=0.9)
    line = words.line(AtWork(path="a", uses="pg_dump", seconds=1, progress=(one, two)))
    assert line == "a: pg_dump at work for 1.0 s; x; y"
