"""Two versions of a plan, as `planrun compare` and `planrun diff --base` tell what differs."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from markdown_it import MarkdownIt

from runner import load_plan
from runner.api import compare
from runner.cli import main
from runner.comparison import What
from tests.commandline import Done, connect_to
from tests.made import EVIL_WORDS, RAW
from tests.repositories import Repository

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "output.schema.json").read_text())
OLD = """\
name: nightly
connections: {target: {service: prod}}
protected: [users]
params:
  days: {type: integer, default: 30, description: How long.}
steps:
  - {id: save, uses: pg_dump, with: {tables: [orders], to: ../backups}}
  - id: purge
    when: save.ok
    uses: sql
    with: {text: DROP TABLE orders}
  - {id: look, uses: query, with: {file: look.sql, values: {days: "${params.days}"}}}
"""
NEW = """\
name: nightly
connections: {target: {service: prod}}
params:
  days: {type: integer, default: 3, description: How long.}
steps:
  - id: purge
    uses: sql
    with: {text: "drop table orders; drop table users"}
  - {id: look, uses: query, with: {file: look.sql, values: {days: "${params.days}"}}}
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repo")
    made.write("plans/nightly.yml", OLD)
    made.write("sql/look.sql", "-- old\nselect {{ days }} as days\n")
    made.commit()
    monkeypatch.chdir(made.folder)
    return made


def planrun(*words: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return Done(code, out.getvalue(), err.getvalue())


def changed(*words: str) -> list[dict[str, Any]]:
    """Return the changes of a comparison as JSON, which the schema of outputs takes."""
    done = planrun("compare", *words, "-o", "json")
    data = json.loads(done.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert data["differs"] == bool(data["changes"])
    found: list[dict[str, Any]] = data["changes"]
    return found


def whats(*words: str) -> list[str]:
    return [one["what"] for one in changed(*words)]


def test_the_destructive_action_that_a_change_adds_comes_first(repo: Repository) -> None:
    repo.write("plans/nightly.yml", NEW)
    done = planrun("compare", "--base", "HEAD", "plans/nightly.yml")
    assert done.code == 0, done.output
    lines = done.out.splitlines()
    assert lines[0].startswith("Plan nightly: what plans/nightly.yml changes against HEAD (")
    assert lines[1].startswith("  # offline: no database was asked")
    assert lines[3:11] == [
        "! destructive action added, not protected: drop table users (step purge)",
        "    + NOT PROTECTED: purge: nothing in the plan protects it (drop table orders; drop table users)",
        "! protection removed: drop table orders; drop table users (step purge)",
        "    - protected: purge <- save.ok",
        "    + NOT PROTECTED: purge: nothing in the plan protects it (drop table orders; drop table users)",
        "! table no longer protected: users",
        "    - users",
        "! guard changed: purge: when",
    ]
    assert "! lock added: ACCESS EXCLUSIVE on users, which blocks reads and writes (step purge)" in lines
    assert "- step removed: save (pg_dump)" in lines and "    + select 3 as days" in lines
    assert "1 destructive action added, not protected; 1 protection removed;" in lines[-1]


def test_the_exit_code_tells_that_effects_differ(repo: Repository) -> None:
    same = ("compare", "--base", "HEAD", "plans/nightly.yml", "--detailed-exitcode")
    assert planrun(*same).code == 0
    repo.write("plans/nightly.yml", f"# a comment\n{OLD.replace('DROP TABLE orders', 'drop   table orders; -- gone')}")
    repo.write("sql/look.sql", "-- new\nselect  {{ days }}\n   as days;\n")
    done = planrun(*same)
    assert done.code == 0 and "Nothing that it does is different." in done.out
    repo.write("sql/look.sql", "select {{ days }} as day\n")
    assert planrun(*same).code == 2
    assert planrun(*same[:-1]).code == 0


def test_two_files_are_compared_without_a_repository(tmp_path: Path) -> None:
    for name, text in (("a.yml", OLD), ("b.yml", NEW)):
        (tmp_path / name).write_text(text.replace("{file: look.sql, values", '{text: "select {{ days }}", values'))
    assert "destructive action added, not protected" in whats(str(tmp_path / "a.yml"), str(tmp_path / "b.yml"))
    done = planrun("compare", "--base", "HEAD", str(tmp_path / "b.yml"))
    assert done.code == 64 and "PR1040" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.yml",), "compare takes two plans, not 1"),
        (("a.yml", "b.yml", "c.yml"), "compare takes two plans, not 3"),
        (("--base", "HEAD", "a.yml", "b.yml"), "--base compares one plan with itself"),
        (("--live", "--snapshot", "x", "a.yml", "b.yml"), "--live and --snapshot"),
    ],
)
def test_what_does_not_go_together(words: tuple[str, ...], said: str) -> None:
    done = planrun("compare", *words)
    assert done.code == 64 and said in done.err and "PR1048" in done.err


