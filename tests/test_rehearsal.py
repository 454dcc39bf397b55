"""A rehearsal tells what the real run then does, meets nothing but its copies, and leaves nothing behind.

PLANRUN_REHEARSALS=1 rehearses and then applies every shipped plan over every schema on every PostgreSQL that is here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jsonschema
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from runner import api, resources
from runner.cancel import Cancel
from runner.cli import main
from runner.database.connections import Connections
from runner.rehearsal import state
from runner.rehearsal_result import RehearsalResult
from runner.scratch import structure
from tests import servers
from tests.refreshes import NORTHWIND
from tests.servers import Server

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "schemas" / "output.schema.json").read_text())
SWEEP = bool(os.environ.get("PLANRUN_REHEARSALS"))

MIXED = """
create schema ext; create extension citext schema ext;
create schema "Sales Q1";
create table "Sales Q1"."Order Lines" ("Id" int primary key, "Note" text default 'Größe');
create table public."_cdc_Lines" (id int primary key, line int references "Sales Q1"."Order Lines");
create table public.customers (id int primary key, name text);
create table public.users (id int primary key, name text not null);
create table "Sales Q1".shops (name ext.citext primary key);
create view public."Shop Names" as select name from "Sales Q1".shops;
insert into "Sales Q1"."Order Lines" values (1), (2), (3);
insert into public."_cdc_Lines" values (1, 1), (2, 2);
insert into public.customers values (1, 'a');
insert into public.users values (1, 'u');
"""
CDC = """
create table if not exists _cdc_users (id int primary key, row jsonb);
create table if not exists "_cdc_Permissions" (id int); create table if not exists _cdc_roles (id int);
insert into _cdc_users select i, '{}' from generate_series(1, 20) i;
insert into "_cdc_Permissions" values (1); insert into _cdc_roles values (1);
"""
SCHEMAS = {
    "shop": (resources.SQL / "demo" / "catalog.sql", resources.SQL / "demo" / "live.sql", CDC),
    "wide": (ROOT / "tests" / "wide.sql", CDC),
    "northwind": (NORTHWIND, CDC),
    "mixed": (MIXED, CDC),
    "empty": ("", CDC),
}
KEPT = {"shop": "customers", "wide": "users", "northwind": "customers", "mixed": "customers", "empty": "_cdc_users"}
MIGRATION = "psql -Xqd \"$DATABASE_URL\" -c 'drop table _cdc_users; alter table _cdc_roles add x int default 7'"


def words(name: str, schema: str, home: Path) -> dict[str, str]:
    kept = {"preserved": f"[{KEPT[schema]}]"}
    backups = {"backup.path": str(home / "backups")}
    return {
        "prod.yml": kept, "demo-refresh.yml": {}, "demo.yml": {}, "backup.yml": backups,
        "safe-migrate.yml": {**backups, "migration": json.dumps(["sh", "-c", MIGRATION])},
    }[name]  # fmt: skip


def fill(db: str, schema: str) -> None:
    for text in SCHEMAS[schema]:
        body = text.read_text() if isinstance(text, Path) else text
        with psycopg.connect(db, autocommit=True) as conn:
            if body:
                conn.execute(body.encode())


def url(db: str) -> str:
    found = {word: str(value) for word, value in conninfo_to_dict(db).items()}
    return f"postgresql://{found['user']}@/{found['dbname']}?host={found['host']}&port={found['port']}"


def catalogs(db: str, *, rows: bool = False) -> Mapping[str, state.State]:
    connections = Connections({"target": {word: str(value) for word, value in conninfo_to_dict(db).items()}}, {})
    return state.read(connections, ["target"], rows=rows, cancel=Cancel())


def rehearse_and_apply(name: str, schema: str, target: str, source: str, home: Path) -> RehearsalResult:
    """Rehearse a plan and apply it then; what changes in the real database is what the rehearsal told."""
    shutil.copytree(resources.PLANS, home / "plans")
    env = {**os.environ, "PLANRUN_STATE_DIR": str(home / "state"), "PGDATABASE": "nowhere", "DATABASE_URL": url(target)}
    if name in ("prod.yml", "demo-refresh.yml"):
        env |= {"PLANRUN_SOURCE_URL": url(source), "PLANRUN_TARGET_URL": url(target)}
    plan = api.load_plan(home / "plans" / name, env=env, set=words(name, schema, home))
    before = catalogs(target, rows=True)
    found = api.rehearse(plan, env=env, rows="all")
    assert catalogs(target, rows=True) == before and not list(home.rglob("backup_2*")), "a rehearsal only reads"
    done = api.apply(plan, env=env, confirm=lambda question: True)
    assert [(step.path, step.state, step.code) for step in found.run.steps] == [
        (step.path, step.state, step.code) for step in done.steps
    ]
    assert (found.exit_code, found.undone is None or found.undone.none) == (done.exit_code, True), found.run.error
    after = catalogs(target, rows=True)
    told, (real,) = found.applied, state.differences(before, after).catalogs.values()
    assert next(iter(told.catalogs.values())) == real
    assert told.rows == state.differences(before, after).rows
    return found


EVERY = [
    (major, name, schema)
    for major in sorted(servers.servers_here())
    for name in sorted(path.name for path in resources.PLANS.glob("*.yml"))
    for schema in SCHEMAS
]


@contextlib.contextmanager
def server_of(major: int, usual: Server) -> Iterator[Server]:
    if major == 0:
        yield usual
        return
    with servers.local(servers.servers_here()[major]) as server:
        yield server


@pytest.mark.parametrize(("major", "name", "schema"), EVERY if SWEEP else [(0, "prod.yml", "mixed")])
def test_a_rehearsal_tells_what_apply_does(
    major: int, name: str, schema: str, pg_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "_AVAILABLE", "select name from pg_available_extensions where name <> 'citext'")
    with server_of(major, pg_server) as server, contextlib.ExitStack() as stack:
        monkeypatch.setenv("PATH", f"{server.programs.bin}:{os.environ['PATH']}")
        names = [f"rehearsal_{side}_{os.getpid()}" for side in ("target", "source")]
        target, source = map(server.create, names)
        for each, db in zip(names, (target, source), strict=True):
            stack.callback(server.drop, each)
            fill(db, schema)
        found = rehearse_and_apply(name, schema, target, source, tmp_path / "home")
        assert any("citext" in one for one in found.copies[0].left_out) == (schema == "mixed")


# ------------------------------------------------------------------ the command


CANARY = """
import os, psycopg
for given in ("", os.environ["DATABASE_URL"]):
    with psycopg.connect(given) as conn:
        print("met", conn.info.host, conn.info.dbname, conn.info.user, conn.execute("show is_superuser").fetchone()[0])
