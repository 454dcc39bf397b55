"""Send one message to one recipient, with attempts and a deadline."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
import uuid
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

from runner.model import Recipient
from runner.notify.message import Facts, SendError, as_json, text
from runner.notify.request import RequestError, post
from runner.words import json_text

_FIRST_DELAY = 0.5
"""Seconds before the second attempt; each further delay is twice as long, with a random part."""


def send(recipient: Recipient, facts: Facts) -> str:
    """Tell the recipient, and return how it answered, in words. Raises SendError."""
    deadline = time.monotonic() + recipient.timeout
    match recipient.kind:
        case "webhook":
            return _attempts(lambda: _webhook(recipient, facts, deadline), deadline)
        case "ping":
            return _attempts(lambda: _ping(recipient, facts, deadline), deadline)
        case _:
            from runner.notify.service import notify

            return notify(recipient, facts)


def _attempts(call: Callable[[], str], deadline: float) -> str:
    """Call until it succeeds, its failure is lasting, or the time is over."""
    delay, attempt = _FIRST_DELAY, 1
    while True:
        try:
            return call()
        except RequestError as exc:
            pause = max(exc.wait, delay * (0.5 + random.random()))
            if not exc.again or time.monotonic() + pause >= deadline:
                of = f", after {attempt} attempts" if attempt > 1 else ""
                raise SendError(f"{exc.message}{of}") from None
            time.sleep(pause)
            delay, attempt = delay * 2, attempt + 1


# ------------------------------------------------------------------ webhooks


def _webhook(recipient: Recipient, facts: Facts, deadline: float) -> str:
    body = json_text(as_json(facts)).encode("utf-8", "backslashreplace")
    headers = {"Content-Type": "application/json", **signature(recipient.secret, message_id(facts), body)}
    return f"answered {post(recipient.address, body, headers, deadline).status}"


def message_id(facts: Facts) -> str:
    """Return a name of the message that is the same in each attempt to send it."""
    return f"planrun_{uuid.uuid5(uuid.NAMESPACE_OID, f'{facts.run} {facts.moment} {facts.at}').hex}"


def signature(secret: str, identity: str, body: bytes, *, at: int | None = None) -> dict[str, str]:
    """Return the headers of Standard Webhooks (github.com/standard-webhooks): id, time, and the HMAC-SHA256 if signed.

    secret: the key as it is or, after `whsec_`, in base64; "" for no signature. at: seconds since 1970, now by default.
    """
    stamp = str(int(time.time()) if at is None else at)
    headers = {"webhook-id": identity, "webhook-timestamp": stamp}
    if secret:
        made = hmac.new(_key(secret), f"{identity}.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{b64encode(made).decode()}"
    return headers


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return b64decode(secret.removeprefix("whsec_"), validate=True)
        except Error:
            pass  # a key that only looks like one in base64
    return secret.encode()


# ------------------------------------------------------------------ dead-man pings

_SUFFIX: Mapping[str, str] = {"start": "/start", "success": "", "failure": "/fail", "paused": "/log", "test": "/log"}
"""What is added to the path of a check (healthchecks.io, Pinging API)."""


def ping_url(address: str, facts: Facts) -> str:
    """Return the URL that says this moment to a dead-man check. `rid` lets it put the start and the end of a run
    together."""
    parts = urlsplit(address)
    rid = f"rid={uuid.uuid5(uuid.NAMESPACE_OID, facts.run)}"
    query = f"{parts.query}&{rid}" if parts.query else rid
    path = f"{parts.path.rstrip('/')}{_SUFFIX[facts.moment]}"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _ping(recipient: Recipient, facts: Facts, deadline: float) -> str:
    head, rest = text(facts, recipient.text, recipient.template)
    body = f"{head}\n{rest}".encode("utf-8", "backslashreplace")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return f"answered {post(ping_url(recipient.address, facts), body, headers, deadline).status}"
