"""What is told of a run, in every place at once: all agree, none changes the run, and none holds a secret."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import api
from runner.errors import ConnectError
from runner.events import Event, RunEnded, StepEnded, Warned, to_json
from runner.planfile import open_plan
from runner.result import RunResult
from runner.words import one_line
from tests.commandline import ROOT, wait_for
from tests.receiver import Receiver, Request, receiver

CANARIES = {"KEY": "canaryKEY-9f31", "API_TOKEN": "canaryTOKEN-77aa", "PATH_TOKEN": "canaryPATH5b2c"}

PLAN = """
name: told
steps:
  - {id: make, uses: sql, with: {text: create table if not exists t (n int)}}
  - {id: work, uses: command, with: {argv: [sh, -c, "touch at_work; test ! -e fail && { test -e hurry || sleep 30; }"]}}
on_failure:
  - {id: page, uses: command, with: {argv: [sh, -c, "echo $API_TOKEN >&2; exit 7"], env: [API_TOKEN]}}
on_exit:
  - {id: say, uses: command, with: {argv: [sh, -c, "echo token $API_TOKEN $KEY $HOOK"], env: [API_TOKEN, KEY, HOOK]}}
  - {id: bye, uses: sql, with: {text: insert into t values (1)}}
notify:
  - {webhook: "${env.HOOK}", secret: "${env.KEY}"}
  - {ping: "${env.PING}"}
  - {url: "${env.APP}", on: [start, exit]}
  - {webhook: "${env.DOWN}", secret: "${env.KEY}", on: [failure], timeout: 1s}
rollback:
  - {id: back, uses: sql, with: {text: insert into t values (2)}}
"""

TELL = """
import contextlib, os, sys
from functools import partial
from pathlib import Path
from runner import api
from runner.cli import apply
from runner.cli.metrics_sink import metrics_sinks
from runner.cli.report_sink import report_address, report_to
from runner.planfile import open_plan
from runner.report.results import listen

class Text:
    name = "text"
    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.event = self.stack.enter_context(listen("text")).event
    def close(self):
        self.stack.close()

class Fails:
    name = "fails"
    def event(self, event):
        raise OSError("no space left on device")
    def close(self):
        pass

plan = open_plan(Path("plan.yml"), env=os.environ)
more = {"resume": True} if "resume" in sys.argv else {}
call = lambda **hooks: api.apply(plan, report=report_address("out", plan.name), **more, **{**hooks, "approve": None})
with report_to("out", partial(api.records, plan)) as pages, metrics_sinks("metrics.prom", plan, "apply") as numbers:
    sinks = [Fails(), Text(), *pages, *numbers]
    sys.exit(apply.run(call, "jsonl", yes=True, verbose=False, sinks=sinks))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def variables(server: Receiver, folder: Path, db: str) -> dict[str, str]:
    token = CANARIES["PATH_TOKEN"]
    urls = {name: server.url(f"{folder.name}/{name}/{token}") for name in ("HOOK", "PING")}
    urls |= {"APP": server.url(f"{folder.name}/APP/{token}", "json"), "DOWN": f"http://127.0.0.1:1/{token}"}
    return {**os.environ, **CANARIES, **urls, "DATABASE_URL": db, "PLANRUN_STATE_DIR": str(folder), "CI": "1"}


def journal(db: str) -> list[dict[str, Any]]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute("select event from planrun.journal order by id").fetchall()]


