"""A private server runs for root and for others, survives crashes, and leaves nothing behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from runner.errors import TargetError
from runner.server import embedded, programs
from tests.servers import Server, servers_here

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0

OWNER_SCRIPT = """
import sys, time
from pathlib import Path
from runner.server import embedded, programs
with embedded.private_server(programs.server_for(), base=Path(sys.argv[1])) as server:
    print(server.pid, server.words["host"], flush=True)
    time.sleep(60)
"""


def ask(words: dict[str, str], query: str) -> object:
    with psycopg.connect(psycopg.conninfo.make_conninfo(**words), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row and row[0]


def alive(pid: int) -> bool:
    """A zombie counts as dead: its parent is a test that has not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return not state.startswith("Z")


def is_gone_within(seconds: float, pid: int, folder: Path) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not alive(pid) and not list(folder.iterdir()):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def base() -> Iterator[Path]:
    """A short folder to put servers in; tmp_path is too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="pt", dir=embedded._default_base()) as folder:
        yield Path(folder)


# ------------------------------------------------------------------ life


def test_it_runs_privately_and_leaves_nothing(each_version: Server, base: Path) -> None:
    with embedded.private_server(each_version.programs, base=base) as server:
        assert ask(server.words, "show server_version_num") == ask(dict(each_version.words), "show server_version_num")
        assert ask(server.words, "show listen_addresses") == ""
        assert ask(server.words, "select datcollate from pg_database limit 1") == embedded.LOCALE
        folder = Path(server.words["host"])
        assert folder.parent == base
        assert not (folder / "programs").exists(), "35 MB copied for nothing"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(base.iterdir()) == []
    assert not alive(server.pid)


def test_settings_go_over_the_throwaway_ones(base: Path) -> None:
    with embedded.private_server(programs.server_for(), base=base, settings={"fsync": "on"}) as server:
        assert ask(server.words, "show fsync") == "on"
        assert ask(server.words, "show synchronous_commit") == "off"


def test_what_was_committed_survives_a_crash(crashable: Server) -> None:
    with crashable.admin() as connection:
        connection.execute("create table kept as select generate_series(1, 1000)")
        crashable.kill9()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select")
    crashable.start()
    assert ask(dict(crashable.words), "select count(*) from kept") == 1000


def test_stop_keeps_the_data(base: Path) -> None:
    with embedded.private_server(programs.server_for(), base=base) as server:
        with psycopg.connect(psycopg.conninfo.make_conninfo(**server.words)) as connection:
            connection.execute("create table kept ()")
        server.stop()
        assert not alive(server.pid)
        server.start()
        assert ask(server.words, "select count(*) from kept") == 0


def test_a_killed_server_is_cleaned_up_too(base: Path) -> None:
    segments = shared_memory()
    with embedded.private_server(programs.server_for(), base=base) as server:
        server.kill9()
    assert list(base.iterdir()) == []
    assert shared_memory() <= segments


def shared_memory() -> set[str]:
    """Return the System V segments that belong to nobody (no process attached)."""
    lines = subprocess.run(["ipcs", "-m"], capture_output=True, text=True).stdout.splitlines()
    return {words[1] for line in lines if len(words := line.split()) >= 6 and words[5] == "0"}


def test_two_at_once_do_not_meet(base: Path) -> None:
    these = programs.server_for()
    with (
        embedded.private_server(these, base=base) as one,
        embedded.private_server(these, base=base) as two,
    ):
        ask(one.words, "select 1")
        assert one.words["host"] != two.words["host"]
        assert ask(two.words, "select 1") == 1


def test_a_long_path_gets_its_socket_elsewhere(base: Path) -> None:
    deep = base / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with embedded.private_server(programs.server_for(), base=deep) as server:
        assert ask(server.words, "select 1") == 1
        sockets = Path(server.words["host"])
        assert server.log.is_relative_to(deep)
    assert not sockets.exists()
    assert list(deep.iterdir()) == []


def test_no_secret_of_ours_reaches_the_server(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "canary-1")
    monkeypatch.setenv("PLANRUN_TARGET_URL", "postgresql://u:canary-2@h/d")
    with embedded.private_server(programs.server_for(), base=base) as server:
        query = "select encode(pg_read_binary_file('/proc/self/environ', 0, 100000), 'escape')"
        seen = ask(server.words, query) if Path("/proc/self/environ").exists() else ""
        assert "canary" not in str(seen)
        assert "canary" not in server.log.read_text()


# ------------------------------------------------------------------ refusals


def test_a_bad_setting_is_told_with_the_log(base: Path) -> None:
    with (
        pytest.raises(TargetError, match=r"did not start.*no_such_setting"),
        embedded.private_server(programs.server_for(), base=base, settings={"no_such_setting": "1"}),
    ):
        pass
    assert list(base.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(base: Path) -> None:
    with (
        pytest.raises(TargetError, match=r"cannot run a private PostgreSQL.*nowhere"),
        embedded.private_server(programs.server_for(), base=base / "nowhere"),
    ):
        pass


def test_a_client_only_set_is_refused() -> None:
    client = replace(programs.server_for(), no_server="has no initdb")
    with pytest.raises(TargetError, match="has no initdb"), embedded.private_server(client):
        pass


def test_a_failing_initdb_is_told(base: Path) -> None:
    real = programs.server_for()
    fake = base / "bin"
    fake.mkdir()
    for name, text in (("postgres", "exit 0"), ("initdb", "echo no room; exit 3")):
        (fake / name).write_text(f"#!/bin/sh\n{text}\n")
        (fake / name).chmod(0o755)
    base.chmod(0o755)
    with (
        pytest.raises(TargetError, match=r"initdb .* failed: no room"),
        embedded.private_server(replace(real, bin=fake), base=base),
    ):
        pass
    assert list(base.iterdir()) == [fake]


def test_a_dead_watcher_is_told(base: Path) -> None:
    with embedded.private_server(programs.server_for(), base=base) as server:
        watcher = server._watcher._process
        watcher.kill()
        watcher.wait()
        with pytest.raises(TargetError, match="watcher process is gone"):
            server.stop()
        os.kill(server.pid, signal.SIGINT)
        shutil.rmtree(server.log.parent, ignore_errors=True)
    end = time.monotonic() + 10
    while alive(server.pid) and time.monotonic() < end:
        time.sleep(0.02)
    shutil.rmtree(server.log.parent, ignore_errors=True)


# ------------------------------------------------------------------ the death of the owner


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(number: signal.Signals, base: Path) -> None:
    with start_owner(base) as owner:
        assert owner.stdout
        pid, _ = owner.stdout.readline().split()
        owner.send_signal(number)
        owner.wait(10)
        assert is_gone_within(10, int(pid), base)


def test_a_signal_for_the_whole_terminal_does_not_stop_the_watcher(base: Path) -> None:
    """^C reaches every process of the foreground group; a service manager's SIGTERM reaches every process."""
    with start_owner(base) as owner:
        assert owner.stdout
        pid, _ = owner.stdout.readline().split()
        watcher = int(subprocess.run(["ps", "-o", "ppid=", "-p", pid], capture_output=True, text=True).stdout)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(watcher, number)
        os.killpg(owner.pid, signal.SIGINT)
        owner.wait(10)
        assert is_gone_within(10, int(pid), base)


