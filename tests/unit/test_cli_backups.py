"""The door to the sessions of a plan: what is printed, and the exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.backup import sessions
from runner.cli import main
from runner.journal.file import FileJournal
from runner.journal.history import RunRecord, fold
from tests.backups import Backups

PLAN = """
name: nightly
backup:
  path: backups
  format: sql
  compress: gzip
  retention_days: 30
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    made = Backups(db, tmp_path / "backups")
    made.sql("create table _cdc_users (id int primary key, t text); insert into _cdc_users values (1, 'a'), (2, 'b')")
    made.sql("create table _cdc_roles (id int primary key); insert into _cdc_roles values (1)")
    return made


@pytest.fixture
def planrun(
    backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run `planrun backups VERB plan.yml ...` on the test's database."""
    (tmp_path / "plan.yml").write_text(PLAN)
    monkeypatch.setenv("DATABASE_URL", backups.dsn)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))

    def run(verb: str, *words: str) -> Said:
        code = main(["backups", verb, str(tmp_path / "plan.yml"), *words])
        return Said(code, *capsys.readouterr())

    return run


def take(backups: Backups) -> Path:
    return backups.make(tables=["_cdc_users", "_cdc_roles"], compress="gzip").path


def old(session: Path, started: str = "2020-01-01T00:00:00.000Z") -> Path:
    """Give a session another time, as if it had been made then."""
    name = f"backup_{started[:-1].replace(':', '-').replace('.', '-')}Z"
    path = session.rename(session.with_name(name))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= {"session": name, "started": started, "finished": started}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


# ------------------------------------------------------------------ list


def test_a_list_in_columns(backups: Backups, planrun: Callable[..., Said]) -> None:
    assert "\nno session yet; make one: planrun apply " in planrun("list").out
    session = take(backups)
    (session.parent / "notes").mkdir()
    place, head, row = planrun("list").out.splitlines()
    assert place.startswith("target: ")
    assert head.split() == ["SESSION", "STATE", "VERIFIED", "TABLES", "ROWS", "SIZE", "FOLDER"]
    assert row.split()[:5] == [session.name, "complete", "no", "2", "3"]
    assert head.index("STATE") == row.index("complete")