@pytest.mark.parametrize(
    "words", [("--resume",), ("--rollback",), ("--out", "x.plan"), ("--until", "a"), ("-o", "jsonl")]
)
def test_a_diff_with_a_base_is_neither_saved_nor_resumed(repo: Repository, words: tuple[str, ...]) -> None:
    done = planrun("diff", "--base", "HEAD", "plans/nightly.yml", *words)
    assert done.code == 64 and "PR1048" in done.output


def test_a_plan_that_the_revision_lacks_is_new(repo: Repository) -> None:
    repo.write("plans/other.yml", OLD)
    done = planrun("compare", "--base", "HEAD", "plans/other.yml")
    assert done.code == 0 and "has no plans/other.yml: this plan is new" in done.out
    assert "! destructive action added: drop table orders (step purge)\n    + protected: purge <- save.ok" in done.out


def test_a_revision_whose_plan_is_invalid_says_so(repo: Repository) -> None:
    repo.write("plans/nightly.yml", "name: [")
    repo.commit()
    repo.write("plans/nightly.yml", OLD)
    done = planrun("compare", "--base", "HEAD", "plans/nightly.yml")
    assert (
        done.code == 0 and "cannot be read, so all of the new one counts as added: HEAD:plans/nightly.yml:" in done.out
    )
    assert "planrun-base-" not in done.output


def test_a_new_version_that_is_invalid_is_an_error(repo: Repository) -> None:
    repo.write("plans/nightly.yml", "name: [")
    assert planrun("compare", "--base", "HEAD", "plans/nightly.yml").code == 5


def test_a_way_around_the_protection_is_shown_and_fails(repo: Repository) -> None:
    repo.write("plans/nightly.yml", OLD.replace("when: save.ok", "when: save.failed"))
    done = planrun("compare", "--base", "HEAD", "plans/nightly.yml")
    assert done.code == 5
    first = done.out.splitlines()[3]
    assert first.startswith("! invalid: plans/nightly.yml:") and "purge runs although" in first
    assert "! protection removed: drop table orders (step purge)" in done.out


def test_what_a_plan_draws_in_is_that_of_the_revision(repo: Repository) -> None:
    repo.write("plans/base.yml", "params: {t: {type: string, default: old, description: x}}\n")
    tidy = """\
inputs: {t: {type: string, description: x}}
steps:
  - {id: go, uses: sql, with: {file: go.sql, values: {t: "${inputs.t}"}}}
"""
    repo.write("plans/steps/tidy.yml", tidy)
    repo.write("sql/go.sql", "truncate {{ t | ident }}")
    text = 'extends: base.yml\nsteps:\n  - {id: tidy, uses: ./steps/tidy.yml, with: {t: "${params.t}"}}\n'
    repo.write("plans/nightly.yml", text)
    repo.commit()
    repo.write("plans/base.yml", "params: {t: {type: string, default: new, description: x}}\n")
    by_extends = changed("--base", "HEAD", "plans/nightly.yml")
    assert [(one["what"], one["text"]) for one in by_extends[:1]] == [
        (What.LOSS_UNPROTECTED, "truncate new (step tidy.go)")
    ]
    repo.git("checkout", "--quiet", ".")
    repo.write("sql/go.sql", "drop table {{ t | ident }}")
    assert changed("--base", "HEAD", "plans/nightly.yml")[0]["text"] == "drop table old (step tidy.go)"
    repo.git("checkout", "--quiet", ".")
    (repo.folder / "plans/steps/tidy.yml").write_text("steps:\n  - {id: go, uses: confirm, with: {message: x}}\n")
    repo.write("plans/nightly.yml", "steps:\n  - {id: tidy, uses: ./steps/tidy.yml}\n")
    assert "destructive action removed" in whats("--base", "HEAD", "plans/nightly.yml")


def test_paths_of_a_revision_start_where_the_plan_is(repo: Repository) -> None:
    text = """\
steps:
  - {id: go, uses: command, with: {argv: ['true'], cwd: ../x}}
  - {id: w, uses: write, with: {text: x, to: ../../y}}
"""
    repo.write("plans/nightly.yml", text)
    repo.commit()
    assert whats("--base", "HEAD", "plans/nightly.yml") == []
    repo.write("plans/nightly.yml", text.replace("../x", "../z"))
    found = changed("--base", "HEAD", "plans/nightly.yml")
    assert [one["after"] for one in found if one["what"] == What.STATEMENT_ADDED] == [f"$ true    (in {repo.folder}/z)"]


