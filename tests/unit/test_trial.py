"""A command in a scratch copy: what it meets there, what it may not reach, and how its failures are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.errors import PlanrunError, UnknownStateError
from runner.result import RunResult
from runner.run import trial

SHOP = """
create table users (id int primary key, email text, age numeric(5,2));
insert into users select n, 'user' || n, n + 0.5 from generate_series(1, 50) n;
create table logs (id int, at int, owner int);
insert into logs select n, n, n % 5 from generate_series(1, 20) n;
create table "Kept" (id int primary key references users on delete cascade);
insert into "Kept" select n from generate_series(40, 50) n;
"""
RUN = "import os, sys, psycopg; psycopg.connect(os.environ['DATABASE_URL'], autocommit=True).execute(sys.argv[1])"


@pytest.fixture
def shop(db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(SHOP)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PLANRUN_TARGET_URL", db)
    monkeypatch.setenv("PLANRUN_SCRATCH_URL", db)
    return db


Detect = Callable[..., RunResult]


@pytest.fixture
def detect(shop: str, tmp_path: Path) -> Detect:
    """Run one find_tables step; the copy is on the server of the test, where no server has to be made."""

    def run(*argv: str, **given: Any) -> RunResult:
        words = {"lost_by": [sys.executable, "-c", *argv], "server": "scratch", **given}
        step = {"id": "detect", "uses": "find_tables", "with": words}
        plan = {"name": "p", "connections": {"target": {}, "scratch": {}}, "steps": [step]}
        (tmp_path / "p.yml").write_text(json.dumps(plan))
        return api.apply(api.load_plan(tmp_path / "p.yml"))

    return run


def rows(db: str, query: str) -> list[Any]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute(query.encode()).fetchall()]


def error(result: RunResult) -> PlanrunError:
    assert result.error is not None and result.state == "failed"
    return result.error


CANARY = """
import json, os, sys, psycopg
seen = {"env": dict(os.environ), "argv": sys.argv[1:]}
# what a reader of .env files does: a variable that is there goes before the file
for line in open(".env"):
    name, _, value = line.strip().partition("=")
    os.environ.setdefault(name, value)
address = dict(host=os.environ["DB_HOST"], dbname=os.environ["DB_NAME"], user=os.environ["PGUSER"],
               password=os.environ.get("PGPASSWORD", ""))
