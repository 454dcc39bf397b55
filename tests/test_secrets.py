"""Passwords and tokens are planted everywhere a user may put them, and looked for in all that planrun leaves and says.

Every one of them holds the word CANARY, so that also a part of it, or another way to write it, is found.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg import conninfo, sql

from tests import servers
from tests.commandline import Done, House, children, connect_to, wait_for
from tests.faultproxy import FaultProxy, target_of
from tests.refreshes import Pair, plan_that_keeps
from tests.servers import Server

CANARY = "c4n4ry"
PASSWORD = f"{CANARY} p:w@/%'3"
KEY = f'{CANARY}-k\'ey\\1\n{CANARY} second line "2"'
TOKEN = f"{CANARY}/token+2"

BACKUP = "backup: {path: backups, format: sql, retention_days: 30}\n"
PLAN = """
name: secrets
steps:
  - {id: make, uses: sql, with: {text: "create table keys (key text unique)"}}
  - {id: put, uses: sql, with: {text: "insert into keys values ({{ key }})", values: {key: "${env.SIGNING_KEY}"}}}
  - {id: get, uses: query, with: {text: "select key, 'x' as other from keys"}}
  - id: say
    uses: command
    with:
      argv: [sh, -c, 'printf "token %s\\n%s\\n" "$API_TOKEN" "$SIGNING_KEY"; echo "url $DATABASE_URL" >&2']
      env: [API_TOKEN, DATABASE_URL, SIGNING_KEY]
  - {id: save, uses: backup}
  - id: again
    uses: sql
    with: {text: "insert into keys values ({{ key }})", values: {key: "${env.SIGNING_KEY}"}}
backup: {path: backups, tables: [_cdc_users]}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers.server_with_passwords() as made:
        with made.admin() as conn:
            conn.execute(sql.SQL("create role clerk superuser login password {}").format(PASSWORD))
        yield made