def test_a_list_as_json(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    data = json.loads(planrun("list", "-o", "json").out)
    assert data["format_version"] == 1
    assert [(s["name"], s["rows"], s["verified"]) for s in data["sessions"]] == [(session.name, 3, 0)]


def test_the_folder_comes_from_steps_params_and_templates(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path
) -> None:
    session = take(backups)
    (tmp_path / "plan.yml").write_text(
        "name: p\nparams: {where: {type: string, default: backups}}\n"
        "steps:\n  - {id: g, steps: [{id: save, uses: pg_dump, with: {to: '${params.where}', tables: [a]}}]}\n"
    )
    assert session.name in planrun("list").out
    assert session.name not in planrun("list", "--set", "where=other").out
    (tmp_path / "plan.yml").write_text("name: p\nsteps: [{id: c, uses: command, with: {argv: ['true']}}]\n")
    said = planrun("list")
    assert said.code == 64 and "has no step that makes backups" in said.err


# ------------------------------------------------------------------ verify


def test_a_proof_says_what_it_did_and_is_noted(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    said = planrun("verify", "latest", "--level", "2")
    assert said.code == 0 and said.out.partition("\n")[2].startswith(
        f"{session.name}: verified at level 2 (full read of every archive)"
    )
    found = planrun("verify", "--server", backups.dsn).out.splitlines()
    assert {"    public._cdc_roles: 1 row", "    public._cdc_users: 2 rows"} <= set(found)
    assert sessions.verified_level(session) == 3
    assert "level 3" in planrun("list").out


def test_a_failed_proof_has_exit_code_6(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    (session / "_cdc_users.sql.gz").unlink()
    said = planrun("verify", session.name, "--level", "1")
    assert said.code == 6 and "_cdc_users.sql.gz: is missing" in said.err and "hint: do not rely" in said.err
    data = json.loads(planrun("verify", str(session), "-o", "json", "--level", "1").out)
    assert data["error"]["exit_code"] == 6


@pytest.mark.parametrize("name", ["latest", "backup_2020", "2020-01", "backup_2020-01-01T00-00-00-000Z"])
def test_a_session_may_be_named_by_its_beginning(name: str, backups: Backups, planrun: Callable[..., Said]) -> None:
    session = old(take(backups))
    data = json.loads(_output_of_failure(planrun("verify", name, "--level", "1", "-o", "json")))
    assert data["error"]["where"] == str(session)


def _output_of_failure(said: Said) -> str:
    assert said.code == 6, said
    return said.out


def test_names_that_mean_nothing_or_too_much(backups: Backups, planrun: Callable[..., Said]) -> None:
    said = planrun("verify")
    assert said.code == 64 and "there is no complete session yet" in said.err
    names = [take(backups).name, take(backups).name]
    for name, problem in (("backup_2", "could be any of 2"), ("nope", "there is no session nope")):
        said = planrun("verify", name)
        assert said.code == 64 and problem in said.err and all(each in said.err for each in names)


def journal(tmp_path: Path) -> list[RunRecord]:
    """Return the runs of all local journals."""
    books = (FileJournal(path) for path in sorted((tmp_path / "state").glob("*.jsonl")))
    return [run for book in books for run in fold(book.records())]


def test_a_proof_is_a_run_and_needs_no_database(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = take(backups)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere?connect_timeout=1")
    said = planrun("verify", "latest", "--level", "2")
    assert said.code == 0, said.err
    assert [(run.plan, run.state) for run in journal(tmp_path)] == [("nightly_verify", "ok")]
    (session / "_cdc_users.sql.gz").unlink()
    assert planrun("verify", "latest", "--level", "2").code == 6
    assert [(run.state, run.exit_code) for run in journal(tmp_path)] == [("ok", 0), ("failed", 6)]


def test_the_runs_of_a_verb_are_in_history_and_are_not_those_of_the_plan(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for year in (2018, 2019):
        old(take(backups), f"{year}-01-01T00:00:00.000Z")
    session = take(backups)
    assert planrun("restore", "latest", "--as-schema", "side", "--yes").code == 0
    (session / "_cdc_users.sql.gz").unlink()
    assert planrun("verify").code == 6 and planrun("prune", "--yes").code == 0
    assert main(["history", str(tmp_path / "plan.yml")]) == 0
    told = re.findall(r"of (nightly\w*) \(apply\): (\w+)", capsys.readouterr().out)
    assert told == [("nightly_restore", "ok"), ("nightly_verify", "failed"), ("nightly_prune", "ok")]
    assert main(["status", str(tmp_path / "plan.yml")]) == 0
    assert "never run" in capsys.readouterr().out
    assert main(["apply", str(tmp_path / "plan.yml"), "--resume", "--yes"]) == 64
    assert "there is no unfinished run to resume" in capsys.readouterr().err


def test_the_json_of_a_proof(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    data = json.loads(planrun("verify", "--server", backups.dsn, "-o", "json").out)
    assert (data["session"], data["level"], data["files"], data["rows"]) == (session.name, 3, 3, 3)
    assert {"schema": "public", "name": "_cdc_roles", "rows": 1, "problem": ""} in data["tables"]
    assert data["scratch"] and data["left"] == [] and data["at"].endswith("+00:00") and data["bytes"] > 0


# ------------------------------------------------------------------ restore


def test_restore_refuses_then_replaces_then_puts_beside(backups: Backups, planrun: Callable[..., Said]) -> None:
    take(backups)
    backups.sql("delete from _cdc_users")
    said = planrun("restore", "latest", "--yes")
    assert said.code == 1 and "public._cdc_users already exists" in said.out and "--resume" not in said.out
    assert planrun("restore", "latest", "--yes", "--table", "_cdc_users", "--as-schema", "side").code == 0
    assert backups.rows("select count(*) from side._cdc_users") == [(2,)]
    assert planrun("restore", "latest", "--yes", "--replace").code == 0
    assert backups.rows("select count(*) from _cdc_users") == [(2,)]
    assert backups.rows("select 1 from pg_namespace where nspname = 'planrun'") == [], "its journal is a file"


def test_restore_into_another_database(
    backups: Backups, planrun: Callable[..., Said], new_db: Callable[[], str]
) -> None:
    take(backups)
    other = Backups(new_db(), backups.folder)
    assert planrun("restore", "latest", "--yes", "--into", other.dsn).code == 0
    assert other.rows("select count(*) from _cdc_users") == [(2,)]


def test_restore_asks_first(backups: Backups, planrun: Callable[..., Said]) -> None:
    take(backups)
    backups.sql("drop table _cdc_users, _cdc_roles")
    said = planrun("restore", "latest")
    assert said.code != 0 and "Run it?" in said.err and "+ restore every table" in said.err
    assert backups.rows("select 1 from pg_class where relname = '_cdc_users'") == []


def test_restore_of_a_damaged_session_has_exit_code_6(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    (session / "_cdc_users.sql.gz").write_bytes(b"x")
    said = planrun("restore", session.name, "--yes", "--replace")
    assert said.code == 6
    assert backups.rows("select count(*) from _cdc_users") == [(2,)]


def test_restore_takes_the_newest_session_before_a_time(backups: Backups, planrun: Callable[..., Said]) -> None:
    first = old(take(backups))
    second = old(take(backups), "2020-03-01T00:00:00.000Z")
    backups.sql("drop table _cdc_users, _cdc_roles")
    for words, session in (
        (("--at", "2020-03-01"), first),
        (("--at", "2020-03-01T00:00:01"), second),
        (("--at", "2020-03-01T00:30:00+01:00"), first),
    ):
        said = planrun("restore", *words, "--dry-run")
        assert said.code == 0 and f"backups/{session.name}" in said.out, said
    assert backups.rows("select 1 from pg_class where relname = '_cdc_users'") == [], "a dry run restores nothing"
    said = planrun("restore", "--at", "2019-12-31", "--yes")
    assert said.code == 64 and "no session was taken before 2019-12-31 00:00:00 UTC" in said.err
    (second / "_cdc_users.sql.gz").write_bytes(b"x")
    said = planrun("restore", "--at", "2021-01-01", "--yes")
    assert said.code == 6 and first.name in said.err
    said = planrun("restore", "--at", "2021-01-01", "--newest-good", "--dry-run")
    assert said.code == 0 and f"backups/{first.name}" in said.out
    others: tuple[tuple[str, ...], ...] = ((), ("latest", "--at", "2020-03-01"), ("--at", "yesterday"))
    for wrong in others:
        assert planrun("restore", *wrong, "--yes").code == 64


def test_restore_lists_what_a_session_holds_without_a_database(
    backups: Backups, planrun: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = take(backups)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere?connect_timeout=1")
    said = planrun("restore", "latest", "--list")
    assert said.code == 0 and said.out.startswith(f"session {session}\n\n")
    assert [line.split()[:2] for line in said.out.splitlines()[3:]] == [
        ["public._cdc_roles", "1"],
        ["public._cdc_users", "2"],
    ]
    data = json.loads(planrun("restore", "latest", "--list", "--table", "_cdc_roles", "-o", "json").out)
    assert [(one["schema"], one["name"], one["rows"]) for one in data["tables"]] == [("public", "_cdc_roles", 1)]
    said = planrun("restore", "latest", "--list", "--table", "_cdc_role")
    assert said.code == 64 and "did you mean 'public._cdc_roles'" in said.err
    said = planrun("restore", "latest", "--list", "--schema", "pub")
    assert said.code == 64 and "no table of schema pub is in" in said.err


def test_restore_of_one_schema(backups: Backups, planrun: Callable[..., Said]) -> None:
    backups.sql('create schema "S t"; create table "S t"."T" (id int); insert into "S t"."T" values (7)')
    backups.make(tables=["_cdc_users", '"S t"."T"'], compress="gzip")
    backups.sql('drop table "S t"."T"')
    assert planrun("restore", "latest", "--schema", "S t", "--yes").code == 0, "the tables of public are not in the way"
    assert backups.rows('select * from "S t"."T"') == [(7,)]


# ------------------------------------------------------------------ prune


def test_prune_explains_and_removes_only_what_the_rules_do_not_keep(
    backups: Backups, planrun: Callable[..., Said]
) -> None:
    first, second = old(take(backups)), take(backups)
    said = planrun("prune", "--dry-run")
    assert said.code == 0 and f"remove  {first}  (older than 30 days" in said.out
    assert f"keep    {second}  (not older than 30 days)" in said.out
    assert first.exists()
    said = planrun("prune")
    assert said.code != 0 and "Remove 1 of 2 sessions?" in said.err and first.exists()
    data: dict[str, Any] = json.loads(planrun("prune", "--yes", "-o", "json").out)
    assert data["removed"] == [str(first)] and not first.exists() and second.exists()
    assert planrun("prune", "--yes").code == 0


def test_one_session_goes_by_its_full_name(backups: Backups, planrun: Callable[..., Said]) -> None:
    first, second = take(backups), take(backups)
    said = planrun("prune", second.name)
    assert said.code != 0 and second.exists()
    assert f"Remove {second.name}? It is the last good or the last proved session." in said.err
    said = planrun("prune", first.name, "--dry-run")
    assert (said.code, said.out) == (0, f"remove  {first}  (named, whatever the rules say)\n") and first.exists()
    said = planrun("prune", first.name, "--yes")
    assert said.code == 0 and "removed 1" in said.out and not first.exists() and second.exists()
    said = planrun("prune", first.name, "--yes")
    assert said.code == 64 and f"there is no session {first.name}" in said.err and second.name in said.err


def test_a_prune_is_a_run_and_needs_no_database(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = old(take(backups)), take(backups)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere?connect_timeout=1")
    assert planrun("prune", "--dry-run").code == 0
    assert not (tmp_path / "state").exists(), "a dry run leaves nothing"
    said = planrun("prune", "--yes")
    assert said.code == 0 and "removed 1" in said.out, said.err
    (run,) = journal(tmp_path)
    assert (run.plan, run.state, run.exit_code) == ("nightly_prune", "ok", 0)
    assert run.outcomes["prune"]["outputs"]["removed"][0]["session"] == first.name and second.exists()


@pytest.mark.parametrize("head", ["journal: database\n", "connections: {target: {}}\n", ""])
def test_neither_needs_what_the_plan_connects_to(
    head: str, backups: Backups, planrun: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = old(take(backups)), take(backups)
    (tmp_path / "plan.yml").write_text(head + PLAN)
    for name in ("DATABASE_URL", "PLANRUN_TARGET_URL", "PLANRUN_OTHER_URL"):
        monkeypatch.setenv(name, f"postgresql://127.0.0.1:1/{name.lower()}?connect_timeout=1")
    said = planrun("verify", "latest", "--level", "1")
    assert said.code == 0, said.err
    said = planrun("prune", "--yes")
    assert said.code == 0 and (first.exists(), second.exists()) == (False, True), said.err
    assert {(run.plan, run.state) for run in journal(tmp_path)} == {("nightly_verify", "ok"), ("nightly_prune", "ok")}


def test_a_server_that_cannot_be_read_is_refused(backups: Backups, planrun: Callable[..., Said]) -> None:
    take(backups)
    said = planrun("verify", "--server", "postgresql://[")
    assert said.code == 1 and "this is not a connection URL" in said.err


def test_ctrl_c_in_a_prune_leaves_whole_sessions(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = [old(take(backups), f"2020-01-0{day}T00:00:00.000Z") for day in (1, 2, 3)]
    kept = take(backups)
    remove, whole = sessions.remove, {one.name: one.read_bytes() for one in doomed[1].iterdir()}

    def remove_and_interrupt(folder: Path, name: str) -> None:
        remove(folder, name)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sessions, "remove", remove_and_interrupt)
    assert planrun("prune", "--yes").code == 130
    assert [path.exists() for path in doomed] == [False, True, True]
    assert {one.name: one.read_bytes() for one in doomed[1].iterdir()} == whole
    monkeypatch.setattr(sessions, "remove", remove)
    assert planrun("prune", "--yes").code == 0
    assert [path.name for path in backups.folder.iterdir()] == [kept.name]
    assert [run.state for run in journal(tmp_path)] == ["interrupted", "ok"]


def test_a_prune_that_is_declined_has_exit_code_1(
    backups: Backups, planrun: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = old(take(backups)), take(backups)
    monkeypatch.setattr("runner.cli.common.Terminal.ask", lambda *args: False)
    said = planrun("prune", "-o", "json")
    data = json.loads(said.out)
    assert (said.code, data["removed"], first.exists()) == (1, [], True)
    assert [(one["name"], one["action"]) for one in data["sessions"]] == [(first.name, "remove"), (second.name, "keep")]


def test_prune_keeps_the_last_good_one_beside_a_damaged_newer_one(
    backups: Backups, planrun: Callable[..., Said]
) -> None:
    oldest, good = (old(take(backups), f"20{year}-01-01T00:00:00.000Z") for year in (18, 19))
    newest = take(backups)
    damage(newest, "a dump is cut off")
    said = planrun("prune", "--yes", "-o", "json")
    assert said.code == 0 and json.loads(said.out)["removed"] == [str(oldest)]
    assert good.exists() and newest.exists()


KILLED = """
import os, sys
from runner.backup import sessions
from runner.journal.file import FileJournal
from runner.journal.history import RunRecord, fold
real = sessions.remove
def remove(folder, name):
    real(folder, name)
    if not [*folder.glob("*.gone")]:
        os.kill(os.getpid(), 9)
sessions.remove = remove
from runner.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_prune_that_is_killed_is_finished_by_the_next(
    backups: Backups, planrun: Callable[..., Said], tmp_path: Path
) -> None:
    kept = take(backups)
    gone = [old(take(backups), f"2020-01-0{day}T00:00:00.000Z") for day in (1, 2, 3)]
    held = {path: {one.name: one.read_bytes() for one in path.iterdir()} for path in gone}
    argv = [sys.executable, "-c", KILLED, "backups", "prune", str(tmp_path / "plan.yml"), "--yes"]
    env = {**os.environ, "DATABASE_URL": backups.dsn}
    assert subprocess.run(argv, cwd=Path(__file__).parents[2], env=env, check=False).returncode == -9
    assert [path.exists() for path in gone].count(True) == 2
    for path in filter(Path.exists, gone):
        assert {one.name: one.read_bytes() for one in path.iterdir()} == held[path], "what is left is whole"
    assert planrun("prune", "--yes").code == 0
    assert [path.exists() for path in (kept, *gone)] == [True, False, False, False]


def test_prune_never_removes_the_last_good_one(backups: Backups, planrun: Callable[..., Said]) -> None:
    only = old(take(backups))
    assert planrun("prune", "--yes").code == 0 and only.exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("list", "verify", "restore", "prune"):
        assert main(["backups", verb, "--help"]) == 0
        assert "Example" in capsys.readouterr().out


# ------------------------------------------------------------------ damaged sessions, and those of the future


def damage(session: Path, how: str) -> None:
    dump = session / "_cdc_users.sql.gz"
    match how:
        case "a dump is cut off":
            os.truncate(dump, 10)
        case "the manifest is cut off":
            os.truncate(session / "manifest.json", 200)
        case "a dump was changed":
            dump.write_bytes(dump.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("how", ["a dump is cut off", "the manifest is cut off", "a dump was changed"])
def test_a_damaged_newest_session_is_not_passed_over(backups: Backups, planrun: Callable[..., Said], how: str) -> None:
    good, newest = take(backups), take(backups)
    damage(newest, how)
    assert planrun("verify", "latest").code == 6
    listed = planrun("list")
    assert listed.code == 6 and re.search(rf"{newest.name}\s+damaged", listed.out), listed.out
    assert re.search(rf"{good.name}\s+complete", listed.out)
    found = planrun("verify", newest.name)
    assert found.code == 6, found
    refused = planrun("restore", "latest", "--as-schema", "beside", "--yes")
    assert refused.code == 6 and f"{good.name}, 0 minutes older" in refused.err, refused.err
    assert planrun("restore", "latest", "--as-schema", "beside", "--yes", "--newest-good").code == 0
    assert planrun("restore", good.name, "--as-schema", "by_name", "--yes").code == 0


def test_a_damaged_session_that_verifies_again_is_good_again(backups: Backups, planrun: Callable[..., Said]) -> None:
    session = take(backups)
    dump = session / "_cdc_users.sql.gz"
    content = dump.read_bytes()
    dump.write_bytes(content[:-1] + b"x")
    assert planrun("verify", "latest").code == 6 and planrun("list").code == 6
    dump.write_bytes(content)
    assert planrun("list").code == 6, "it is what it was taken for until it verifies"
    assert planrun("verify", "latest", "--level", "1").code == 0 and planrun("list").code == 0


def test_a_session_of_the_future_is_not_latest(backups: Backups, planrun: Callable[..., Said]) -> None:
    take(backups)
    future = take(backups)
    name = "backup_2099-01-01T00-00-00-000Z"
    for path in (future / "manifest.json", future / "SHA256SUMS"):
        text = path.read_text().replace(future.name, name)
        path.write_text(re.sub(r'"started": "[^"]*"', '"started": "2099-01-01T00:00:00.000Z"', text))
    future.rename(future.with_name(name))
    for verb in (("verify",), ("restore", "--yes", "--as-schema", "x")):
        said = planrun(verb[0], "latest", *verb[1:])
        assert said.code == 6 and "has a date in the future" in said.err, said
