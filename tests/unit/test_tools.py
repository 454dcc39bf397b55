"""Children: watched at both ends, killed with us, told by name, and never given a secret to show."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from psycopg import sql

from runner import tools
from runner.cancel import Cancel
from runner.errors import ConnectError, Interrupted, TargetError
from runner.tools import Child
from tests import servers
from tests.servers import Server

ENV = {"PATH": "/usr/bin:/bin"}


def child(*argv: str, cancel: Cancel | None = None, **more: object) -> Child:
    return Child(argv, env=ENV, cancel=cancel or Cancel(), **more)  # type: ignore[arg-type]


def sh(script: str, *, cancel: Cancel | None = None, **more: object) -> Child:
    return child("/bin/sh", "-c", script, cancel=cancel, **more)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


# ------------------------------------------------------------------ how it ends


def test_output_streams_and_the_end_is_checked() -> None:
    with sh("echo one; echo two") as made:
        assert b"".join(made.chunks()) == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no >&2; exit 7", "sh ended with exit code 7:\n    no"),
        ("kill -9 $$", "sh was killed by SIGKILL"),
        ("exit 1", "sh ended with exit code 1"),
        ("seq 1 9 >&2; exit 1", "exit code 1:\n    5\n    6\n    7\n    8\n    9"),
    ],
)
def test_a_failure_says_which_program_how_and_why(script: str, message: str) -> None:
    with pytest.raises(TargetError) as caught, sh(script) as made:
        list(made.chunks())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("said", "category", "kind", "hint"),
    [
        ("aborting because of server version mismatch", "", TargetError, "at least as new as the server"),
        ("ERROR:  permission denied for table x", "", TargetError, "grant select"),
        ("could not write to output file: No space left on device", "", TargetError, "free space"),
        ("canceling statement due to lock timeout", "lock", TargetError, "holds a lock"),
        ("server closed the connection unexpectedly", "connection", TargetError, "planrun doctor"),
        ('FATAL:  password authentication failed for user "x"', "connection", ConnectError, "planrun doctor"),
        ("query would be affected by row-level security policy", "", TargetError, "BYPASSRLS"),
    ],
)
def test_what_programs_say_is_understood(said: str, category: str, kind: type[TargetError], hint: str) -> None:
    with pytest.raises(TargetError) as caught, sh(f"echo '{said}' >&2; exit 1") as made:
        made.finish()
    assert type(caught.value) is kind and caught.value.category == category
    assert hint in caught.value.hint and said in caught.value.message


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(TargetError, match="program no-such-thing was not found"), child("no-such-thing"):
        pass


def test_a_flood_of_messages_keeps_the_last_64_kb() -> None:
    with sh("yes message | head -c 5000000 >&2; echo last >&2") as made:
        made.finish()
    assert len(made.messages) <= tools.KEPT + 10 and made.messages.endswith("last\n")


def test_secrets_are_not_repeated() -> None:
    with (
        pytest.raises(TargetError) as caught,
        sh("echo the word is topsecret >&2; exit 1", hide=("topsecret",)) as made,
    ):
        made.finish()
    assert "the word is ***" in str(caught.value) and "topsecret" not in str(caught.value)


def test_leaving_early_ends_the_child_and_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(ZeroDivisionError), sh(f"sleep 60 & echo $! $$ > {pids}; wait"):
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        _ = 1 / 0
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not alive(pid))  # type: ignore[misc]


# ------------------------------------------------------------------ both ends of a pipe


def test_what_is_written_reaches_it() -> None:
    with child("cat", feed=True) as made:
        made.write(b"some text")
        ending = threading.Thread(target=made.finish)
        ending.start()
        assert made.output.read() == b"some text"
        ending.join()


def test_a_reader_that_fails_is_told_to_the_writer() -> None:
    with (
        pytest.raises(TargetError, match=r"exit code 3:\n    cannot"),
        sh("echo cannot >&2; exit 3", feed=True) as made,
    ):
        for _ in range(1000):
            made.write(b"x" * 65536)


def test_a_reader_that_stops_early_without_a_failure_is_one() -> None:
    with pytest.raises(TargetError, match="ended before it had read everything"), sh("exit 0", feed=True) as made:
        for _ in range(1000):
            made.write(b"x" * 65536)


def test_run_gives_the_output_and_each_line_as_it_comes() -> None:
    lines: list[str] = []
    done = tools.run(("/bin/sh", "-c", "echo one; echo two >&2"), env=ENV, cancel=Cancel(), on_line=lines.append)
    assert done == "one\n" and sorted(lines) == ["one", "two"]


def test_a_call_feeds_its_source_and_may_allow_other_codes() -> None:
    argv = ("/bin/sh", "-c", "cat; exit 4")
    done = tools.call(argv, env=ENV, cancel=Cancel(), source=[b"a", b"b"], allowed=(0, 4))
    assert (done.code, done.output) == (4, "ab")


def test_a_call_keeps_the_end_of_a_long_output() -> None:
    done = tools.call(("seq", "1", "100000"), env=ENV, cancel=Cancel(), keep=1000)
    assert len(done.output) <= 1000 and done.output.endswith("99999\n100000\n")


# ------------------------------------------------------------------ cancel and death


def test_a_cancel_ends_a_child_that_waits() -> None:
    cancel, began = Cancel(), time.monotonic()
    threading.Timer(0.2, cancel.cancel, (Interrupted("stopped", signal=signal.SIGINT),)).start()
    with pytest.raises(Interrupted, match="stopped"), child("sleep", "60", cancel=cancel) as made:
        list(made.chunks())
    assert time.monotonic() - began < 3


def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "GRACE", 0.3)
    cancel = Cancel()
    with pytest.raises(Interrupted), sh("trap '' TERM; echo ready; while :; do sleep 0.1; done", cancel=cancel) as made:
        made.output.readline()
        cancel.cancel(Interrupted("stopped", signal=signal.SIGTERM))
        list(made.chunks())


def test_a_cancel_before_the_start_starts_nothing(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.cancel(Interrupted("stopped", signal=signal.SIGINT))
    with pytest.raises(Interrupted), sh(f"touch {tmp_path}/ran", cancel=cancel):
        pass
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="who is alive is read in /proc")
def test_a_child_dies_with_planrun(tmp_path: Path) -> None:
    code = (
        "import sys; from runner.cancel import Cancel; from runner.tools import Child\n"
        "with Child(('sleep', '60'), env={'PATH': '/usr/bin:/bin'}, cancel=Cancel()) as made:\n"
        "    print(made._process.pid, flush=True); list(made.chunks())"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not alive(pid))


# ------------------------------------------------------------------ what it may know


def test_only_named_variables_reach_a_child() -> None:
    env = {"PATH": "p", "LC_TIME": "c", "AWS_SECRET": "s", "PGPASSWORD": "s", "MINE": "m"}
    assert tools.environment(env) == {"PATH": "p", "LC_TIME": "c"}
    assert tools.environment(env, ["MINE", "OTHER"]) == {"PATH": "p", "LC_TIME": "c", "MINE": "m"}


def test_connection_words_become_variables_and_the_rest_a_conninfo() -> None:
    words = {"host": "h", "dbname": "d b", "keepalives_idle": "15", "options": "-c x='y'", "password": "p"}
    with tools.access(words, {"PGPORT": "1", "PGPASSWORD": "old", "SECRET": "x"}) as door:
        assert door.conninfo == "keepalives_idle='15' client_encoding='UTF8'"
        assert {k: v for k, v in door.env.items() if k != "PGPASSFILE"} == {
            "PGHOST": "h", "PGDATABASE": "d b", "PGPORT": "1", "PGOPTIONS": "-c x='y'", "LC_ALL": "C",
        }  # fmt: skip
        assert door.hide == ("p",) and "p" not in door.env.values()


@pytest.mark.parametrize("with_memfd", [True, False])
def test_the_password_file_is_private_and_escaped(monkeypatch: pytest.MonkeyPatch, with_memfd: bool) -> None:
    if not with_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with tools.access({"password": "p:a\\ss'w"}, {}) as door:
        path = Path(door.env["PGPASSFILE"])
        assert path.read_text() == "*:*:*:*:p\\:a\\\\ss'w\n"
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    with servers.server_with_passwords() as server:
        yield server


@pytest.mark.parametrize("with_memfd", [True, False])
@pytest.mark.parametrize("password", ["simple", "p:a\\ss'w", 'ä "x" $y'])
def test_a_password_reaches_psql_through_the_file(
    strict: Server, password: str, with_memfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    role = f"r_{secrets.token_hex(4)}"
    with strict.admin() as conn:
        conn.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(role), password))
    assert psql(strict, {"user": role, "password": password}) == ("in\n", "")
    assert psql(strict, {"user": role}, PGPASSWORD=password) == ("in\n", "")
    with pytest.raises(ConnectError, match="authentication failed") as caught:
        psql(strict, {"user": role, "password": "wr0ng"})
    assert "wr0ng" not in str(caught.value)


def psql(server: Server, words: Mapping[str, str], **env: str) -> tuple[str, str]:
    with tools.access({**server.words, **words}, {**ENV, **env}) as door:
        argv = (server.programs.tool("psql"), "-XAtw", f"--dbname={door.conninfo}", "-c", "select 'in'")
        done = tools.call(argv, env=door.env, cancel=Cancel(), pass_fds=door.pass_fds)
    return done.output, done.messages
