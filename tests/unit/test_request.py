"""A request to a server that hangs or lies is over at its deadline, and says what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from runner.notify.request import RequestError, post
from tests.receiver import Receiver, receiver


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def send(url: str, seconds: float = 5) -> int:
    return post(url, b"{}", {"X-A": "b"}, time.monotonic() + seconds).status


def test_a_good_answer(server: Receiver) -> None:
    assert send(server.url("well/a?b=c")) == 204
    (request,) = server.of("well/a")
    assert request.path == "/well/a?b=c" and request.body == b"{}"
    assert request.headers["x-a"] == "b" and request.headers["user-agent"].startswith("planrun/")


@pytest.mark.parametrize(
    ("path", "why", "again"),
    [
        ("refuse", r"it answered 403 (no \x1b[31mtoken)", False),
        ("busy/first", "it answered 503", True),
        ("redirect", "it answered 307, to 127.0.0.1; planrun follows no redirect", False),
        ("garbage", "it does not speak HTTP: 220 mail.example.com ESMTP", True),
        ("gone", "it closed the connection without an answer", True),
    ],
)
def test_a_server_that_answers_something_else(server: Receiver, path: str, why: str, again: bool) -> None:
    with pytest.raises(RequestError) as raised:
        send(server.url(path))
    assert (raised.value.message, raised.value.again) == (why, again)
    assert server.of("elsewhere") == []


@pytest.mark.parametrize("path", ["hang", "drip"])
def test_a_server_that_does_not_end_its_answer_has_until_the_deadline(server: Receiver, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError) as raised:
        send(server.url(path), 0.4)
    assert raised.value.message == "no complete answer in time"
    assert not raised.value.again
    assert time.monotonic() - began < 2


def test_no_more_than_the_beginning_of_an_endless_answer_is_read(server: Receiver) -> None:
    assert send(server.url("endless"), 3) == 200


def test_no_server_no_tls_and_no_name(server: Receiver) -> None:
    for url, why in (
        ("http://127.0.0.1:1/x", "Connection refused"),
        (server.url("well", "https"), "TLS failed: "),
        ("http://no-such-host.invalid/x", "there is no server of this name"),
    ):
        with pytest.raises(RequestError, match=why):
            send(url)


def test_a_proxy_of_the_environment_is_used(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    assert send("http://alerts.example.com/by-proxy") == 204
    assert server.of("http://alerts.example.com/by-proxy")


def test_there_is_no_request_without_time(server: Receiver) -> None:
    with pytest.raises(RequestError, match="no time left"):
        send(server.url("late"), -1)
    assert server.of("late") == []
