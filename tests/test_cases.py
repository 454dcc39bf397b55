"""Run every folder of tests/cases/<kind>/<promise>: a plan that a user could have written, and what it says.

before.sql   what the database holds            diff.txt    what `planrun diff` prints
plan.yml     the plan (may stand beside sql/)   apply.txt   what `planrun apply --yes` prints at its end
after.sql    queries that must give no row      again.txt   what a second diff prints
code.txt     the exit codes of diff and apply when they are not 0

A case with source.sql or both.sql has two databases, the connections `source` and `target`: both.sql is run in both,
then source.sql in the source and before.sql in the target. After it the tables that were replaced must have the
source's rows, or, when the plan puts them back, the target must be what it was; a plan that fails must have changed
nothing. catalog.txt says that the catalog of the target must be what it was, but for the backup set and the entries
named there, as tests/catalogs.py names them, one in a line.
What after.sql changes is rolled back.

PLANRUN_UPDATE_CASES=1 writes the expected texts anew: read them in the diff before you commit them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.cli import main
from runner.words import shown_name
from tests.catalogs import contents, differing_tables
from tests.refreshes import Before, Pair, not_as_in_the_source, texts

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(path.parent for path in FOLDER.rglob("plan.yml") if (path.parent / "diff.txt").exists())
UPDATE = bool(os.environ.get("PLANRUN_UPDATE_CASES"))
if UPDATE:
    CASES = sorted(path.parent for path in FOLDER.rglob("plan.yml") if path.parts[-3] != "validate")


@pytest.mark.parametrize("case", CASES, ids=lambda case: "/".join(case.parts[-2:]))
def test_case(
    case: Path,
    new_db: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "case"
    shutil.copytree(case, home)
    pair = _pair(case, home, new_db, monkeypatch)
    target = os.environ["DATABASE_URL"]
    before = Before(pair) if pair else None
    codes = [int(word) for word in _read(case / "code.txt", "0 0").split()]

    assert main(["validate", "plan.yml"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["diff", "plan.yml"]) == codes[0], capsys.readouterr()
    _same(case / "diff.txt", capsys.readouterr().out, home)
    main(["diff", "plan.yml", "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    assert main(["apply", "plan.yml", "--yes"]) == codes[1], capsys.readouterr()
    _same(case / "apply.txt", capsys.readouterr().out, home)
    main(["explain", "plan.yml", "-o", "json"])
    _came_true(told["steps"], json.loads(capsys.readouterr().out).get("steps", []), _partitions(target))
    with psycopg.connect(target) as conn:
        for query in filter(str.strip, _read(case / "after.sql", "").split(";")):
            assert conn.execute(query.encode()).fetchall() == [], query
        conn.rollback()
    if before and codes[1]:
        assert before.changes() == ""
    elif before and "swap_back" in (case / "plan.yml").read_text().partition("\nrollback:")[0]:
        assert differing_tables(before.rows, contents(before.pair.target)) == []
        assert before.catalog_changes() == ""
    elif before and "swap_tables" in (case / "plan.yml").read_text():
        assert not_as_in_the_source(before.pair) == []
        if (case / "catalog.txt").exists():
            assert before.catalog_changes(*(case / "catalog.txt").read_text().splitlines()) == ""
    if pair is None or (case / "again.txt").exists():
        main(["diff", "plan.yml"])
        _same(case / "again.txt", capsys.readouterr().out, home)


def _partitions(target: str) -> set[str]:
    query = "select relnamespace::regnamespace::text, relname from pg_class where relispartition"
    with psycopg.connect(target) as conn:
        return {shown_name(*row) for row in conn.execute(query).fetchall()}


def _came_true(told: list[dict[str, Any]], done: list[dict[str, Any]], partitions: set[str]) -> None:
    """What the diff counted is what each step that succeeded gave."""
    ended = {step["path"]: step for step in done if step["state"] == "ok"}
    for step in told:
        if step["path"] in ended and step["uses"] in _GIVEN and "results" not in step["outputs"]:
            given, fates = _GIVEN[step["uses"]]
            names = [str(one["name"]) for one in step["objects"] if one["kind"] in _WHOLE and one["fate"] in fates]
            outputs = ended[step["path"]]["outputs"]
            assert set(names) == set(map(_name, outputs[given])) - partitions, step["path"]


def _name(given: dict[str, Any]) -> str:
    return str(given.get("id") or shown_name(given["schema"], given["name"]))


_WHOLE = ("table", "backup set", "undone set", "shadow set")
_GIVEN = {
    "swap_tables": ("tables", ("replaced", "added", "keeps its rows")),
    "swap_back": ("tables", ("replaced", "added")),
    "pg_dump": ("tables", ("saved",)),
    "pg_restore": ("tables", ("replaced", "added")),
    "drop_backup_set": ("sets", ("dropped",)),
    "drop_shadow": ("removed", ("dropped",)),
}
"""For each kind: the output that lists what it worked on, and the fates that a diff tells of these."""


def _pair(case: Path, home: Path, new_db: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Pair | None:
    """Make and fill the databases of a case, and lead its connections there; None when it has only one."""
    two = (case / "both.sql").exists() or (case / "source.sql").exists()
    target = new_db()
    pair = Pair(home, new_db() if two else target, target, (case / "plan.yml").read_text())
    for name, value in {**pair.env, "PLANRUN_STATE_DIR": str(home.parent / "state")}.items():
        if two or "URL" not in name or name == "DATABASE_URL":
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(home)
    pair.fill(*texts(case, "both.sql", "before.sql"), only="target")
    if two:
        pair.fill(*texts(case, "both.sql", "source.sql"), only="source")
    return pair if two else None


def _read(path: Path, otherwise: str) -> str:
    return path.read_text() if path.exists() else otherwise


def _same(expected: Path, shown: str, home: Path) -> None:
    shown = normal(shown, home)
    if UPDATE:
        expected.write_text(shown)
    if expected.name == "diff.txt" or expected.exists():
        assert shown == expected.read_text()


def normal(text: str, home: Path) -> str:
    """Return the text without what differs from run to run: folders, run ids, times, sizes of dumps."""
    text = text.replace(str(home.resolve()), "<case>").replace(str(home), "<case>")
    text = re.sub(r"^(\w+): t_\w+ at \S+ as \w+, from ", r"\1: <database>, from ", text, flags=re.M)
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{4}", "<run>", text)
    text = re.sub(r"adopted-\d{8}T\d{6}Z", "adopted-<run>", text)
    text = re.sub(r"('pg_class', |\"oid\": )\d+", r"\1<oid>", text)
    text = re.sub(r"(planrun[\w\". ]*?(?:note|keys)_)\d+", r"\1<oid>", text)
    text = re.sub(r"backup_\d{4}-\d\d-\d\dT[\d-]+Z", "backup_<time>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC", "<date>", text)
    text = re.sub(r"\b\d+(\.\d+)? (ms|s|min)\b", "<time>", text)
    text = re.sub(r"[\d,]+(\.\d+)? (bytes|kB|MB|GB)\b", "<size>", text)
    return re.sub(r"(\$ )\S*/(pg_dump|pg_restore|psql) ", r"\1\2 ", text)
