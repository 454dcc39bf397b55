"""runner.fates: which fate is worse than another, and what the items of a for_each come to together."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.fates import Fate, ObjectFate, Preview, join, worse

HARMLESS = [Fate.ADDED, Fate.KEPT, Fate.REBUILT, Fate.REFILLED, Fate.REPOINTED, Fate.CARRIED, Fate.SAVED, Fate.LEFT]
HARMFUL = [Fate.CHANGED, Fate.REPLACED, Fate.DROPPED, Fate.LOST]


def view(fate: Fate, name: str = "public.v") -> ObjectFate:
    return ObjectFate(kind="view", name=name, fate=fate)


@pytest.mark.parametrize("before", HARMLESS)
@pytest.mark.parametrize("now", HARMFUL)
def test_what_loses_something_now_is_worse_and_the_way_round_is_not(before: Fate, now: Fate) -> None:
    assert list(worse([view(before)], [view(now)])) == [f"view public.v: {before} before, {now} now"]
    assert list(worse([view(now)], [view(before)])) == []


@pytest.mark.parametrize(("before", "now"), list(itertools.pairwise(HARMFUL)))
def test_each_harmful_fate_takes_more_than_the_one_before_it(before: Fate, now: Fate) -> None:
    assert list(worse([view(before)], [view(now)])) == [f"view public.v: {before} before, {now} now"]
    assert list(worse([view(now)], [view(before)])) == []


def test_an_object_that_was_not_mentioned_may_lose_nothing() -> None:
    assert list(worse([], [view(Fate.REBUILT), view(Fate.LOST, "public.w")])) == [
        "view public.w: not mentioned before, lost now"
    ]


def test_objects_of_one_name_and_different_kinds_are_told_apart() -> None:
    table = ObjectFate(kind="table", name="public.v", fate=Fate.LOST)
    assert list(worse([table], [view(Fate.LOST)])) == ["view public.v: not mentioned before, lost now"]


@given(st.lists(st.sampled_from([view(fate) for fate in Fate]), max_size=4))
def test_nothing_is_worse_than_itself(objects: list[ObjectFate]) -> None:
    assert list(worse(objects[-1:], objects[-1:])) == []


def test_items_of_which_one_cannot_be_told_cannot_be_told_together() -> None:
    one = Preview(objects=(view(Fate.LOST),), lines=("a", "b"), level=3)
    other = Preview(objects=(view(Fate.REBUILT),), lines=("b",), level=1)
    both = join([one, other])
    assert both == Preview(objects=(*one.objects, *other.objects), lines=("a", "b"), level=1)
    assert join([one, None]) is None and join([]) is None
