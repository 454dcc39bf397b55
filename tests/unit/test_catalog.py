"""The sessions of a plan: where its steps put them, which one a name means, which ones its rules remove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.api import load_plan
from runner.backup import catalog
from runner.errors import UsageError
from runner.kinds import retention
from runner.kinds.base import build
from runner.model import Plan
from runner.retention import decide
from runner.session_facts import SessionFacts
from tests.backups import CatalogReader

NOW = datetime(2025, 7, 20, tzinfo=UTC)


def facts(day: int, state: str = "complete") -> SessionFacts:
    taken = datetime(2025, 7, day, 12, tzinfo=UTC)
    return SessionFacts(name=f"backup_2025-07-{day:02}T12-00-00-000Z", state=state, taken=taken, rows=1, tables=1)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Plan]:
    def make_plan(text: str) -> Plan:
        (tmp_path / "p.yml").write_text(text)
        return load_plan(tmp_path / "p.yml")

    return make_plan


SAVE = "name: p\nsteps:\n  - {id: save, uses: pg_dump, with: {to: ./b, tables: [t]}}\n"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def say(*found: SessionFacts) -> None:
        monkeypatch.setattr("runner.backup.sessions.facts", lambda folder: found)

    return say


def test_folders_come_from_every_step_that_names_one(make: Callable[[str], Plan], tmp_path: Path) -> None:
    assert catalog.folders(make("backup: {path: ../x/backups, retention_days: 3}\n")) == (
        (tmp_path.parent / "x" / "backups"),
    )
    plan = make(
        SAVE + "  - {id: old, uses: retention, with: {path: ./old, keep_last: 2}}\n"
        "  - {id: back, uses: pg_restore, with: {from: ./from}}\n"
        "  - {id: one, uses: pg_restore, with: {from: ./from/backup_2025-07-20T12-26-55-178Z}}\n"
        "  - {id: later, uses: pg_restore, with: {from: '${steps.save.session}'}}\n"
    )
    assert [path.name for path in catalog.folders(plan)] == ["b", "old", "from"]


def test_a_name_means_one_session_or_says_which_there_are(
    make: Callable[[str], Plan], there: Callable[..., None], tmp_path: Path
) -> None:
    plan, folder = make(SAVE), tmp_path / "b"
    there(facts(3), facts(5), facts(12), facts(19, "partial"), SessionFacts(name="notes", state="foreign"))
    assert catalog.find(plan, "latest") == folder / facts(12).name, "a partial one is no backup"
    for name in (facts(5).name, "backup_2025-07-05", "2025-07-05"):
        assert catalog.find(plan, name) == folder / facts(5).name
    assert catalog.find(plan, "/elsewhere/x") == Path("/elsewhere/x")
    for name in ("2025-07-0", "2025-07-19", "nope", ""):
        with pytest.raises(UsageError) as found:
            catalog.find(plan, name)
        assert facts(5).name in str(found.value) and found.value.exit_code == 64
    assert {one.name for _, one in catalog.list_sessions(plan)} == {facts(day).name for day in (3, 5, 12, 19)}


def test_nothing_there_is_said(make: Callable[[str], Plan], there: Callable[..., None]) -> None:
    there()
    with pytest.raises(UsageError, match="no complete session"):
        catalog.find(make(SAVE), "latest")
    with pytest.raises(UsageError, match="no step that makes backups"):
        catalog.list_sessions(make("name: p\nsteps: [{id: c, uses: command, with: {argv: ['true']}}]\n"))


def test_of_two_rules_the_one_that_keeps_wins(make: Callable[[str], Plan], there: Callable[..., None]) -> None:
    there(*(facts(day) for day in (1, 2, 3, 18)))
    rule = "  - {{id: {}, uses: retention, with: {{path: ./b, {}}}}}\n"
    plan = make(SAVE + rule.format("short", "keep_last: 1") + rule.format("long", "keep_last: 3"))
    (values,) = catalog.rules(plan)
    rules = build(retention.Params, values, Path("/")).rules
    found = decide([facts(day) for day in (1, 2, 3, 18)], [rules], NOW, "p")
    assert [decision.action for decision in found] == ["remove", "keep", "keep", "keep"]
    with pytest.raises(UsageError, match="no retention step"):
        catalog.rules(make(SAVE))
    (values,) = catalog.rules(make("backup: {path: ./b}\n"))
    assert (values["keep_last"], values["keep_within"], values["min_verified"]) == (None, None, 0)


def test_days_and_spans_of_several_rules_are_one(make: Callable[[str], Plan]) -> None:
    rule = "  - {{id: {}, uses: retention, with: {{path: {}, {}}}}}\n"
    plan = make(
        SAVE
        + rule.format("days", "./b", "retention_days: 2")
        + rule.format("more", "./b", "keep_within: 3d")
        + rule.format("span", "./b", "keep_within: 1d, min_verified: 2")
        + rule.format("other", "./c", "keep_last: 5")
    )
    first, second = catalog.rules(plan)
    assert (first["keep_within"], first["keep_last"], first["min_verified"]) == (3 * 86400, None, 0)
    (also,) = first["also"]
    assert {name: value for name, value in also.items() if value is not None} == {
        "keep_within": 86400,
        "min_verified": 2,
        "keep_verified_last": 1,
    }
    assert (second["keep_within"], second["keep_last"], second["min_verified"]) == (None, 5, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_that_wants_a_proof_removes_nothing_that_another_keeps(
    make: Callable[[str], Plan], there: Callable[..., None], turned: bool, tmp_path: Path
) -> None:
    rules = ("keep_last: 5", "keep_last: 1, min_verified: 3")
    found = tuple(replace(facts(day), verified=3 if day == 1 else 0) for day in range(1, 8))
    there(*found)
    rule = "  - {{id: {}, uses: retention, with: {{path: ./b, {}}}}}\n"
    (values,) = catalog.rules(make(SAVE + "".join(map(rule.format, ("a", "b"), rules[::-1] if turned else rules))))
    decided = retention.look(build(retention.Params, values, tmp_path), CatalogReader("", tmp_path))
    assert [one.action for one in decided.decisions] == ["keep", "remove", *["keep"] * 5]