def test_killed_while_it_starts(base: Path) -> None:
    """At any moment of the first 0.6 s: no folder, no server."""
    for delay in (0.15, 0.3, 0.45, 0.6):
        with start_owner(base) as owner:
            time.sleep(delay)
            owner.kill()
            owner.wait()
        end = time.monotonic() + 10
        while list(base.iterdir()) and time.monotonic() < end:
            time.sleep(0.02)
        assert list(base.iterdir()) == []


def start_owner(base: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER_SCRIPT, base],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


# ------------------------------------------------------------------ root, and others


def test_an_ordinary_user_needs_nothing_special(base: Path) -> None:
    """When we are root, another process of ours becomes `nobody` first."""
    if not AS_ROOT:
        assert embedded._run_as() == embedded._RunAs()
        return
    nobody = pwd.getpwnam("nobody")
    os.chown(base, nobody.pw_uid, nobody.pw_gid)
    lent = base / "programs"
    lent.mkdir()
    these = embedded._copy_programs(servers_here()[max(servers_here())], lent)
    shutil.copytree(ROOT / "runner", lent / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [shutil.which("python3", path="/usr/bin:/bin") or sys.executable, "-c", ONE_QUERY, base, these.bin],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd=lent,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert (done.returncode, done.stdout) == (0, "nobody 1\n"), done.stderr
    assert list(base.iterdir()) == [lent]


ONE_QUERY = """
import getpass, os, pwd, subprocess, sys
from pathlib import Path
from runner.server import embedded
from runner.server.programs import Programs
these = Programs(Path(sys.argv[2]), 0, "of the test")
with embedded.private_server(these, base=Path(sys.argv[1])) as server:
    argv = [these.tool("psql"), "-XAtc", "select 1", "-h", server.words["host"], "-U", "postgres"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
print(pwd.getpwuid(os.geteuid()).pw_name, said.strip())
"""


def test_root_without_user_namespaces_borrows_a_user(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: the programs lie where that user may not go, so it gets a copy of them."""
    if not AS_ROOT:
        assert embedded._run_as() == embedded._RunAs()
        return
    monkeypatch.setattr(embedded, "_run_as", lambda: embedded._RunAs(user=65534, group=65534))
    private = base / "private"
    private.mkdir(mode=0o700)
    base.chmod(0o755)
    these = embedded._copy_programs(servers_here()[max(servers_here())], private)
    with embedded.private_server(these, base=base) as server:
        assert ask(server.words, "select 1") == 1
        folder = server.log.parent
        assert folder.stat().st_uid == 65534
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (folder / "programs").is_dir()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert list(base.iterdir()) == [private]


def test_root_falls_back_where_namespaces_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    if not AS_ROOT:
        assert embedded._run_as() == embedded._RunAs()
        return
    monkeypatch.setenv("PATH", "/nowhere")
    embedded._run_as.cache_clear()
    try:
        who = embedded._run_as()
    finally:
        embedded._run_as.cache_clear()
    assert who.prefix == ()
    assert who.user


def test_root_without_anybody_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    if not AS_ROOT:
        assert embedded._run_as() == embedded._RunAs()
        return
    monkeypatch.setattr(embedded, "_user", lambda name: None)
    embedded._run_as.cache_clear()
    with pytest.raises(TargetError, match="refuses to run as root"):
        embedded._run_as()


def test_an_unknown_user_is_none() -> None:
    with suppress(KeyError):
        assert embedded._user(pwd.getpwuid(0).pw_name)
    assert embedded._user("no such user") is None