words = ("", os.environ["SHOP_URL"], psycopg.conninfo.make_conninfo(**address))
all = [psycopg.connect(one, autocommit=True) for one in words]
seen["met"] = [c.execute("select current_database()").fetchone()[0] for c in all]
all[1].execute("drop table logs")
all[1].execute("delete from users where id = 7")
json.dump(seen, open("seen.json", "w"))
print(os.environ["TOKEN"], sys.argv[1])
"""


def test_a_command_meets_the_address_of_the_copy_only(
    shop: str, detect: Detect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = conninfo_to_dict(shop)
    url = f"postgresql://{here['user']}@/{here['dbname']}?host={here['host']}&port={here['port']}"
    for name, value in {"DATABASE_URL": url, "PGHOST": str(here["host"]), "TOKEN": "s3cr3t-of-mine"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text(f"SHOP_URL={url}\nDB_HOST={here['host']}\nDB_NAME={here['dbname']}\nCOLOUR=red\n")
    (tmp_path / "canary.py").write_text(CANARY)
    result = detect(
        "exec(open('canary.py').read())", url, env=["DATABASE_URL", "PGHOST", "TOKEN", "PLANRUN_TARGET_URL"]
    )
    assert result.error is None, result.error
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert str(here["dbname"]) not in json.dumps(seen)
    assert len(set(seen["met"])) == 1 and seen["met"][0].startswith("planrun_scratch_")
    assert seen["env"]["TOKEN"] == "s3cr3t-of-mine" and "COLOUR" not in seen["env"]
    given = result.steps[0].outputs
    assert given["losses"] == "public.logs (20 rows): dropped\npublic.users (50 rows): 1 of 50 rows deleted"
    assert rows(shop, "select count(*) from users") == [50] and rows(shop, "select count(*) from logs") == [20]


def test_the_statements_that_meet_no_row_of_a_sample_are_told(detect: Detect) -> None:
    text = "delete from users where id = 30; do $$ begin update logs set at = 0 where id = 19; end $$"
    given = detect(RUN, text, whole_up_to=0, sample=5).steps[0].outputs
    assert {one["name"]: one["lost"] for one in given["tables"]} == {
        "users": "DELETE ran on it, and met no row of the sample",
        "Kept": "DELETE on public.users reaches it by a foreign key, and met no row of the sample",
        "logs": "UPDATE ran on it, and met no row of the sample",
    }
    assert "a sample of 5 rows of each table" in given["seen"]


def test_what_is_undone_is_not_lost(detect: Detect) -> None:
    text = "begin; delete from users; drop table logs; rollback; insert into logs values (21)"
    given = detect(RUN, text, whole_up_to=0, sample=5).steps[0].outputs
    assert (given["count"], given["loses"], given["losses"], given["tables"]) == (0, False, "", [])


def test_a_command_that_fails_fails_the_step(shop: str, detect: Detect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-of-mine")
    code = f"import os; print('token', os.environ['TOKEN']); {RUN}"
    found = error(detect(code, "drop table nowhere", env=["TOKEN"]))
    assert found.code == "PR1083" and "in the scratch copy" in found.message
    assert 'table "nowhere" does not exist' in found.message and "s3cr3t" not in str(found)


def test_a_line_that_means_failure_fails_the_step(detect: Detect) -> None:
    code = f"print('Interactive prompts require a TTY terminal'); {RUN}"
    found = error(detect(code, "select 1", fail_if_output=["Interactive prompts"]))
    assert found.code == "PR1083" and "drizzle-kit push: --force" in found.hint


def test_a_command_that_waits_is_ended(detect: Detect) -> None:
    """It reads the end of its input, so only what does not read at all has to be ended."""
    found = error(detect(f"{RUN}; input('Really? ')", "select 1"))
    assert "EOFError" in found.message and found.code == "PR1083"
    found = error(detect("import time; print('Really?', flush=True); time.sleep(60)", command_timeout=0.5))
    assert found.code == "PR1081" and "Really?" in found.message and "--force" in found.hint


def test_a_command_that_connects_elsewhere_is_found_out(
    shop: str, detect: Detect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_REPORTED", 0.3)
    assert error(detect("print('done')")).code == "PR1082"
    hidden = {key: str(value)[::-1] for key, value in conninfo_to_dict(shop).items()}
    code = f"import psycopg; w = {{k: v[::-1] for k, v in {hidden!r}.items()}}; c = psycopg.connect(**w)"
    found = error(detect(f"{code}; c.execute('drop table logs'); c.commit()"))
    assert isinstance(found, UnknownStateError) and found.code == "PR1084"
    assert "public.logs table dropped" in found.message and "never connected to the scratch copy" in found.message


def test_an_address_of_its_own_is_refused(shop: str, detect: Detect, tmp_path: Path) -> None:
    here = conninfo_to_dict(shop)
    (tmp_path / "conf").mkdir()
    url = f"postgresql://me:s3cr3t@/{here['dbname']}?host={here['host']}"
    (tmp_path / "conf" / "db.ini").write_text(f"[db]\nurl = {url}\n")
    found = error(detect(RUN, "select 1"))
    assert found.code == "PR1080" and "conf/db.ini:2 names the address" in found.message and "s3cr3t" not in str(found)
    (tmp_path / "conf" / "db.ini").write_text("[db]\nurl = postgresql://me@localhost/development\n")
    found = error(detect(RUN, f"host={here['host']} select 1"))
    assert found.code == "PR1001"


def test_a_variable_that_leads_to_another_database_is_refused(
    shop: str, detect: Detect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psql takes PGDATABASE where planrun took the URL: the run would change a database that nobody has saved."""
    place = conninfo_to_dict(shop)
    monkeypatch.setenv("PGDATABASE", "other")
    result = detect("print('never')", env=["PGDATABASE", "PGPORT"])
    assert result.error is not None and result.error.code == "PR1080"
    assert "PGDATABASE is other" in result.error.message and result.error.hint == (
        f"unset PGDATABASE, or set it to {place['dbname']}"
    )
    monkeypatch.setenv("PGDATABASE", str(place["dbname"]))
    monkeypatch.setenv("PGPORT", "1")
    found = detect("print('never')", env=["PGDATABASE", "PGPORT"]).error
    assert found is not None and "PGPORT is 1" in found.message


def test_a_diff_runs_nothing(shop: str, tmp_path: Path) -> None:
    step = {"id": "detect", "uses": "find_tables", "with": {"lost_by": ["touch", "ran"]}}
    also = {"id": "ask", "uses": "confirm", "when": "detect.loses", "with": {"message": "${steps.detect.losses}"}}
    (tmp_path / "p.yml").write_text(json.dumps({"name": "p", "connections": {"target": {}}, "steps": [step, also]}))
    found = api.diff(api.load_plan(tmp_path / "p.yml"))
    assert [one.state for one in found.steps] == ["would run", "unknown until run"]
    assert not (tmp_path / "ran").exists()