def test_settings_of_backups_and_connections_are_grave(repo: Repository) -> None:
    text = "connections: {target: {service: prod}}\nbackup: {path: b, prefix: _x_, retention_days: 30}\n"
    repo.write("plans/nightly.yml", text)
    repo.commit()
    repo.write("plans/nightly.yml", text.replace("30", "3").replace("prod", "other"))
    found = changed("--base", "HEAD", "plans/nightly.yml")
    graves = {(one["what"], one["text"], one["before"], one["after"]) for one in found if one["grave"]}
    assert (What.CONNECTION_CHANGED, "connection target", "service=prod", "service=other") in graves
    assert (What.BACKUP_CHANGED, "backup: with.retention_days", "30", "3") in graves


def test_a_secret_is_on_neither_side(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-canary-0123")
    text = 'steps:\n  - {id: a, uses: sql, with: {text: "select {{ t }}", values: {t: "${env.API_TOKEN}"}}}\n'
    repo.write("plans/nightly.yml", text)
    repo.commit()
    repo.write("plans/nightly.yml", text.replace("select {{ t }}", "select {{ t }} || 'x'"))
    for form in ("text", "json", "markdown"):
        done = planrun("compare", "--base", "HEAD", "plans/nightly.yml", "-o", form)
        assert done.code == 0 and "canary" not in done.output and "'x'" in done.output


def test_a_page_is_only_what_planrun_means(repo: Repository) -> None:
    evil = EVIL_WORDS
    step = {"id": "a", "uses": "confirm", "with": {"message": evil}, "description": evil}
    other = {
        "id": "b",
        "uses": "sql",
        "acknowledge": evil,
        "with": {"text": 'drop table "::error::x\n| a <img src=x> @all"'},
    }
    repo.write(
        "plans/nightly.yml",
        json.dumps(
            {
                "name": evil[:90],
                "params": {"p": {"type": "string", "default": evil, "description": "x"}},
                "steps": [step, other],
            }
        ),
    )
    for form in ("text", "json", "markdown"):
        done = planrun("compare", "--base", "HEAD", "plans/nightly.yml", "-o", form)
        assert done.code == 0, done.output
        assert not RAW.search(done.output)
    tokens = MarkdownIt("commonmark").enable("table").parse(done.out)
    flat = [one for token in tokens for one in (token, *(token.children or ()))]
    assert not {one.type for one in flat} & {"link_open", "image"}
    tags = "".join(one.content for one in flat if one.type in ("html_block", "html_inline"))
    assert "<img" not in tags


def test_live_databases_tell_what_becomes_of_objects(
    repo: Repository, new_db: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = new_db()
    with connect_to(db) as conn:
        conn.execute("create table orders as select generate_series(1, 70) as id; create view totals as select 1 as n")
        conn.execute("analyze")
    monkeypatch.setenv("PLANRUN_TARGET_URL", db)
    text = "connections: {target: {}}\nsteps:\n  - {id: a, uses: sql, with: {text: drop view totals}}\n"
    repo.write("plans/nightly.yml", text)
    repo.commit()
    repo.write("plans/nightly.yml", text.replace("view totals", "table orders"))
    done = planrun("diff", "--base", "HEAD", "plans/nightly.yml")
    assert done.code == 0 and done.out.startswith("target: t_"), done.output
    assert (
        "! object worse off: table public.orders, 70 rows, 8,192 bytes (step a)\n    - not touched\n    + dropped"
        in done.out
    )
    assert "~ object changed: view public.totals (step a)\n    - dropped\n    + not touched" in done.out
    assert planrun("diff", "--base", "HEAD", "plans/nightly.yml", "--detailed-exitcode").code == 2
    monkeypatch.setenv("PLANRUN_TARGET_URL", "host=127.0.0.1 port=1")
    assert planrun("diff", "--base", "HEAD", "plans/nightly.yml").code == 4


def test_a_new_connection_leaves_the_fate_of_objects_unknown(
    repo: Repository, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANRUN_TARGET_URL", db)
    text = "steps:\n  - {id: a, uses: query, with: {text: select 1 as n}}\n"
    repo.write("plans/nightly.yml", text)
    repo.commit()
    repo.write("plans/nightly.yml", f"connections: {{target: {{}}}}\n{text}")
    done = planrun("compare", "--live", "--base", "HEAD", "plans/nightly.yml")
    assert done.code == 0 and "what becomes of objects by HEAD" in done.out and "PR0402" in done.out


def test_python_gives_the_same(repo: Repository) -> None:
    repo.write("plans/nightly.yml", NEW)
    found = compare(load_plan("plans/nightly.yml", offline=True), base="HEAD", env={})
    assert found.changes[0].what is What.LOSS_UNPROTECTED and found.differs and not found.exit_code
    with pytest.raises(Exception, match="PR1041"):
        compare(load_plan("plans/nightly.yml", offline=True), base="nosuch", env={})
