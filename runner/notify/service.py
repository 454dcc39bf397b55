"""Messages to services that Apprise knows: Slack, Teams, mail, ntfy and many more. The only importer of apprise."""

from __future__ import annotations

import logging
import threading
from typing import Any

from runner.model import Recipient
from runner.notify.message import Facts, SendError, text
from runner.words import one_line

_TYPES = {"success": "success", "failure": "failure", "paused": "warning"}

_SHOWN = 300
"""Characters of what Apprise says about a failure."""


def notify(recipient: Recipient, facts: Facts) -> str:
    """Send the message, and return in words how it went. Raises SendError with what Apprise logged."""
    made = _instance(recipient.address)
    if made is None:
        raise SendError(UNKNOWN)
    from apprise import NotifyFormat
    from apprise.conversion import convert_between

    def convert(content: str) -> str:
        """Return plain text as the service wants it: names in a mail of HTML stay text."""
        return str(convert_between(NotifyFormat.TEXT, made.notify_format, content=content))

    head, body = text(facts, recipient.text, recipient.template)
    title = head if made.title_maxlen > 0 else convert(head)
    with _Log() as log:
        # not by Apprise.notify: it sends in threads for which the end of this process would wait
        sent = made.notify(title=title, body=convert(body or head), notify_type=_TYPES.get(facts.moment, "info"))
    if not sent:
        raise SendError(f"Apprise could not send it: {log.text or 'it does not say why'}")
    return "was told"


UNKNOWN = "Apprise does not know this kind of URL, or something in it is missing"


def is_known(address: str) -> bool:
    """Return whether Apprise can read this URL. Nothing is sent."""
    return _instance(address) is not None


def _instance(address: str) -> Any:
    import apprise

    with _Log():
        return apprise.Apprise.instantiate(address, suppress_exceptions=True)


class _Log(logging.Filter):
    """Keeps what Apprise logs in this thread, because it returns only whether it succeeded; no other log gets it, as
    its lines hold addresses."""

    def __init__(self) -> None:
        super().__init__()
        self._thread, self._lines = threading.get_ident(), list[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        if record.levelno >= logging.WARNING:
            self._lines.append(record.getMessage())
        return False

    @property
    def text(self) -> str:
        return one_line("; ".join(self._lines))[:_SHOWN]

    def __enter__(self) -> _Log:
        logging.getLogger("apprise").addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeFilter(self)
