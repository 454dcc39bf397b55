"""The kinds sql, query and check: which action they become, and what they give."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from runner.cli import main
from runner.kinds import check, query, sql
from runner.kinds.base import BadParam, CatalogReader, build
from runner.model import UNKNOWN, Check, Query, Sql
from runner.safesql.templates import Templates

NO_WORLD = cast(CatalogReader, None)


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    (tmp_path / "a.sql").write_text("select {{ a }}")
    return Templates([tmp_path])


@pytest.mark.parametrize("kind", [sql, query, check])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text": "select '{{1,2}}'"}, "select '{{1,2}}'"),
        ({"text": "select {{ a }}", "values": {"a": "it's"}}, "select 'it''s'"),
        ({"file": "a.sql", "values": {"a": 1}}, "select 1"),
    ],
)
def test_text_or_file(kind: Any, data: dict[str, Any], text: str, templates: Templates, tmp_path: Path) -> None:
    params = build(kind.Params, data, tmp_path)
    facts = kind.look(params, NO_WORLD)
    [action] = kind.render(params, facts, templates.sql)
    assert action.text == text


def test_actions_carry_what_was_said(templates: Templates) -> None:
    params = sql.Params(text="vacuum", connection="c", transaction=False)
    vacuum = Sql(text="vacuum", connection="c", transaction=False, theirs=True)
    assert sql.render(params, None, templates.sql) == (vacuum,)
    asked = query.Params(text="select 1", connection="c", limit=5)
    assert query.render(asked, None, templates.sql) == (Query(text="select 1", connection="c", limit=5, theirs=True),)
    checked = check.Params(text="select 1", connection="c", hint="do")
    wanted = Check(text="select 1", connection="c", hint="do", theirs=True)
    assert check.render(checked, None, templates.sql) == (wanted,)


@pytest.mark.parametrize("kind", [sql, query, check])
@pytest.mark.parametrize("data", [{}, {"text": "select 1", "file": "a.sql"}])
def test_either_text_or_file(kind: Any, data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadParam, match="either"):
        build(kind.Params, data, tmp_path)


def test_what_they_give() -> None:
    rows = [{"a": 1}, {"a": 2}]
    asked, ran = query.Params(text="x"), sql.Params(text="x")
    assert query.give(asked, None, [{"rows": rows}]) == {"rows": rows, "row": {"a": 1}, "count": 2}
    assert query.give(asked, None, [{"rows": []}]) == {"rows": [], "row": None, "count": 0}
    assert query.give(asked, None, [None]) == {"rows": UNKNOWN, "row": UNKNOWN, "count": UNKNOWN}
    assert sql.give(ran, None, [{"count": 3}]) == {"count": 3}
    assert sql.give(ran, None, [None]) == {"count": UNKNOWN}
    assert check.give(check.Params(text="x"), None, [None]) == {}


@pytest.mark.parametrize("kind", [sql, query, check])
def test_outputs_are_what_give_gives(kind: Any) -> None:
    given = kind.give(kind.Params(text="x"), None, [{"rows": [], "count": 0}])
    assert set(given) == set(kind.OUTPUTS)


@pytest.mark.parametrize("kind", ["query", "check"])
def test_values_of_rows_are_repeated_only_where_the_step_says_so(
    kind: str, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a diff and in a run: `invalid input syntax for type integer: "alice"` names a value."""
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path))
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table people (name text); insert into people values ('alice')")
    for shown in (False, True):
        values = f"{{text: 'select name::int from people', error_detail: {str(shown).lower()}}}"
        (tmp_path / "plan.yml").write_text(f"name: p\nsteps:\n  - {{id: a, uses: {kind}, with: {values}}}\n")
        for command in (["diff"], ["apply", "--yes"]):
            assert main([*command, str(tmp_path / "plan.yml")]) == 1
            said = capsys.readouterr()
            assert ("alice" in said.out) is shown, said
            assert "invalid input syntax for type integer" in said.out
