"""What a webhook, a dead-man check and a service of Apprise get, how often it is tried, and what a text says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Mark
from runner.model import Recipient
from runner.notify import message, sending
from runner.notify.message import Facts, SendError
from runner.words import json_text
from tests.made import HOSTILE, clean
from tests.receiver import Receiver, receiver

FACTS = Facts(
    moment="failure", at="2025-07-20T12:26:55.178+00:00", run="20250720T122655Z-3f9a", plan="prod",
    file="plans/prod.yml", attempt="apply", host="db1", user="app", state="failed", exit_code=6, seconds=200.4,
    databases=("target: prod at db1:5432 as app, from PLANRUN_TARGET_URL",), step="check", code="PR0601",
    error="public.users differs", next="planrun apply plans/prod.yml", report="https://ci.example.com/r.html",
    warnings=("on_failure.page: curl ended with exit code 7",), counts={"ok": 2, "failed": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def to(kind: str, address: str, **more: object) -> Recipient:
    return Recipient(kind=kind, variable="X", where=Mark("p.yml", 1, 1), address=address, timeout=5.0, **more)  # type: ignore[arg-type]


def test_a_webhook_gets_the_whole_as_json_signed_as_standard_webhooks_are(server: Receiver) -> None:
    assert sending.send(to("webhook", server.url("well/hook"), secret="a key"), FACTS) == "answered 204"
    (request,) = server.of("well/hook")
    assert request.headers["content-type"] == "application/json"
    told = request.json
    assert (told["format_version"], told["event"], told["state"], told["exit_code"]) == (1, "failure", "failed", 6)
    assert (told["step"], told["code"], told["next"]) == ("check", "PR0601", "planrun apply plans/prod.yml")
    assert told["title"] == "planrun: prod failed at check after 3 min 20 s"
    words = [request.headers["webhook-id"], request.headers["webhook-timestamp"], request.body.decode()]
    made = hmac.new(b"a key", ".".join(words).encode(), hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"


def test_openssl_makes_the_same_signature() -> None:
    body = b'{"a": "\xc3\xa9"}'
    made = sending.signature("a key", "planrun_1", body, at=1_700_000_000)
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "a key", "-binary"], input=b"planrun_1.1700000000." + body,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert made["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    coded = "whsec_" + base64.b64encode(b"a key").decode()
    assert sending.signature(coded, "planrun_1", body, at=1_700_000_000) == made
    assert "webhook-signature" not in sending.signature("", "planrun_1", body)


def test_what_may_succeed_later_is_tried_again_under_one_id(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_FIRST_DELAY", 0.02)
    assert sending.send(to("webhook", server.url("busy"), secret="a key"), FACTS) == "answered 204"
    requests = server.of("busy")
    assert len(requests) == 3
    assert len({one.headers["webhook-id"] for one in requests}) == 1
    assert message.as_json(FACTS) == requests[0].json
    with pytest.raises(SendError, match="it answered 403"):
        sending.send(to("webhook", server.url("refuse")), FACTS)
    assert len(server.of("refuse")) == 1, "a refusal is not asked again"


def test_attempts_end_with_the_time_of_the_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_FIRST_DELAY", 0.02)
    nobody = replace(to("webhook", "http://127.0.0.1:1/x"), timeout=0.3)
    with pytest.raises(SendError, match=r"Connection refused, after \d+ attempts"):
        sending.send(nobody, FACTS)


@pytest.mark.parametrize(
    ("moment", "path"),
    [("start", "/start"), ("success", ""), ("failure", "/fail"), ("paused", "/log"), ("test", "/log")],
)
def test_the_urls_of_a_check(moment: str, path: str) -> None:
    facts = replace(FACTS, moment=moment)
    rid = "rid=2b0d2dd3-9d1c-5b1c-8a9e-0d7b1c5cbd0f"
    made = sending.ping_url("https://hc-ping.com/3f9a/", facts)
    head, _, query = made.partition("?")
    assert head == f"https://hc-ping.com/3f9a{path}"
    assert len(query) == len(rid) and query == sending.ping_url("https://x.example/y", facts).partition("?")[2]
    with_query = sending.ping_url("https://kuma.example/push?status=up", facts)
    assert with_query == f"https://kuma.example/push{path}?status=up&{query}"


def test_a_check_gets_the_message_as_text(server: Receiver) -> None:
    assert sending.send(to("ping", server.url("well/ping")), FACTS) == "answered 204"
    (request,) = server.of("well/ping")
    assert request.path.startswith("/well/ping/fail?rid=")
    assert request.body.decode() == (
        "planrun: prod failed at check after 3 min 20 s\n"
        "target: prod at db1:5432 as app, from PLANRUN_TARGET_URL\n"
        "apply of plans/prod.yml, run 20250720T122655Z-3f9a, on db1 by app\n"
        "what failed: check: PR0601 public.users differs\n"
        "exit code 6\n"
        "warning: on_failure.page: curl ended with exit code 7\n"
        "next: planrun apply plans/prod.yml\n"
        "report: https://ci.example.com/r.html"
    )


def test_apprise_sends_to_its_services(server: Receiver) -> None:
    own = to(
        "url", server.url("well/apprise", "json"), template="say.txt", text="{{ plan }}: {{ state }}\nsee {{ next }}"
    )
    assert sending.send(own, FACTS) == "was told"
    (request,) = server.of("well/apprise")
    told = request.json
    assert (told["title"], told["message"], told["type"]) == (
        "prod: failed",
        "see planrun apply plans/prod.yml",
        "failure",
    )


def test_what_apprise_says_of_a_failure_is_said(server: Receiver) -> None:
    with pytest.raises(SendError, match=r"Apprise could not send it: .*403"):
        sending.send(to("url", server.url("refuse/apprise", "json")), FACTS)
    with pytest.raises(SendError, match="does not know this kind of URL"):
        sending.send(to("url", "nosuch://x"), FACTS)


@pytest.mark.parametrize(
    ("moment", "state", "title"),
    [
        ("start", "", "planrun: prod has begun"),
        ("success", "ok", "planrun: prod succeeded after 3 min 20 s"),
        ("paused", "paused", "planrun: prod is paused after 3 min 20 s"),
        ("failure", "interrupted", "planrun: prod was interrupted at check after 3 min 20 s"),
        ("failure", "not begun", "planrun: prod could not begin at check after 3 min 20 s"),
        ("test", "", "planrun: prod: test message"),
    ],
)
def test_the_title_of_each_moment(moment: str, state: str, title: str) -> None:
    seconds = None if moment in ("start", "test") else 200.4
    assert message.title(replace(FACTS, moment=moment, state=state, seconds=seconds)) == title


def test_hostile_names_stay_text() -> None:
    facts = replace(FACTS, plan=HOSTILE, error=HOSTILE, databases=(HOSTILE,), warnings=(HOSTILE,), step=HOSTILE)
    head, body = message.text(facts)
    clean(head)
    assert "\n" not in head and len(clean(body).splitlines()) == 7
    clean(json_text(message.as_json(facts)))


def test_every_name_of_a_text_has_a_value_at_each_moment() -> None:
    for facts in message.samples():
        head, body = message.text(facts)
        assert head == message.title(facts) and "None" not in body
    assert message.template_problems("{{ title }}\n{{ took }}{{ way_back }}{{ host }}", "x.txt") == []


# ------------------------------------------------------------------ the page

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()


def block(language: str) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found[0]


def test_the_ways_of_the_page_to_check_a_signature(tmp_path: Path) -> None:
    body = json_text(message.as_json(FACTS)).encode()
    headers = sending.signature("a key", "planrun_1", body)
    names: dict[str, Any] = {}
    exec(block("python"), names)
    assert names["is_genuine"](headers, body, "a key")
    assert not names["is_genuine"](headers, body + b" ", "a key")
    assert not names["is_genuine"]({**headers, "webhook-timestamp": "1700000000"}, body, "a key")
    (tmp_path / "body.json").write_bytes(body)
    given = {"ID": "planrun_1", "TIMESTAMP": headers["webhook-timestamp"], "SIGNATURE": headers["webhook-signature"]}
    for secret, said in (("a key", "genuine\n"), ("another", "")):
        env = {**os.environ, **given, "SECRET": secret}
        done = subprocess.run(["sh", "-c", block("sh")], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.stdout == said


def test_the_document_the_text_and_the_template_of_the_page() -> None:
    told = json.loads(block("json"))
    assert list(told) and set(told) == set(message.as_json(FACTS))
    names = [part.name for part in fields(Facts)]
    facts = Facts(**{"moment": told["event"], **{name: told[name] for name in names if name in told}})
    assert message.as_json(facts) == told
    page = re.search(r"## The text\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert page
    shown = replace(facts, warnings=("on_failure.ticket: ./ticket.sh ended with exit code 7",),
                    report="https://ci.example.com/report.html")  # fmt: skip
    assert "\n".join(message.text(shown)) == page[1].rstrip("\n")
    assert message.template_problems(block("jinja"), "say.txt") == []
    listed = set(re.findall(r"`(\w+)`", PAGE.partition("Its names: ")[2].partition("\n\n")[0]))
    assert listed == set(message._values(facts))