class Attempt:
    """One attempt at the plan with all sinks at once, and what each of them got."""

    def __init__(
        self, server: Receiver, folder: Path, db: str, *, interrupt: bool = False, resume: bool = False
    ) -> None:
        before = {name: len(server.of(f"{folder.name}/{name}")) for name in ("HOOK", "PING", "APP")}
        past = len(journal(db)) if resume else 0
        (folder / "at_work").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", TELL, *(["resume"] if resume else [])],
            cwd=folder, env={**variables(server, folder, db), "PYTHONPATH": str(ROOT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if interrupt:
            wait_for(lambda: (folder / "at_work").exists(), 20)
            process.send_signal(signal.SIGINT)
        self.out, self.err = process.communicate(timeout=40)
        self.code = process.returncode
        self.lines = [json.loads(line) for line in self.out.splitlines()]
        self.journal = journal(db)[past:]
        self.requests = {name: server.of(f"{folder.name}/{name}")[count:] for name, count in before.items()}
        self.folder, self.metrics = folder, (folder / "metrics.prom").read_text()

    @property
    def everything(self) -> str:
        bodies = [one.body.decode() for every in self.requests.values() for one in every]
        return "\n".join([self.out, self.err, json.dumps(self.journal), self.metrics, *bodies])


def ends(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["path"], one["state"]) for one in lines if one["event"] == "outcome"]


def check(one: Attempt, state: str, code: int, moment: str, step: str = "") -> None:
    """Check that every sink tells the same run."""
    assert one.code == code, one.err
    wanted = ends(one.lines)
    assert ends(one.journal) == wanted
    said = re.findall(r"^([a-z_.]+): (ok|failed|warned|skipped)\b", one.err, re.MULTILINE)
    assert said == wanted
    (jsonl,) = [line for line in one.lines if line["event"] == "run_ended"]
    (kept,) = [line for line in one.journal if line["event"] == "run_ended"]
    start, hook = (request.json for request in one.requests["HOOK"])
    assert (start["event"], hook["event"], start["run"]) == ("start", moment, hook["run"])
    for name in ("state", "exit_code", "seconds", "code", "next", "step"):
        assert jsonl[name] == kept[name] == hook[name], name
    assert jsonl["message"] == kept["message"] == hook["error"]
    assert (hook["state"], hook["exit_code"], hook["step"]) == (state, code, step)
    assert hook["databases"] == one.lines[0]["databases"]
    page = (one.folder / "out" / Path(hook["report"]).name).read_text()
    name = f"out/told-{hook['run']}.html"
    assert hook["report"].endswith(f"/{name}") and f"report: {name}\n" in one.err
    text_of_page = html.unescape(re.sub(r"<[^>]*>", " ", page))
    assert hook["run"] in text_of_page and state in text_of_page and one_line(hook["error"]) in text_of_page
    assert not [secret for secret in CANARIES.values() if secret in page]
    numbers = dict(line.rsplit(" ", 1) for line in one.metrics.splitlines() if line[:1] != "#")
    states = {name.split('state="')[1][:-2]: value for name, value in numbers.items() if "_run_state{" in name}
    assert {name for name, value in states.items() if value == "1.0"} == {state}
    assert [value for name, value in numbers.items() if "last_run_exit_code" in name] == [f"{code}.0"]
    assert (hook["way_back"] != "") == (state in ("ok", "failed", "interrupted"))
    begun, ping = one.requests["PING"]
    assert "/start?rid=" in begun.path and ("/fail?rid=" in ping.path) == (moment == "failure")
    assert begun.path.partition("?")[2] == ping.path.partition("?")[2]
    text = ping.body.decode()
    app = one.requests["APP"][-1].json
    assert text == f"{app['title']}\n{app['message']}" and app["title"] == hook["title"] == text.partition("\n")[0]
    assert (hook["next"] in text) and (one_line(hook["error"]) in text)
    warned = [
        f"{line['path']}: {line['message']}"
        for line in one.lines
        if line["event"] == "outcome" and line["state"] == "warned"
    ]
    assert hook["warnings"] == warned
    assert list(map(one_line, warned)) == re.findall(r"^warning: (.*)$", text, re.MULTILINE)
    late = [line for line in one.lines if line["event"] == "warning"]
    assert [one["about"] for one in late] == (["notify webhook 127.0.0.1 (from DOWN)"] if moment == "failure" else [])
    assert [line["about"] for line in one.journal if line["event"] == "warning"] == [one["about"] for one in late]
    assert "fails gets nothing more of this run: no space left" in one.err


def test_a_failing_an_interrupted_a_resumed_and_a_good_run_are_told_the_same_everywhere(
    server: Receiver, tmp_path: Path, db: str
) -> None:
    (tmp_path / "plan.yml").write_text(PLAN)
    (tmp_path / "fail").touch()
    failing = Attempt(server, tmp_path, db)
    check(failing, "failed", 1, "failure", "work")
    (tmp_path / "fail").unlink()
    interrupted = Attempt(server, tmp_path, db, interrupt=True, resume=True)
    check(interrupted, "interrupted", 130, "failure", "work")
    (tmp_path / "hurry").touch()
    resumed = Attempt(server, tmp_path, db, resume=True)
    check(resumed, "ok", 0, "success")
    assert len({one.requests["HOOK"][0].json["run"] for one in (failing, interrupted, resumed)}) == 1
    good = Attempt(server, tmp_path, db, resume=False)
    assert good.requests["HOOK"][-1].json["run"] != resumed.requests["HOOK"][-1].json["run"]
    for one in (failing, interrupted, resumed, good):
        for secret in CANARIES.values():
            assert secret not in one.everything
        assert "token *** *** ***" in one.everything
    with psycopg.connect(db) as conn:
        assert conn.execute("select count(*) from t where n = 1").fetchone() == (4,), "the hooks of each attempt"


# ------------------------------------------------------------------ recipients that hang, fail and lie

BAD = ("hang", "drip", "refuse", "redirect", "garbage", "gone", "endless")


def run(folder: Path, env: dict[str, str], text: str, **more: Any) -> tuple[RunResult, list[Event]]:
    (folder / "plan.yml").write_text(text)
    events: list[Event] = []
    result = api.apply(open_plan(folder / "plan.yml", env=env), env=env, on_event=events.append, **more)
    return result, events


SMALL = "name: small\nsteps:\n  - {id: make, uses: sql, with: {text: create table if not exists t (n int)}}\n"


def test_recipients_that_hang_fail_or_lie_are_warnings_and_the_run_is_as_without_them(
    server: Receiver, tmp_path: Path, db: str
) -> None:
    token = CANARIES["PATH_TOKEN"]
    urls = {how.upper(): server.url(f"{how}/{token}") for how in BAD}
    urls |= {"TLS": server.url(token, "https"), "DEAD": f"http://127.0.0.1:1/{token}"}
    urls |= {"NOAPP": server.url(f"refuse/{token}", "json"), "SLOWAPP": server.url(f"hang/{token}", "json")}
    env = {**os.environ, "DATABASE_URL": db, "KEY": CANARIES["KEY"], **urls}
    lines = [
        f'  - {{webhook: "${{env.{name}}}", secret: "${{env.KEY}}", on: [start, exit], timeout: 1s}}\n'
        for name in urls if "APP" not in name
    ]  # fmt: skip
    lines += [f'  - {{url: "${{env.{name}}}", on: [success], timeout: 1s}}\n' for name in ("NOAPP", "SLOWAPP")]
    plain, _ = run(tmp_path, env, SMALL)
    holders = list[str]()
    began = time.monotonic()

    def note(request: Request) -> None:
        if request.body and b'"event": "success"' in request.body and "hang" in request.path:
            time.sleep(0.2)
            holders.append(api.run_holder(plan, env=env))

    (tmp_path / "plan.yml").write_text(SMALL + "notify:\n" + "".join(lines))
    plan = open_plan(tmp_path / "plan.yml", env=env)
    server.on_request = note
    try:
        result, events = run(tmp_path, env, SMALL + "notify:\n" + "".join(lines))
    finally:
        server.on_request = lambda request: None
    assert time.monotonic() - began < 8
    assert (result.state, result.exit_code, result.counts, result.steps[0].state) == (
        plain.state, plain.exit_code, plain.counts, "ok",
    )  # fmt: skip
    warned = {one.about.partition("(from ")[2].rstrip(")") for one in result.warnings}
    assert warned == set(urls) - {"ENDLESS"}, "it answers 200, whatever comes then"
    assert all(one.code == "PR1093" for one in result.warnings)
    assert token not in repr(result.warnings) and CANARIES["KEY"] not in repr(result.warnings)
    kinds = [type(one) for one in events]
    assert kinds.index(RunEnded) < kinds.index(Warned), "the run has ended before anybody waits for recipients"
    assert token not in json.dumps([to_json(one) for one in events])
    assert server.of("elsewhere") == []
    assert all(holder == "" for holder in holders), "the lock of the run is free meanwhile"


def test_no_start_message_delays_the_run(server: Receiver, tmp_path: Path, db: str) -> None:
    env = {**os.environ, "DATABASE_URL": db, "HANG": server.url("hang/start")}
    ended: list[float] = []
    began = time.monotonic()

    def note(event: Event) -> None:
        if isinstance(event, StepEnded):
            ended.append(time.monotonic() - began)

    (tmp_path / "plan.yml").write_text(SMALL + 'notify: [{ping: "${env.HANG}", on: [start], timeout: 1s}]\n')
    result = api.apply(open_plan(tmp_path / "plan.yml", env=env), env=env, on_event=note)
    assert result.ok and ended[0] < 1 < time.monotonic() - began
    assert [one.message for one in result.warnings] == ["it was not told of the start: no complete answer in time"]


def test_a_run_that_cannot_begin_is_a_failure_for_those_who_are_told(server: Receiver, tmp_path: Path, db: str) -> None:
    place = f"{tmp_path.name}/nobegin"
    env = {**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/x", "HOOK": server.url(place)}
    text = SMALL + 'notify: [{webhook: "${env.HOOK}"}]\n'
    with pytest.raises(ConnectError):
        run(tmp_path, env, text)
    (told,) = [one.json for one in server.of(place)]
    assert (told["event"], told["state"], told["exit_code"]) == ("failure", "not begun", 4)
    assert told["title"] == "planrun: small could not begin" and told["code"].startswith("PR04") and told["databases"]


def test_nobody_is_told_of_what_is_no_run(server: Receiver, tmp_path: Path, db: str) -> None:
    place = f"{tmp_path.name}/silent"
    env = {**os.environ, "DATABASE_URL": db, "HOOK": server.url(place), "EMPTY": ""}
    text = SMALL + 'notify: [{webhook: "${env.HOOK}", on: [start, exit]}, {ping: "${env.EMPTY}"}]\n'
    declined, _ = run(tmp_path, env, text, approve=lambda diff: False)
    plan = open_plan(tmp_path / "plan.yml", env=env)
    shown = api.diff(plan, env=env)
    assert declined.state == "declined" and shown.ok and server.of(place) == []
    assert shown.told == (
        "webhook 127.0.0.1 (from HOOK): on start, exit, without a signature",
        "ping (from EMPTY): on start, exit; nobody is told, because EMPTY is not set",
    )
    api.abort(plan, env=env)
    paused, _ = run(
        tmp_path, env, text.replace("notify:", "  - {id: b, uses: sql, with: {text: select 1}}\nnotify:"), until="make"
    )
    assert paused.state == "paused"
    assert [one.json["event"] for one in server.of(place)] == ["start", "paused"]


def test_the_command_lists_who_is_told_and_tests_each(server: Receiver, tmp_path: Path, db: str) -> None:
    token = CANARIES["PATH_TOKEN"]
    (tmp_path / "plan.yml").write_text(
        SMALL + 'notify:\n  - {webhook: "${env.HOOK}", secret: "${env.KEY}"}\n  - {ping: "${env.BAD}", timeout: 1s}\n'
        '  - {ping: "${env.EMPTY}"}\n  - {url: "${env.APP}"}\n'
    )
    env = {**os.environ, **CANARIES, "PYTHONPATH": str(ROOT), "EMPTY": "", "DATABASE_URL": db}
    env |= {"HOOK": server.url(f"cmd/{token}"), "BAD": server.url(f"refuse/{token}"), "APP": server.url("app", "json")}

    def planrun(*args: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "runner", "notify", "plan.yml", *args]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert token not in done.stdout + done.stderr
        return done

    listed = planrun()
    assert (listed.returncode, server.of("cmd")) == (0, [])
    assert listed.stdout.splitlines()[0] == "webhook 127.0.0.1 (from HOOK): on start, exit"
    tested = planrun("--test", "-o", "json")
    found = {one["recipient"]: (one["state"], one["message"]) for one in json.loads(tested.stdout)["recipients"]}
    assert tested.returncode == 1
    assert found == {
        "webhook 127.0.0.1 (from HOOK)": ("ok", "answered 204"),
        "ping 127.0.0.1 (from BAD)": ("failed", "it answered 403 (no \\x1b[31mtoken)"),
        "ping (from EMPTY)": ("skipped", "nobody is told, because EMPTY is empty"),
        "url json (from APP)": ("ok", "was told"),
    }
    assert server.of("cmd")[0].json["event"] == "test"
    (tmp_path / "plan.yml").write_text(SMALL)
    assert "PR1094" in planrun().stderr


def test_nothing_of_a_notification_keeps_the_process(server: Receiver) -> None:
    assert not [one for one in threading.enumerate() if one.name == "planrun-notify" and not one.daemon]