with psycopg.connect("") as conn:
    conn.execute("alter table _cdc_users add column extra int")
    conn.execute("truncate _cdc_roles")
for given in ("service=prod", "host=/nowhere"):
    try:
        psycopg.connect(given)
    except psycopg.Error as exc:
        print("refused", given)
"""
PLAN = """
name: canary
backup: {path: ./backups, prefix: _cdc_, retention_days: 1}
steps:
  - {id: ask, uses: confirm, with: {message: "Go on?", expect: yes please}}
  - {id: save, uses: backup}
  - {id: note, uses: write, with: {to: ./notes/done.txt, text: done}}
  - {id: go, uses: command, with: {argv: ["PYTHON", "canary.py"], env: [DATABASE_URL, PGSERVICE]}}
rollback:
  - {id: back, uses: sql, with: {text: "alter table _cdc_users drop column extra"}}
"""


@pytest.fixture
def home(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan whose command is a canary, and an old session that retention would remove."""
    fill(db, "empty")
    services = tmp_path / "services"
    services.write_text(f"[prod]\nhost={conninfo_to_dict(db)['host']}\nport={conninfo_to_dict(db)['port']}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("DATABASE_URL", url(db))
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "canary.py").write_text(CANARY)
    (tmp_path / "plan.yml").write_text(PLAN.replace("PYTHON", sys.executable))
    (tmp_path / "backups" / "backup_2020-01-01T00-00-00-000Z").mkdir(parents=True)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_command_meets_the_copy_and_no_file_changes(home: Path, db: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, rows = files(home), catalogs(db, rows=True)
    code = main(["rehearse", str(home / "plan.yml"), "--rows", "sample", "-o", "json"])
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert files(home) == before and catalogs(db, rows=True) == rows, "only read"
    steps, told = {step["path"]: step for step in data["steps"]}, data["rehearsal"]
    met = str(steps["go"]["outputs"]["output"]).splitlines()
    here = conninfo_to_dict(db)
    assert [line.split()[1:] for line in met[:2]] == 2 * [[met[0].split()[1], here["dbname"], here["user"], "off"]]
    assert met[0].split()[1] != here["host"], "the same name, on another server"
    assert met[2:] == ["refused service=prod", "refused host=/nowhere"]
    assert steps["save"]["outputs"]["rows"] == 22 and not steps["save"]["outputs"]["session"].startswith(str(home))
    assert told["answers"] == ["Go on?"] and told["moved"] == [str(home / "backups"), str(home / "notes" / "done.txt")]
    (ran,) = told["outside"]
    assert ran.endswith(f"ran in {home}, with the files there")
    locks = {(lock["step"], lock["name"]): lock for lock in told["locks"] if lock["mode"] == "AccessExclusiveLock"}
    assert locks["go", "_cdc_users"]["statement"] == "alter table _cdc_users add column extra int"
    assert locks["back", "_cdc_users"]["exact"]
    assert "truncate _cdc_roles" in [one["text"] for one in told["statements"]]
    # the column goes again, the rows of the emptied table do not come back
    assert (code, data["state"], data["error"]["code"]) == (6, "changed", "PR1003")
    assert told["undone"] == {"catalogs": {"": []}, "rows": ["public._cdc_roles"], "own": []}
    assert [change["name"] for change in told["applied"]["catalogs"][""]] == ["public._cdc_users.extra"]


def test_a_named_server_and_a_step_that_fails(
    home: Path, pg_server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "bad.yml").write_text(
        "name: bad\nsteps:\n  - {id: a, uses: sql, with: {text: alter table _cdc_users add n int}}\n"
        "  - {id: b, uses: sql, with: {text: drop table gone}}\n"
    )
    monkeypatch.setenv("SCRATCH", url(pg_server.conninfo()))
    assert main(["rehearse", str(home / "bad.yml"), "--on", "SCRATCH"]) == 1
    out = capsys.readouterr().out
    assert "Plan bad: a step failed in the rehearsal" in out and 'table "gone" does not exist' in out
    assert "+ column public._cdc_users.n: integer" in out and "a  ACCESS EXCLUSIVE for at most" in out
    assert main(["rehearse", str(home / "bad.yml"), "--on", url(pg_server.conninfo())]) == 64
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["rehearse", str(home / "bad.yml")]) == 4
    (home / "bad.yml").write_text("name: bad\nsteps: [{id: a, uses: sequel}]\n")
    assert main(["rehearse", str(home / "bad.yml")]) == 5


