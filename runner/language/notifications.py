"""`notify:` of a plan: who is told of its runs. Every address and every key is a variable of the environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from runner.errors import PlanError, Problem
from runner.guard import nearest
from runner.language.compose import Files
from runner.language.schema import VARIABLE
from runner.language.scope import Environment
from runner.language.source import Document
from runner.model import MOMENTS, Recipient
from runner.units import duration

KINDS = ("url", "webhook", "ping")
_KEYS = (*KINDS, "secret", "on", "template", "timeout")
LONGEST = 300.0
"""Seconds; a run waits so long for a recipient when it has ended."""

INSTALL = "pip install 'planrun[notify]'"

TemplateCheck = Callable[[str, str], Iterable[Problem]]
"""Given the text of a template of a message and the name of its file, return what is wrong with it."""


@dataclass
class Notifications:
    """Reads the entries of `notify:`. found: collects the problems, none of which quotes a value."""

    document: Document
    files: Files
    env: Environment
    offline: bool
    found: list[Problem]
    check: TemplateCheck | None = None

    def recipients(self) -> tuple[Recipient, ...]:
        given = self.document.data.get("notify")
        made = [self._recipient(index) for index in range(len(given) if isinstance(given, list) else 0)]
        return tuple(one for one in made if one is not None)

    def _problem(
        self, part: Document, key: str, message: str, hint: str = "", *, code: str, at_key: bool = False
    ) -> None:
        where = part.place.mark if not key else part.key_at((key,)) if at_key else part.at((key,))
        self.found.append(Problem(where, message, hint, code=code))

    def _recipient(self, index: int) -> Recipient | None:
        part = Document(self.document.data["notify"][index], self.document.find(("notify", index)))
        if not isinstance(part.data, dict):
            self._problem(part, "", "an entry of `notify` is a mapping", _EXAMPLE, code="PR1086")
            return None
        before = len(self.found)
        for key in part.data.keys() - set(_KEYS):
            hint = nearest(str(key), list(_KEYS))
            self._problem(part, key, f"'{key}' is not known in `notify`", hint, code="PR1086", at_key=True)
        kinds = [key for key in KINDS if key in part.data]
        if len(kinds) != 1:
            said = f"it has {' and '.join(kinds)}" if kinds else "it has neither"
            self._problem(
                part, "", f"an entry of `notify` has one of url, webhook, ping; {said}", _EXAMPLE, code="PR1086"
            )
            return None
        found = self._read(part, kinds[0])
        return found if len(self.found) == before else None

    def _read(self, part: Document, kind: str) -> Recipient:
        variable = self._variable(part, kind)
        address = self._value(part, kind, variable)
        if address:
            self._check_address(part, kind, address)
        if "secret" in part.data and kind != "webhook":
            self._problem(part, "secret", "only a webhook has a `secret`", code="PR1086", at_key=True)
        key = self._variable(part, "secret") if "secret" in part.data else ""
        secret = self._value(part, "secret", key)
        if key and not secret and not self.offline and address:
            self._problem(part, "secret", f"{key} is empty: the webhook would get no signature", code="PR1087")
        if kind == "url" and find_spec("apprise") is None:
            self._problem(
                part, kind, "a `url` needs Apprise, which is not installed", INSTALL, code="PR1088", at_key=True
            )
        template, text = self._template(part)
        return Recipient(
            kind=kind, variable=variable, where=part.place.mark, address=address, on=self._moments(part, kind),
            secret=secret, template=template, text=text, timeout=self._timeout(part),
        )  # fmt: skip

    # -------------------------------------------------------------- values

    def _variable(self, part: Document, key: str) -> str:
        """Return the name of the variable that a value is; a value that is something else is a problem."""
        value = part.data[key]
        if isinstance(value, str) and re.match(VARIABLE, value):
            return value.strip("${ }").removeprefix("env.").strip()
        name = {"secret": "WEBHOOK_SECRET", "ping": "PING_URL", "webhook": "WEBHOOK_URL"}.get(key, "NOTIFY_URL")
        hint = f"put it into a variable: {key}: ${{env.{name}}}"
        self._problem(part, key, f"{key}: an address or a key does not belong in a plan", hint, code="PR1085")
        return ""

    def _value(self, part: Document, key: str, variable: str) -> str:
        if not variable:
            return ""
        if variable not in list(self.env):
            if not self.offline:
                hint = f"export {variable}=..., or leave it empty: export {variable}="
                self._problem(part, key, f"the environment has no {variable}", hint, code="PR0202")
            return ""
        return str(self.env[variable]).strip()

    def _check_address(self, part: Document, kind: str, address: str) -> None:
        """Report an address that cannot be one. Apprise itself reads those of its services, in a diff."""
        try:
            parts = urlsplit(address)
            usable = bool(parts.scheme and (kind == "url" or parts.hostname)) and parts.port != 0
        except ValueError:
            usable, parts = False, urlsplit("")
        if kind != "url" and (not usable or parts.scheme.lower() not in ("http", "https")):
            self._problem(part, kind, f"{kind}: the variable has no http or https URL", code="PR1087")
        elif kind != "url" and (parts.username or parts.password):
            hint = "take the user and the password out of it; a webhook is signed by its `secret`"
            self._problem(part, kind, f"{kind}: the URL has a user or a password", hint, code="PR1087")
        elif not usable:
            hint = "such as slack://TokenA/TokenB/TokenC: https://appriseit.com/services/"
            self._problem(part, kind, f"{kind}: the variable has no URL of Apprise", hint, code="PR1087")

    def _moments(self, part: Document, kind: str) -> tuple[str, ...]:
        default = ("failure",) if kind == "url" else ("start", "exit")
        given = part.data.get("on", list(default))
        if not isinstance(given, list) or not given:
            self._problem(part, "on", "on: needs a list of moments", f"such as [{', '.join(MOMENTS)}]", code="PR1086")
            return default
        for one in given:
            if one not in MOMENTS:
                hint = nearest(str(one), list(MOMENTS))
                self._problem(part, "on", f"on: there is no moment '{one}'", hint, code="PR1086")
        return tuple(dict.fromkeys(map(str, given)))

    def _timeout(self, part: Document) -> float:
        given = part.data.get("timeout", 20)
        try:
            found = duration(given)
        except (ValueError, TypeError):
            found = 0.0
        if not 0 < found <= LONGEST:
            self._problem(part, "timeout", "timeout: is not a time up to 5 min", "such as 20s", code="PR1086")
            return 20.0
        return found

    def _template(self, part: Document) -> tuple[str, str]:
        """Return the shown name and the text of the file that words the message."""
        given = part.data.get("template")
        if given is None:
            return "", ""
        where = part.at(("template",))
        try:
            if not isinstance(given, str) or not given:
                raise PlanError(Problem(where, "template: needs the name of a file", code="PR1086"))
            path = self.files.find_file(given, self._folder(part), where)
            text = self.files.read_bytes(path).decode("utf-8-sig")
        except PlanError as exc:
            self.found += exc.problems
            return "", ""
        except (OSError, UnicodeDecodeError) as exc:
            self.found.append(Problem(where, f"cannot read '{given}': {_reason(exc)}", code="PR0115"))
            return "", ""
        shown = self.files.display_path(path)
        if self.check:
            self.found += self.check(text, shown)
        return shown, text

    def _folder(self, part: Document) -> Path:
        """Return the folder of the file that has this entry, which may be one that the plan extends."""
        named = Path(part.place.mark.file)
        return named.resolve().parent if named.is_file() else self.files.main.parent


_EXAMPLE = 'such as {url: "${env.SLACK_URL}", on: [failure]}'


def _reason(exc: OSError | UnicodeDecodeError) -> str:
    return (exc.strerror or type(exc).__name__) if isinstance(exc, OSError) else f"it is not UTF-8: byte {exc.start}"
