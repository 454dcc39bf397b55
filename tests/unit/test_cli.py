"""The command line in this process: exit codes, what goes where, JSON, help, and text that data cannot bend."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import jsonschema
import psycopg
import pytest
from psycopg import sql

from runner import cli
from runner.api import load_plan
from runner.cancel import Cancel
from runner.cli import main
from runner.cli.common import Terminal
from runner.database.connections import Connections
from runner.database.run_lock import RunLock, application_name
from runner.errors import PlanrunError
from tests import junit
from tests.made import HOSTILE, RAW, clean

ROOT = Path(__file__).parents[2]
PLAN = """
name: p
params: {n: {type: integer, default: 1, description: A number.}}
steps:
  - {id: make, uses: sql, with: {text: create table if not exists made (n int)}}
  - {id: look, uses: query, with: {text: select count(*) as n from pg_class}}
  - {id: never, when: look.row.n < 0, uses: sql, with: {text: drop table made}}
rollback:
  - {id: back, uses: sql, with: {text: drop table if exists made}}
"""
FAILS = "name: p\nsteps: [{id: bad, uses: check, with: {text: 'select relname from pg_class limit 1'}}]\n"
SLEEPS = "name: p\nsteps: [{id: sleep, uses: sql, with: {text: 'select pg_sleep(50)'}}]\n"
SLEEPING = "select 1 from pg_stat_activity where query = 'select pg_sleep(50)' and state = 'active'"
SAVES = "backup: {path: backups, format: copy, retention_days: 3650}\n"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Planrun = Callable[..., Said]


class Typist(io.StringIO):
    """A terminal where this was typed; as it is no file, nothing can be waited for."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("DATABASE_URL", "host=127.0.0.1 port=1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def planrun(home: Path, capsys: pytest.CaptureFixture[str]) -> Planrun:
    def run(*words: str) -> Said:
        return Said(main(words), *capsys.readouterr())

    return run