def test_a_diff_takes_the_sql_of_a_rehearsal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "late.yml").write_text(
        "name: late\nsteps:\n  - {id: a, uses: sql, with: {text: create table late as select 7 as n}}\n"
        "  - {id: q, uses: query, with: {text: select n from late}}\n"
        "  - {id: b, uses: sql, with: {text: 'update late set n = {{ n }}', values: {n: '${steps.q.row.n}'}}}\n"
    )
    assert main(["diff", str(home / "late.yml"), "-v"]) == 0
    assert "update late set n = 7" not in capsys.readouterr().out, "only a run knows"
    assert main(["diff", str(home / "late.yml"), "--rehearse", "-v"]) == 0
    out = capsys.readouterr().out
    assert "# as rehearsed on a scratch copy\n      update late set n = 7" in out
    assert "Plan late: rehearsed: every step went well" in out
    assert main(["diff", str(home / "late.yml"), "--rehearse", "--until", "a"]) == 64


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), *([(signal.SIGINT, 130)] if SWEEP else [])])
def test_nothing_is_left_of_one_that_is_stopped(home: Path, number: int, code: int) -> None:
    (home / "slow.yml").write_text("name: slow\nsteps: [{id: a, uses: sql, with: {text: select pg_sleep(60)}}]\n")
    temporary = home / "tmp"
    temporary.mkdir()
    call = "import pathlib, sys; from runner.server import embedded; from runner.cli import main; "
    call += f"embedded._roomy = lambda: pathlib.Path({str(temporary)!r}); sys.exit(main())"
    argv = [sys.executable, "-c", call]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*argv, "rehearse", str(home / "slow.yml")],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        while "a: sql begins" not in process.stderr.readline():
            assert process.poll() is None
        assert list(temporary.iterdir()), "a server and a folder"
        process.send_signal(number)
        process.stderr.read()
    assert process.returncode == code
    end = time.monotonic() + 20
    while list(temporary.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not list(temporary.iterdir())