@pytest.fixture
def house(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    name = f"s_{abs(hash(request.node.nodeid)):x}"
    db = server.create(name)
    with connect_to(db) as conn:
        conn.execute("create table _cdc_users as select n as id, repeat('x', 100) as t from generate_series(1, 9000) n")
    house = House(tmp_path, db, BACKUP)
    house.env |= {"DATABASE_URL": url(server.words["host"], name), "SIGNING_KEY": KEY, "API_TOKEN": TOKEN}
    yield house
    house.close()
    server.drop(name)


def url(host: str, dbname: str, port: str = "5432") -> str:
    return f"postgresql://clerk:{quote(PASSWORD, safe='')}@{quote(host, safe='')}:{port}/{dbname}"


def clean(house: House, *args: str, code: int = 0, **more: Any) -> Done:
    """Run a command; no canary may be in what it says."""
    done = house.run(*args, **more)
    assert done.code == code, done.output
    assert CANARY not in done.output, done.output
    return done


def files_of(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_a_value_that_is_a_secret_works_and_is_not_shown(house: House) -> None:
    house.write(PLAN)
    for words in ("validate", "render -o json"):
        clean(house, *words.split(), "plan.yml")
    shown = clean(house, "diff", "plan.yml", "--verbose")
    assert "insert into keys values (" in shown.out and "***" in shown.out

    done = clean(house, "apply", "plan.yml", "--yes", "-o", "jsonl", "--report", "reports", code=1)
    report = files_of(house.folder / "reports")
    assert "duplicate key value violates" in report and "***" in report and CANARY not in report
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {"token ***", "***"} <= {one.get("what") for one in events}, done.out
    assert "duplicate key value violates unique constraint" in done.out
    with connect_to(house.db) as conn:
        assert conn.execute("select key from keys").fetchall() == [(KEY,)]
        assert CANARY not in str(conn.execute("select run, event from planrun.journal").fetchall())
    assert CANARY not in files_of(house.backups)
    for words in ("status", "history", "explain", "explain -o json", "report -o -"):
        clean(house, *words.split(), "plan.yml")

    resumed = clean(house, "apply", "plan.yml", "--yes", "--resume", code=1)
    assert "the outputs of get, say contained a secret" in resumed.err


def test_each_form_of_a_failed_run_keeps_the_secret(house: House) -> None:
    house.write("name: p\nsteps:\n  - {id: a, uses: query, with: {text: 'select {{ k }}::int', "
                "values: {k: '${env.SIGNING_KEY}'}}}\n")  # fmt: skip
    for form in ("text", "json", "markdown"):
        done = clean(house, "apply", "plan.yml", "--yes", "-o", form, code=1)
        assert "invalid input syntax" in done.output
    assert CANARY not in files_of(house.folder / "state")


def test_a_secret_never_becomes_an_argument(house: House) -> None:
    house.write("name: p\nsteps:\n  - {id: a, uses: command, with: {argv: [echo, '${env.API_TOKEN}']}}\n")
    done = clean(house, "apply", "plan.yml", "--yes", code=5)
    assert "argv would contain a secret" in done.output and "name the variable in `env:`" in done.output


def test_what_a_backup_leaves_and_says(house: House) -> None:
    for form in ("text", "jsonl"):
        clean(house, "apply", "plan.yml", "--yes", "-o", form)
    clean(house, "backups", "verify", "plan.yml", "--level", "2")
    clean(house, "doctor", "plan.yml")
    other = {"DATABASE_URL": "", "PLANRUN_TARGET_URL": house.env["DATABASE_URL"]}
    house.write(BACKUP + "connections: {target: {host: nowhere.invalid}}\n")
    clean(house, "apply", "plan.yml", "--yes", env=other)
    assert CANARY not in files_of(house.backups) + files_of(house.folder / "state")


@pytest.mark.parametrize("source", ["PGPASSWORD", "passfile"])
def test_a_password_beside_the_url(house: House, source: str) -> None:
    house.env["DATABASE_URL"] = conninfo.make_conninfo(house.db, user="clerk")
    passfile = house.folder / "pass"
    passfile.write_text("*:*:*:*:" + PASSWORD.replace("\\", "\\\\").replace(":", "\\:") + "\n")
    passfile.chmod(0o600)
    house.env |= {"PGPASSWORD": PASSWORD} if source == "PGPASSWORD" else {"PGPASSFILE": str(passfile)}
    clean(house, "apply", "plan.yml", "--yes")
    assert CANARY not in files_of(house.backups) + files_of(house.folder / "state")
    with connect_to(house.db) as conn:
        conn.execute("create table _cdc_more as select 1 as n")
    wrong = {"PGPASSWORD": f"{CANARY}-wrong"} if source == "PGPASSWORD" else {"PGPASSFILE": "/nowhere"}
    clean(house, "apply", "plan.yml", "--yes", code=4, env=wrong)


@pytest.mark.parametrize(
    "malformed",
    [
        f"postgresql://clerk:p@{CANARY}@127.0.0.1:1/x",
        f"postgresql://clerk:p/{CANARY}@127.0.0.1:1/x",
        f"postgresql://clerk:{CANARY}%zz@127.0.0.1:1/x",
        f"postgresql://clerk:{CANARY}@127.0.0.1:x1/x",
        f"host=127.0.0.1 password={CANARY} {CANARY}",
        f"host=127.0.0.1 password='{CANARY}",
        f"postgresql://clerk:{CANARY}@127.0.0.1:1/x",
    ],
)
def test_a_url_that_cannot_be_used(house: House, malformed: str) -> None:
    for args in (("apply", "plan.yml", "--yes"), ("doctor", "-o", "json")):
        clean(house, *args, code=4, env={"DATABASE_URL": malformed})


BUG = """
import os
from runner.backup import dumping
def backup(action, connections, **more):
    password = connections.words()["password"]
    raise RuntimeError("meant to happen: " + password + os.environ["DATABASE_URL"])
dumping.backup = backup
"""


def test_a_bug_of_ours_is_reported_without_values(house: House) -> None:
    done = clean(house, "apply", "plan.yml", "--yes", code=70, before=BUG)
    assert "this is a bug in planrun (RuntimeError)" in done.err
    (report,) = (house.folder / "state" / "bugs").iterdir()
    assert "RuntimeError" in report.read_text() and CANARY not in report.read_text()
    assert house.unfinished_files() == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where Linux shows processes")
def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_what_others_see_of_a_running_dump(house: House, server: Server) -> None:
    with FaultProxy(target_of(server.words)) as proxy:
        proxy.rate = 2_000_000
        dbname = conninfo.conninfo_to_dict(house.db)["dbname"]
        through = url("127.0.0.1", str(dbname), str(proxy.port)) + "?sslmode=disable"
        process = house.start("apply", "plan.yml", "--yes", env={"DATABASE_URL": through, "PGPASSWORD": PASSWORD})
        wait_for(lambda: any(b"pg_dump" in command_line(pid) for pid in children(process.pid)))
        proxy.hang = True
        seen = [(Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ")) for pid in children(process.pid)]
        seen = [paths for paths in seen if str(process.pid) not in paths[0].parts]
        texts = [path.read_bytes() for paths in seen for path in paths]
        proxy.hang = False
        done = house.end(process)
    assert done.code == 0, done.output
    assert any(b"pg_dump" in text for text in texts)
    assert not any(CANARY.encode() in text for text in texts)


# ------------------------------------------------------------------ jobs that replace tables

PUT = """\
  - id: put
    when: swap.ok
    uses: sql
    with: {text: "insert into users values (9, {{ key }})", values: {key: "${env.SIGNING_KEY}"}}
rollback:
"""
REFRESH = (
    plan_that_keeps("users")
    .replace("rollback:\n", PUT)
    .replace("uses: swap_back", "uses: swap_back, with: {accept_data_loss: true}")
)


class Watching:
    """What other sessions and other users see of planrun while it works in this process."""

    def __init__(self, server: Server) -> None:
        self._server, self.texts = server, set[str]()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def _look(self) -> None:
        with self._server.admin() as conn:
            while not self._ended.wait(0.02):
                rows = conn.execute("select application_name, query from pg_stat_activity where usename = 'clerk'")
                self.texts |= {text for row in rows.fetchall() for text in row} | set(_dumps())


def _dumps() -> Iterator[str]:
    """Yield arguments and environment of every pg_dump."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if b"pg_dump" in words and b"PGAPPNAME=planrun/" in (around := (process / "environ").read_bytes()):
                yield (words + around).replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture
def pair(house: House, server: Server) -> Iterator[Pair]:
    """The house as the target of a refresh, each side with a password in its URL."""
    name = str(conninfo.conninfo_to_dict(house.db)["dbname"])
    made = Pair(house.folder, server.create(f"src_{name}"), house.db, REFRESH)
    with connect_to(made.source) as conn:
        conn.execute("create table users (id int primary key, t text); insert into users values (1, 'new')")
    with connect_to(house.db) as conn:
        conn.execute("drop table _cdc_users; create table users (id int primary key, t text)")
    made.env = {key: value for key, value in house.env.items() if key != "DATABASE_URL"}
    made.env |= {"PLANRUN_TARGET_URL": url(server.words["host"], name)}
    made.env |= {"PLANRUN_SOURCE_URL": url(server.words["host"], f"src_{name}")}
    yield made
    server.drop(f"src_{name}")


def test_a_refresh_keeps_every_password(pair: Pair, server: Server, tmp_path: Path) -> None:
    """Both sides' passwords and a secret value of the plan: what every command says, and what it leaves."""
    pair.env["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    before = ("diff -o json", "apply --yes --until prepare -o jsonl", "status -o json", "abort --yes -o json")
    after = ("apply --yes -o markdown", "backups verify", "rollback --yes", "status", "history -o json",
             "explain -o json", "backups list -o json", "render", "doctor")  # fmt: skip
    with Watching(server) as watching:
        for words in (*before, *after):
            done = pair.ok(*words.split(), "plan.yml", *(["latest"] if "verify" in words else []))
            assert CANARY not in done.output, (words, done.output)
    seen = "\n".join(text for text in watching.texts if not text.startswith("insert into users values (9, "))
    assert "planrun/" in seen and CANARY not in seen
    assert "pg_dump" in seen or sys.platform != "linux"
    assert CANARY not in files_of(pair.folder / "state") and list((tmp_path / "tmp").iterdir()) == []
    for table in ("journal", "refresh", "member"):
        assert CANARY not in str(pair.ask(f"select t::text from planrun.{table} t"))


def test_a_wrong_password_of_one_side_is_not_told(pair: Pair) -> None:
    for one in ("SOURCE", "TARGET"):
        wrong = pair.env[f"PLANRUN_{one}_URL"].replace("clerk:", f"clerk:{CANARY}wrong")
        for words in ("diff", "apply --yes -o json", "status", "doctor"):
            done = pair.here(*words.split(), "plan.yml", env={f"PLANRUN_{one}_URL": wrong})
            assert CANARY not in done.output and "this is a bug" not in done.output, done.output


# ------------------------------------------------------------------ what a serialiser makes of them

ODD = 'Pa"ss\\wörd-Ünique-77'
TAKES = """
name: takes
params: {odd: {type: string, default: "${env.MY_SECRET}"}}
steps:
  - {id: make, uses: sql, with: {text: "create table kept (t text); insert into kept values ({{ t }})", values: {t: "${params.odd}"}}}
  - {id: show, uses: command, with: {argv: [sh, -c, 'echo "$PLANRUN_TARGET_URL $SHORT"'], env: [PLANRUN_TARGET_URL, SHORT_PASSWORD, SHORT]}}
"""  # noqa: E501


def test_a_secret_is_nowhere_however_it_was_written(new_db: Callable[[], str], tmp_path: Path) -> None:
    db = new_db()
    house = House(tmp_path, db, TAKES)
    house.write(TAKES.replace("params:", "connections: {target: {}}\nparams:"))
    house.env |= {
        "PLANRUN_TARGET_URL": conninfo.make_conninfo(db, password="S3cret-pw-1"),
        "MY_SECRET": ODD,
        "SHORT_PASSWORD": "abc-567",
        "SHORT": "abc-567",
    }
    del house.env["DATABASE_URL"]
    done = house.run("apply", "plan.yml", "--yes", "-o", "jsonl")
    assert done.code == 0, done.output
    with connect_to(db) as conn:
        assert conn.execute("select t from kept").fetchone() == (ODD,), "what runs has the real value"
        (journal,) = conn.execute("select string_agg(event::text, ' ') from planrun.journal").fetchone() or ("",)
    for text in (done.output, journal):
        for part in ("S3cret", "Ünique", "nique-77", "00dcnique", "abc-567"):
            assert part not in text, part