def test_nothing_is_found_out_for_a_later_attempt(shop: str, detect: Detect, tmp_path: Path) -> None:
    """The command may have been mended since: a resumed run would back up what another one loses."""
    words = {"lost_by": [sys.executable, "-c", RUN, "drop table logs"], "server": "scratch"}
    steps = [
        {"id": "detect", "uses": "find_tables", "with": words},
        {"id": "save", "uses": "sql", "with": {"text": "create table saved ()"}},
        {"id": "fail", "uses": "check", "with": {"text": "select 'no'"}},
    ]
    plan = {"name": "p", "connections": {"target": {}, "scratch": {}}, "steps": steps}
    (tmp_path / "p.yml").write_text(json.dumps(plan))
    loaded = api.load_plan(tmp_path / "p.yml")
    first = api.apply(loaded)
    assert first.state == "failed" and first.next == f"planrun apply {tmp_path}/p.yml"
    again = api.apply(loaded, resume=True)
    assert again.error is not None and again.error.code == "PR0507" and "start again" in again.error.hint


ROLE = """
do $$ begin create role planrun_test_app login; exception when duplicate_object then null; end $$;
create table closed (n int); grant create on schema public to planrun_test_app;
create schema app authorization planrun_test_app; set role planrun_test_app;
create table app."Users" (id int primary key, "E Mail" text); insert into app."Users" values (1, 'a'), (2, null);
create table app.secret (id int primary key); insert into app.secret values (1), (9);
alter table app.secret enable row level security, force row level security;
create policy few on app.secret using (id < 5);
"""


def test_a_role_needs_no_more_than_its_own_tables(shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a private server, where every owner is as in the original. What the role cannot see is told."""
    with psycopg.connect(shop, autocommit=True) as conn:
        conn.execute(ROLE)
    monkeypatch.setenv("PLANRUN_TARGET_URL", make_conninfo(shop, user="planrun_test_app"))
    monkeypatch.delenv("PLANRUN_SCRATCH_URL")
    text = 'alter table app."Users" drop column "E Mail"; delete from app.secret; drop table if exists closed'
    step = {"id": "detect", "uses": "find_tables", "with": {"lost_by": [sys.executable, "-c", RUN, text]}}
    (tmp_path / "p.yml").write_text(json.dumps({"name": "p", "connections": {"target": {}}, "steps": [step]}))
    result = api.apply(api.load_plan(tmp_path / "p.yml"))
    assert result.error is None, result.error
    given = result.steps[0].outputs
    assert given["losses"] == 'app."Users" (2 rows): column "E Mail" dropped (1 value)'
    unseen = {one["what"]: one["reason"] for one in given["unseen"]}
    assert unseen["table public.closed"] == "planrun_test_app may not read it"
    assert "row-level security" in unseen["rows of app.secret"]


def test_a_rehearsal_without_rows_tells_which_statements_ran(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLANRUN_SCRATCH_URL")
    text = "delete from users where id = 3; alter table logs drop column at"
    step = {"id": "detect", "uses": "find_tables", "with": {"lost_by": [sys.executable, "-c", RUN, text]}}
    (tmp_path / "p.yml").write_text(json.dumps({"name": "p", "connections": {"target": {}}, "steps": [step]}))
    found = api.rehearse(api.load_plan(tmp_path / "p.yml")).run
    given = found.steps[0].outputs
    assert {one["name"]: one["lost"] for one in given["tables"]} == {
        "Kept": "DELETE on public.users reaches it by a foreign key, and met no row of the rehearsal",
        "logs": "column at dropped (0 values)",
        "users": "DELETE ran on it, and met no row of the rehearsal",
    }
    assert given["seen"].endswith("made from the copy of a rehearsal, which has no rows)")


def test_a_program_that_is_not_there_is_told_as_such(shop: str, tmp_path: Path) -> None:
    step = {"id": "detect", "uses": "find_tables", "with": {"lost_by": ["no-such-program"], "server": "scratch"}}
    plan = {"name": "p", "connections": {"target": {}, "scratch": {}}, "steps": [step]}
    (tmp_path / "p.yml").write_text(json.dumps(plan))
    assert error(api.apply(api.load_plan(tmp_path / "p.yml"))).code == "PR0902"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lost_by": ["true"], "prefix": "x"}, "give either `lost_by` or one of prefix, glob, regex, names"),
        ({"lost_by": ["true"], "names": []}, "give either `lost_by` or one of prefix, glob, regex, names"),
        ({"glob": "*", "env": ["HOME"]}, "are for the program of `lost_by`"),
    ],
)
def test_what_does_not_go_together_is_refused_offline(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    step = {"id": "detect", "uses": "find_tables", "with": given}
    (tmp_path / "p.yml").write_text(json.dumps({"name": "p", "steps": [step]}))
    with pytest.raises(PlanrunError, match=message) as found:
        api.load_plan(tmp_path / "p.yml")
    assert "PR0119" in str(found.value)
