"""What two fingerprints differ in, in words."""

from __future__ import annotations

import json

import pytest

from runner.run import fingerprint
from runner.run.fingerprint import Fingerprint, StepBasis

THEN = Fingerprint(
    steps={"s": StepBasis(state="would run", text="t", objects={"table a.b": "changed"})},
    depths={"": {"a.b": 3}},
    relations={"": {"a.b": {"columns": "table:1", "owner": "table:2"}}, "source": {"a.b": {}}},
    sets={"": {"a": {"run": "swapped"}}},
)


def step(**other: object) -> Fingerprint:
    one = {"state": "would run", "text": "t", "objects": {"table a.b": "changed"}} | other
    return fingerprint.from_json(fingerprint.to_json(THEN) | {"steps": {"s": one}})


def now(name: str, value: object) -> Fingerprint:
    return fingerprint.from_json(fingerprint.to_json(THEN) | {name: value})


SAME = THEN.relations["source"]
CHANGED = [
    (now("relations", {"": {"a.b": {"columns": "table:9", "owner": "table:2"}}, "source": SAME}),
     "table a.b: columns changed since the diff"),
    (now("relations", {"": {"a.b": {"columns": "table:1"}}, "source": SAME}),
     "table a.b: owner changed since the diff"),
    (now("relations", {"": {"a.b": {}}, "source": SAME}), "table a.b: is gone since the diff"),
    (now("relations", {**THEN.relations, "source": {"a.b": {"kind": "view:1"}}}),
     "view a.b (source): is there since the diff"),
    (now("sets", {"": {"a": {}}}), "tables of schema a that run run made: swapped at the diff, gone now"),
    (now("steps", {}), "step s: is no longer part of it"),
    (step(state="skipped"), "step s: would run at the diff, skipped now"),
    (step(text="u"), "step s: its text has other values than at the diff"),
    (step(objects={"table a.b": "lost"}), "step s: table a.b: changed at the diff, lost now"),
    (step(state="failed", text="u", objects={}), "step s: would run at the diff, failed now"),
]  # fmt: skip


@pytest.mark.parametrize("other, told", CHANGED, ids=[told for _, told in CHANGED])
def test_each_difference_is_one_line(other: Fingerprint, told: str) -> None:
    assert list(fingerprint.differences(THEN, other)) == [told]


def test_it_comes_back_from_json_as_it_was() -> None:
    again = fingerprint.from_json(json.loads(json.dumps(fingerprint.to_json(THEN))))
    assert again == THEN and not list(fingerprint.differences(THEN, again))
