"""What stands in for an unknown value passes for anything a template may do with it."""

from __future__ import annotations

from runner.model import UNKNOWN
from runner.safesql.standin import NAME, StandIn, fill_standins, has_stand_in, stand_in


def test_unknown_values_are_found_however_deep() -> None:
    made = stand_in({"a": [1, {"b": UNKNOWN}], "c": "x"})
    assert isinstance(made["a"][1]["b"], StandIn)
    assert has_stand_in(made)
    assert not has_stand_in(stand_in({"a": [1, None, "x"]}))
    assert fill_standins(made) == {"a": [1, {"b": NAME}], "c": "x"}


def test_it_passes_for_a_list_a_number_and_a_text() -> None:
    one = StandIn()
    assert len(one) == len(list(one)) == 1
    assert (one + 1) is (1 - one) is (-one) is one[0] is one
    assert str(one) == NAME
    assert fill_standins(iter([one])) == [NAME]


def test_every_test_of_it_gives_its_truth() -> None:
    for truth in (True, False):
        one = StandIn(truth)
        tests = [bool(one), one == 1, one != 1, one < 1, one <= 1, one > 1, one >= 1, 1 in one]
        assert tests == [truth] * len(tests)
        assert len({one, one}) == 1
