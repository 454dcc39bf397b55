"""A small part of the nightly run, the same inputs each time. The whole: make fuzz."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.backup import manifest
from runner.errors import PlanrunError, VerifyError
from runner.journal.history import fold
from runner.safesql.syntax import tokens
from runner.sqltext import ident
from tests.fuzz import running, targets
from tests.fuzz.coverage import Drawn
from tests.fuzz.running import Target

RUNS = 7000
SHARES = list(targets.shares(RUNS))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize(("target", "runs"), SHARES, ids=[target.name for target, _ in SHARES])
def test_only_our_own_errors_come_out_and_soon(target: Target, runs: int) -> None:
    told = running.run(target, runs, seed=20251122)
    assert not told.faults, told.line
    assert told.inputs - told.refused > 0, "not one good input: what lies behind the first check is not reached"


def test_a_fault_is_told_once_with_the_input_that_shows_it() -> None:
    def fails(case: int) -> None:
        raise KeyError(case)

    told = running.run(Target("broken", lambda rng: rng.randrange(5), fails), 50)
    assert len(told.faults) == 1 and "KeyError" in told.line and "#0" in told.line


def test_the_same_number_gives_the_same_input() -> None:
    for target, _ in SHARES:
        first, second = (target.make(running.rng_of(target, 3, 7)) for _ in range(2))
        assert repr(first) == repr(second)
        target.make(Drawn(b"")), target.make(Drawn(b"\xff" * 200))


@settings(max_examples=150, derandomize=True)
@given(TREES)
def test_any_json_is_a_manifest_or_refused_and_no_run(data: Any) -> None:
    with pytest.raises(VerifyError):
        manifest.from_json(json.dumps(data))
    assert fold([data] if isinstance(data, dict) else []) == []


@settings(max_examples=200, derandomize=True)
@given(st.text(st.characters(), max_size=70))
def test_any_text_is_one_name_or_refused(name: str) -> None:
    try:
        text = ident(name)
    except PlanrunError:
        return
    (one,) = tokens(text)
    assert (one.kind, one.start, one.end) == ("IDENT", 0, len(text))