@pytest.fixture
def live(home: Path, db: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", db)
    return db


# ------------------------------------------------------------------ help


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


@pytest.mark.parametrize("words", [(), *every_command(cli.group)], ids=lambda words: " ".join(words) or "planrun")
def test_every_help_says_what_it_does_and_has_an_example(words: tuple[str, ...], planrun: Planrun) -> None:
    said = planrun(*words, "--help")
    assert said.code == 0 and said.err == "" and said == planrun(*words, "-h")
    assert f"Usage: planrun {' '.join(words)}".strip() in said.out
    flat = " ".join(said.out.split())
    if words:
        assert "Example" in flat and f"planrun {' '.join(words)}" in flat.partition("Example")[2], flat
        assert len(flat.split("Options:")[0]) > 60, "one sentence at least"
    else:
        assert "planrun demo" in flat and all(name in flat for name in cli.COMMANDS)


def test_commands_are_listed_with_what_they_do(planrun: Planrun) -> None:
    for name in cli.COMMANDS:
        command = cli.group.get_command(click.Context(cli.group), name)
        assert command is not None and command.help
    assert planrun("--version").out.startswith("planrun")


# ------------------------------------------------------------------ exit codes


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


def fail(*words: Any, **more: Any) -> Any:
    raise ValueError("s3cret")


@pytest.mark.parametrize(
    ("code", "plan", "words", "said"),
    [
        (0, PLAN, ["validate", "p.yml"], "ok"),
        (0, PLAN, ["apply", "p.yml", "--yes"], "p: ok"),
        (0, PLAN, ["diff", "p.yml"], "would run"),
        (1, FAILS, ["apply", "p.yml", "--yes"], "check failed"),
        (1, FAILS, ["diff", "p.yml"], "check failed"),
        (1, PLAN, ["apply", "p.yml"], "--yes"),
        (2, PLAN, ["diff", "p.yml", "--detailed-exitcode"], "would run"),
        (5, "name: p\nsteps: [{id: a, uses: sqll}]\n", ["validate", "p.yml"], "sqll"),
        (5, "name: p\nsteps: [{id: a, uses: sqll}]\n", ["apply", "p.yml", "--yes"], "sqll"),
        (5, PLAN, ["diff", "none.yml"], "none.yml"),
        (64, PLAN, ["aply", "p.yml"], "aply"),
        (64, PLAN, ["apply", "p.yml", "--nope"], "--nope"),
        (64, PLAN, ["apply", "p.yml", "--yes", "--until", "nope"], "nope"),
        (64, PLAN, ["apply", "p.yml", "--yes", "--resume"], "no unfinished run"),
        (64, PLAN, ["diff"], "PLAN"),
        (64, PLAN, ["diff", "p.yml", "-o", "xml"], "xml"),
        (64, FAILS, ["rollback", "p.yml", "--yes"], "rollback"),
        (64, PLAN, ["explain", "p.yml"], "has not been run"),
        (64, PLAN, ["init", "--job", "nightly", "-o", "p.yml"], "already there"),
    ],
)
def test_exit_codes(code: int, plan: str, words: list[str], said: str, home: Path, live: str, planrun: Planrun) -> None:
    (home / "p.yml").write_text(plan)
    found = planrun(*words)
    assert found.code == code, found
    assert said in found.out + found.err
    assert "Traceback" not in found.err


def test_no_server_is_4(planrun: Planrun) -> None:
    for words in (["diff", "p.yml"], ["apply", "p.yml", "--yes"], ["status", "p.yml"], ["doctor"]):
        found = planrun(*words)
        assert found.code == 4, found
        assert "connect" in found.out + found.err


def test_a_backup_that_is_damaged_is_6(home: Path, live: str, planrun: Planrun) -> None:
    (home / "p.yml").write_text(SAVES)
    with psycopg.connect(live) as conn:
        conn.execute("create table _cdc_a as select 1 as n")
    assert planrun("apply", "p.yml", "--yes").code == 0
    (dump,) = home.glob("backups/*/_cdc_a.sql")
    dump.write_text(dump.read_text().replace("COPY", "CORY"))
    found = planrun("backups", "verify", "p.yml", "--level", "1")
    assert found.code == 6 and "_cdc_a.sql" in found.err


def test_another_run_is_11_and_is_named(live: str, planrun: Planrun) -> None:
    lock = RunLock(Connections({}, {"DATABASE_URL": live}, application=application_name("r-1")), "", "p")
    try:
        found = planrun("apply", "p.yml", "--yes")
        assert found.code == 11 and "r-1" in found.err and str(os.getpid()) in found.err
        assert "running now" in planrun("status", "p.yml").out
    finally:
        lock.close()


def test_a_bug_is_70_with_a_trace_that_holds_no_value(
    home: Path, live: str, planrun: Planrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.api.diff", fail)
    found = planrun("diff", "p.yml", "--set", "n=77177")
    assert found.code == 70 and "Traceback" not in found.err and "s3cret" not in found.err
    (trace,) = (home / "state" / "bugs").iterdir()
    text = trace.read_text()
    assert str(trace) in found.err and "ValueError" in text and "in fail" in text
    assert "s3cret" not in text and "77177" not in text
    assert trace.stat().st_mode & 0o777 == 0o600


def test_a_bug_where_nothing_can_be_written_is_told_all_the_same(
    home: Path, planrun: Planrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.api.diff", fail)
    monkeypatch.setattr("runner.cli.bug._folders", lambda: [home / "p.yml"])
    found = planrun("diff", "p.yml")
    assert found.code == 70 and "in fail" in found.err and "s3cret" not in found.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_what_runs(number: signal.Signals, code: int, home: Path, live: str, planrun: Planrun) -> None:
    (home / "p.yml").write_text(SLEEPS)
    done = threading.Event()

    def send() -> None:
        with psycopg.connect(live, autocommit=True) as conn:
            while not done.is_set():
                if conn.execute(SLEEPING).fetchone():
                    os.kill(os.getpid(), number)
                    return
                time.sleep(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        found = planrun("apply", "p.yml", "--yes")
    finally:
        done.set()
        sender.join()
    assert found.code == code and "interrupted" in found.out and number.name in found.err
    assert signal.getsignal(number) is not None


def test_the_end_of_a_run_is_declined_without_a_terminal_or_by_no(
    home: Path, live: str, planrun: Planrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Typist("n\n"))
    found = planrun("apply", "p.yml")
    assert found.code == 1 and "declined" in found.out
    with psycopg.connect(live) as conn:
        assert conn.execute("select to_regclass('made'), to_regnamespace('planrun')").fetchone() == (None, None)


# ------------------------------------------------------------------ what goes where


def parse_json(text: str) -> Any:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


SCHEMA = json.loads((ROOT / "schemas" / "output.schema.json").read_text())


def of_the_schema(text: str) -> dict[str, Any]:
    """Return a document of `-o json`, which must be one of the published schema."""
    data: dict[str, Any] = parse_json(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    return data


@pytest.mark.parametrize(
    "words",
    [
        ["validate", "p.yml"],
        ["validate", "none.yml"],
        ["render", "p.yml"],
        ["diff", "p.yml"],
        ["diff", "none.yml"],
        ["apply", "p.yml", "--yes"],
        ["apply", "p.yml"],
        ["rollback", "p.yml", "--yes"],
        ["status", "p.yml"],
        ["history", "p.yml"],
        ["explain", "p.yml"],
        ["explain", "p.yml", "nope"],
        ["explain", "PR0401"],
        ["explain", "find_tables.prefix"],
        ["explain", "nothing"],
        ["doctor", "p.yml"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_json_is_all_of_stdout_and_has_a_version(words: list[str], live: str, planrun: Planrun) -> None:
    for command in (["apply", "p.yml", "--yes"], words):
        found = planrun(*command, "-o", "json")
        data = of_the_schema(found.out)
        assert found.code == 0 or "error" in data or data["valid"] is False
    if words[0] in ("apply", "rollback") and "--yes" in words:
        assert "begins" in found.err, "progress is on stderr"


@pytest.mark.parametrize("verb", ["list", "verify", "prune", "restore"])
def test_json_of_backups(verb: str, home: Path, live: str, planrun: Planrun) -> None:
    (home / "p.yml").write_text(SAVES)
    with psycopg.connect(live) as conn:
        conn.execute("create table _cdc_a as select 1 as n")
    assert planrun("apply", "p.yml", "--yes").code == 0
    more = {"verify": ["--level", "1"], "prune": ["--dry-run"], "restore": ["latest", "--as-schema", "x", "--yes"]}
    found = planrun("backups", verb, "p.yml", *more.get(verb, []), "-o", "json")
    assert found.code == 0 and of_the_schema(found.out)["plan"] is not None


FAILURES = [
    ["diff", "none.yml"], ["diff"], ["diff", "p.yml", "--nope"], ["apply", "p.yml", "--until", "nope"],
    ["apply", "p.yml", "--resume"], ["explain", "p.yml", "nope"], ["rollback", "none.yml"], ["validate", "none.yml"],
    ["backups", "verify", "p.yml"], ["nope"], ["backups", "restore", "p.yml", "nope"], ["doctor", "none.yml"],
    ["diff", "p.yml", "--set", "nope=1"],
]  # fmt: skip


@pytest.mark.parametrize("words", FAILURES, ids=" ".join)
def test_the_json_of_a_failure_is_that_of_the_schema(words: list[str], live: str, planrun: Planrun) -> None:
    found = planrun(*words, "-o", "json")
    data = of_the_schema(found.out)
    assert found.code != 0 and data["state"] in ("failed", "invalid")
    assert data.get("exit_code", found.code) == found.code
    assert data["plan"] in (None, "p")


def test_an_error_after_the_plan_was_read_names_it(live: str, planrun: Planrun) -> None:
    assert of_the_schema(planrun("apply", "p.yml", "--resume", "-o", "json").out)["plan"] == "p"


def test_a_server_that_is_not_there_is_told_with_the_plan_and_the_target(
    planrun: Planrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "host=/nowhere")
    found = planrun("diff", "p.yml", "-o", "json")
    data = of_the_schema(found.out)
    assert (found.code, data["error"]["exit_code"], data["plan"]) == (4, 4, "p")
    assert "/nowhere" in data["target"] and data["databases"] == [data["target"]]


@pytest.mark.parametrize("command", [["diff"], ["apply", "--yes"], ["rollback", "--yes"]], ids=" ".join)
def test_jsonl_is_one_object_a_line(command: list[str], live: str, planrun: Planrun) -> None:
    found = planrun(command[0], "p.yml", *command[1:], "-o", "jsonl")
    events = [parse_json(line) for line in found.out.splitlines()]
    assert {event["format_version"] for event in events} == {1}
    assert events[0]["event"] == "run_began" and events[-1]["event"] == "run_ended"


def test_an_error_is_one_more_line_of_jsonl(home: Path, live: str, planrun: Planrun) -> None:
    assert planrun("apply", "none.yml", "-o", "jsonl").out.count("\n") == 1
    found = planrun("apply", "p.yml", "-o", "jsonl")  # there is nobody to ask
    events = [parse_json(line) for line in found.out.splitlines()]
    assert [event["event"] for event in events][:1] == ["run_began"] and len(events) > 2
    last = events[-1]
    assert (last["event"], last["format_version"], last["error"]["exit_code"]) == ("error", 1, found.code)
    assert "no terminal" in last["error"]["message"] and set(events[0]) & {"at"} <= set(last)
    assert planrun("diff", "none.yml", "-o", "json").out.startswith("{\n  ")


def test_stdout_holds_the_result_and_stderr_the_progress(live: str, planrun: Planrun) -> None:
    found = planrun("apply", "p.yml", "--yes")
    place, result = found.out.splitlines()
    assert place.startswith("target: ") and result.startswith("p: ok in ")
    assert "make: sql begins" in found.err and "Plan p" in found.err
    assert planrun("diff", "p.yml").err == ""
    assert planrun("diff", "p.yml", "-o", "markdown").out.startswith("<!-- planrun:p -->\n### ")
    assert planrun("apply", "p.yml", "--yes", "-o", "markdown").out.startswith("<!-- planrun:p -->\n### ")


def test_errors_go_to_stderr_with_a_hint(planrun: Planrun) -> None:
    found = planrun("diff", "p.yml")
    assert found.out == "" and found.err.startswith("error: ") and "hint: " in found.err
    found = planrun("diff", "p.yml", "--output=json")
    assert found.err == "" and parse_json(found.out)["error"]["exit_code"] == 4 == found.code


# ------------------------------------------------------------------ one command after the other


def test_status_history_and_explain_tell_one_story(home: Path, live: str, planrun: Planrun) -> None:
    assert "never run" in planrun("status", "p.yml").out and "never run" in planrun("history", "p.yml").out
    assert planrun("apply", "p.yml", "--yes", "--until", "make").code == 0
    assert "--resume" in planrun("status", "p.yml").out
    assert planrun("apply", "p.yml", "--yes", "--resume").code == 0
    (run,) = [run.id for run in api_history(home, live)]
    status = planrun("status", "p.yml").out
    assert run in status and "never: skipped" in status and "next:" not in status
    assert planrun("history", "p.yml").out.count("\n") == 2
    for words in (["explain", "p.yml"], ["explain", "p.yml", "last"], ["explain", "p.yml", run]):
        assert "when look.row.n < 0" in planrun(*words).out
    one = planrun("explain", "p.yml", run, "make").out
    assert "create table" in one and "look" not in one
    for words in (["explain", "p.yml", run, "mkae"], ["explain", "p.yml", "nope"]):
        assert planrun(*words).code == 64
    assert "make" in planrun("explain", "p.yml", run, "mkae").err, "did you mean"
    assert planrun("rollback", "p.yml", "--yes").code == 0
    assert planrun("history", "p.yml").out.count("\n") == 3
    for words in (["diff", "p.yml"], ["status", "p.yml"], ["history", "p.yml"], ["explain", "p.yml"]):
        first = planrun(*words).out.splitlines()[0]
        assert re.fullmatch(r"target: t_\w+ at \S+:\d+ as \w+, from DATABASE_URL", first), words
    for words in (["diff", "p.yml", "-o", "json"], ["status", "p.yml", "-o", "json"]):
        assert parse_json(planrun(*words).out)["databases"][0].startswith("target: ")
    with psycopg.connect(live) as conn:
        assert conn.execute("select to_regclass('made')").fetchone() == (None,)


def api_history(home: Path, db: str) -> Any:
    from runner import api

    return api.history(load_plan(home / "p.yml"), env={"DATABASE_URL": db})


def test_offline_commands_need_no_server(home: Path, planrun: Planrun) -> None:
    assert "create table if not exists made" in planrun("render", "p.yml").out
    assert planrun("graph", "p.yml").out.startswith("flowchart")
    assert planrun("reference").out.startswith("#")
    for words in (["schema"], ["schema", "--template"]):
        assert parse_json(planrun(*words).out)["$schema"]
    for shell in ("bash", "zsh", "fish"):
        assert "_PLANRUN_COMPLETE" in planrun("completion", shell).out
    assert planrun("validate", "p.yml", "p.yml").out.count("ok") >= 1
    found = planrun("validate", "p.yml", "none.yml")
    assert found.code == 5 and "none.yml" in found.err
    assert planrun("validate", "none.yml", "-o", "github").out.startswith("::error file=none.yml")


def test_a_diff_that_cannot_begin_is_told_in_the_format_of_the_pull_request(home: Path, planrun: Planrun) -> None:
    told = planrun("diff", "p.yml", "-o", "github")
    assert told.code == 4 and told.out.startswith("::error title=planrun::target: ") and "error: " in told.err
    (case,) = junit.cases(planrun("diff", "p.yml", "-o", "junit").out).values()
    assert "cannot connect" in case[0].attrib["message"]
    (home / "bad.yml").write_text("name: p\nsteps:\n  - {id: a, uses: sqll}\n")
    assert planrun("diff", "bad.yml", "-o", "github").out.startswith("::error file=bad.yml,line=3,")
    assert list(junit.cases(planrun("diff", "bad.yml", "-o", "junit").out)) == ["bad.yml"]


def test_validate_reports_for_other_tools(home: Path, planrun: Planrun) -> None:
    (home / "bad.yml").write_text("name: p\nsteps:\n  - {id: a, uses: sqll}\n")
    files = ("p.yml", str(home / "bad.yml"))
    (one,) = parse_json(planrun("validate", *files, "-o", "gitlab").out)
    assert one["location"] == {"path": "bad.yml", "lines": {"begin": 3}}
    (run,) = parse_json(planrun("validate", *files, "-o", "sarif").out)["runs"]
    assert run["results"][0]["message"]["text"].startswith("there is no kind or template 'sqll'")
    found = junit.cases(planrun("validate", *files, "-o", "junit").out)
    assert {name: len(case) for name, case in found.items()} == {"p.yml": 0, "bad.yml": 1}
    for form in ("github", "gitlab", "sarif", "junit"):
        assert planrun("validate", *files, "-o", form).code == 5 and planrun("validate", "p.yml", "-o", form).code == 0


GUARDED = """\
name: p
steps:
  - {id: detect, uses: find_tables, with: {prefix: _cdc_, allow_empty: true}}
  - {id: save, when: detect.count > 0, uses: pg_dump, with: {to: ./b}}
  - {id: wipe, when: save.ok, uses: sql, with: {text: drop table _cdc_users}}
  - {id: count, when: true, acknowledge: it only reads, uses: sql, with: {text: call count_them()}}
"""


def test_validate_shows_how_a_loss_is_protected_and_refuses_a_way_around(home: Path, planrun: Planrun) -> None:
    (home / "good.yml").write_text(GUARDED)
    assert planrun("validate", "good.yml").out == "good.yml: ok\n"
    assert planrun("validate", "good.yml", "-v").out == (
        "good.yml: ok\n"
        "  wipe <- save.ok (any backup counts: the tables are known only during the run)\n"
        "  count: acknowledged: it only reads\n"
    )
    (home / "bad.yml").write_text(GUARDED.replace("when: save.ok", "when: not save.failed"))
    said = planrun("validate", "bad.yml", "-v")
    assert said.code == 5 and not said.out
    assert "bad.yml:5:22: PR0210 drop table _cdc_users: when not save.failed: wipe runs although save was skipped" in (
        said.err
    )
    assert "because detect.count is 0" in said.err and "hint: add `save.ok` to the `when:`" in said.err


@pytest.mark.parametrize("command", ["diff", "apply"])
def test_a_plan_with_a_way_around_is_neither_shown_nor_done(command: str, home: Path, planrun: Planrun) -> None:
    (home / "bad.yml").write_text(GUARDED.replace("when: save.ok", "when: detect.ok"))
    said = planrun(command, "bad.yml")
    assert said.code == 5 and "PR0210" in said.err, "before it looks for a server"


def test_doctor_says_what_is_there_and_what_to_type(home: Path, live: str, planrun: Planrun) -> None:
    (home / "p.yml").write_text(SAVES)
    found = planrun("doctor", "p.yml")
    assert found.code == 0, found
    assert "PostgreSQL" in found.out and "pg_dump" in found.out and "free at" in found.out
    data = parse_json(planrun("doctor", "p.yml", "-o", "json").out)
    assert {finding["level"] for finding in data["findings"]} <= {"ok", "warn", "fail"}


def test_completion_completes_commands_and_options(
    planrun: Planrun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(cli.group, {}, "planrun", "_PLANRUN_COMPLETE")
    assert "apply" in [item.value for item in complete.get_completions([], "a")]
    assert "--resume" in [item.value for item in complete.get_completions(["apply"], "--r")]
    assert "verify" in [item.value for item in complete.get_completions(["backups"], "v")]


# ------------------------------------------------------------------ hostile data


def hostile_database(db: str) -> None:
    named = HOSTILE.encode()[:50].decode(errors="ignore")
    with psycopg.connect(db, autocommit=True) as conn:
        for name in (f"_cdc_{named}", "_cdc_\n\x1b[31m\u202e\nerror: `faked`", "_cdc_[bold]x[/]"):
            conn.execute(sql.SQL("create table {} as select 1 as n").format(sql.Identifier(name)))
        conn.execute(sql.SQL("create view {} as select 1 as n").format(sql.Identifier("_cdc_view\x1b[2J\x9b1m")))


HOSTILE_PLAN = """
name: p
backup: {path: backups, format: copy, retention_days: 30}
steps:
  - {id: save, uses: backup}
  - {id: list, uses: query, with: {text: "select relname as name from pg_class where starts_with(relname, '_cdc_')"}}
  - {id: ask, uses: confirm, with: {message: "Is it ${steps.list.rows} ?"}}
  - id: each
    for_each: list.rows
    uses: command
    with: {argv: [printf, '%s\\n', "${item.name}"]}
  - id: bad
    on_error: warn
    uses: check
    with: {text: "select relname from pg_class where starts_with(relname, '_cdc_')"}
  - id: words
    on_error: warn
    uses: sql
    with: {text: "do $$ begin raise exception '%', (select string_agg(relname, ' ') from pg_class); end $$"}
"""


def test_hostile_names_reach_no_terminal(home: Path, live: str, planrun: Planrun) -> None:
    hostile_database(live)
    (home / "p.yml").write_text(HOSTILE_PLAN)
    every = [
        *(["diff", "p.yml", *form] for form in ([], ["-v"], ["-o", "json"], ["-o", "jsonl"], ["-o", "markdown"])),
        *(["apply", "p.yml", "--yes", "-o", form] for form in ("text", "jsonl")),
        ["status", "p.yml"],
        ["explain", "p.yml"],
        ["explain", "p.yml", "-o", "json"],
        ["backups", "list", "p.yml"],
        ["backups", "verify", "p.yml", "--level", "2"],
        ["backups", "restore", "p.yml", "latest", "--yes"],
        ["backups", "restore", "p.yml", "latest", "--table", HOSTILE, "--yes"],
        ["doctor", "p.yml"],
    ]
    for words in every:
        found = planrun(*words)
        assert found.code != 70, (words, found.err)
        for stream in (found.out, found.err):
            assert not RAW.search(stream), (words, RAW.search(stream))
            if "-o" not in words:
                clean(stream)
    names = [path.name for path in home.glob("backups/*/*")]
    assert names and all(not RAW.search(name) and "\n" not in name for name in names)


@pytest.mark.parametrize("command", ["validate", "diff"])
def test_hostile_plans_reach_no_terminal(command: str, home: Path, planrun: Planrun) -> None:
    odd = json.dumps(HOSTILE, ensure_ascii=True)
    for text in (
        f"name: {odd}\nsteps: []\n",
        f"name: p\n{odd}: 1\nsteps: [{{id: a, uses: {odd}}}]\n",
        f"name: p\nsteps: [{{id: a, uses: sql, when: {odd}, with: {{text: {odd}, {odd}: 1}}}}]\n",
        f"name: p\nparams: {{n: {{type: integer, default: {odd}}}}}\nsteps: [{{id: {odd}, uses: sql}}]\n",
    ):
        (home / "p.yml").write_text(text)
        for form in ("text", "json"):
            found = planrun(command, "p.yml", "-o", form)
            assert found.code == 5 and not RAW.search(found.out + found.err), found


def test_a_question_cannot_draw(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Typist("y\nyes\nyes\n"))
    terminal = Terminal(Cancel())
    assert terminal.ask(HOSTILE) and terminal.ask(HOSTILE, "yes") and not terminal.ask("x", HOSTILE)
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("[y/N]: ") == 1 and said.err.count(" to go on: ") == 2
    assert not RAW.search(said.err)
    assert Terminal(Cancel(), yes=True).ask("x")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(PlanrunError, match="no terminal"):
        terminal.ask("x")
