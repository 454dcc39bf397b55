"""Hide secrets: a Redactor knows the secrets of a run and removes them from everything that planrun reports.

It is applied to all output: events for the journal and the terminal, results, errors. It does not change what runs.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from runner.errors import PlanError, PlanrunError
from runner.model import Recipient, Step

MARK = "***"

_NAMES = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(?:KEY|PASS|PWD)\d*\Z", re.IGNORECASE)
_PLACES = re.compile(r"(?:^(?:OLD)?PWD|_FILE|_PATH|_DIR)\Z", re.IGNORECASE)
"""Names of variables that say where a secret is, not what it is; PWD and OLDPWD are folders of the shell."""

_URL = re.compile(r"(\w://[^:/@\s]*):([^@\s]+)@")
_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)([^&#\s'\"]+)", re.IGNORECASE)
# How libpq reads `word = value`: in quotes or up to a blank, with backslashes that escape (PostgreSQL docs 34.1.1.1).
_WORD = re.compile(r"(?:^|\s)(?:ssl)?password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)+))", re.DOTALL)

_SHORT = 4
"""Characters. A shorter secret is removed only as a separate word; otherwise no text would stay readable."""
_AROUND = 8
"""Minimum length, in characters, of secrets in variables that neither the plan nor one of its commands names."""

_PLAIN = {"postgres", "password"}
"""Passwords of test databases that are also ordinary names; hiding them would make logs unreadable for no gain."""

T = TypeVar("T")


def is_secret(name: str) -> bool:
    """Return whether a variable's name marks its value as a secret: DB_PASSWORD, API_TOKEN, SIGNING_KEY."""
    return bool(_NAMES.search(name)) and not _PLACES.search(name)


class Redactor:
    """Replaces secrets by ***.

    used: the variables that a plan reads with `${env.NAME}`; secret ones are hidden at any length, as are passwords of
    connections. around: the whole environment, whose other secrets a program that the plan runs may print.
    """

    def __init__(self, used: Mapping[str, str], around: Mapping[str, str] | None = None) -> None:
        self._lock, self._known, self._forms = threading.Lock(), set[str](), cast(re.Pattern[str] | None, None)
        self._parts, self._longest = set[str](), 0
        around = around or {}
        self.learn(
            *secrets(used),
            *(one for value in around.values() for one in passwords(value) if one not in _PLAIN),
            *(one for one in secrets(around) if len(one) >= _AROUND and one not in _PLAIN),
        )

    def learn(self, *words: str) -> None:
        """Hide these as well from now on. May be called from any thread."""
        with self._lock:
            new = {one for one in words if one.strip()} - self._known
            if new:
                self._known |= new
                forms = {form for one in self._known for form in _forms(one)}
                self._parts = {form[:length] for form in forms for length in range(1, len(form))}
                self._longest = max(map(len, forms))
                self._forms = re.compile("|".join(map(_part, sorted(forms, key=len, reverse=True))))

    def text(self, text: str) -> str:
        """Return the text without secrets, and without the password of any URL."""
        shown = self._forms.sub(MARK, text) if self._forms else text
        if "://" in shown:
            shown = _IN_QUERY.sub(rf"\1{MARK}", _URL.sub(rf"\1:{MARK}@", shown))
        return shown

    def holds(self, text: str) -> bool:
        """Return whether the text contains a secret."""
        return bool(self._forms and self._forms.search(text))

    def length_of_begun_secret(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a secret that continues in the next
        text."""
        lengths = range(min(self._longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self._parts), 0)

    def of(self, value: T) -> T:
        """Return the same data without secrets; data without any is returned as it is."""
        return cast(T, self._of(value))

    def _of(self, value: Any) -> Any:
        if isinstance(value, str):
            shown = self.text(value)
            return value if shown == value else shown
        if isinstance(value, PlanrunError):
            return self.error(value)
        if isinstance(value, Mapping):
            return _same(value, {self._of(key): self._of(inner) for key, inner in value.items()})
        if isinstance(value, list | tuple):
            each = [self._of(inner) for inner in value]
            return value if all(map(_is, each, value)) else _rebuild(value, each)
        if dataclasses.is_dataclass(value) and not isinstance(value, type | Step):
            fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}
            changed = {name: new for name, old in fields.items() if (new := self._of(old)) is not old}
            return dataclasses.replace(value, **changed) if changed else value
        return value

    def error(self, exc: PlanrunError) -> PlanrunError:
        """Remove the secrets from an error, in place, and return it."""
        exc.message, exc.hint = self.text(exc.message), self.text(exc.hint)
        exc.where = self.text(exc.where) if isinstance(exc.where, str) else exc.where
        if isinstance(exc, PlanError):
            exc.problems = self.of(exc.problems)
        exc.args = tuple(map(self._of, exc.args))
        return exc


def passwords(value: str) -> Iterator[str]:
    """Yield the passwords in a connection URL or in a list of libpq parameters, as they are written and decoded.

    >>> sorted(set(passwords("postgresql://u:a%20b@h/d?sslpassword=c%2B")))
    ['a b', 'a%20b', 'c%2B', 'c+']
    >>> list(passwords(r"host=h password = 'it\\'s'"))
    ["it\\\\'s", "it's"]
    """
    for found in (*_URL.finditer(value), *(_IN_QUERY.finditer(value) if "://" in value else ())):
        yield from dict.fromkeys((found[2], unquote(found[2]), unquote_plus(found[2])))
    if "://" not in value:
        for word in _WORD.finditer(value):
            text = word[1] or word[2] or ""
            yield from dict.fromkeys((text, re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)))


def secrets(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the values that are secrets by their name, and the passwords of those that are connections."""
    for name, value in variables.items():
        inside = list(passwords(value))
        yield from inside
        if is_secret(name) and not inside:
            yield value.strip()
            yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= _AROUND)


def secrets_of(recipients: Iterable[Recipient]) -> Iterator[str]:
    """Yield the addresses and keys of `notify:`, and the parts of the addresses that look like secrets."""
    for one in recipients:
        yield from filter(None, (one.secret, one.address))
        yield from address_secrets(one.address)


def address_secrets(address: str) -> Iterator[str]:
    """Yield the parts of a URL that may be secrets: its path with the query, each long part with a digit or capital.

    The host of an http URL is none. In a URL of Apprise a token may also be where the host would be.

    >>> sorted(address_secrets("https://hooks.example.com/services/T00AB/xyzzy1234"))
    ['/services/T00AB/xyzzy1234', 'xyzzy1234']
    """
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if path.strip("/"):
        yield slash + path
    server = scheme.lower() in ("http", "https") or "." in host.rpartition("@")[2]
    parts = re.split(r"[/?&=#:@]", path if server else rest)
    for one in parts:
        if len(one) >= _AROUND and re.search(r"[0-9A-Z]", one):
            yield from dict.fromkeys((one, unquote(one)))
    yield from passwords(address)


def _part(form: str) -> str:
    if len(form) >= _SHORT:
        return re.escape(form)
    return rf"(?<!\w){re.escape(form)}(?!\w)"


def _forms(secret: str) -> Iterable[str]:
    """Return the forms in which a secret may appear: as it is, in SQL, in JSON (once and twice), YAML, Python, a shell,
    a URL.

    Values are redacted before planrun serialises them; these are for what others have written, such as programs.
    """
    import html  # its table of entities takes a millisecond, and most plans hold no secret

    backslashes = secret.replace("\\", "\\\\")
    quoted = [text.replace(mark, mark * 2) for text in (secret, backslashes) for mark in ("'", '"')]
    escaped = [text.replace(mark, "\\" + mark) for text in (secret, backslashes) for mark in ("'", '"')]
    in_json = [json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False)]
    in_json += [json.dumps(text, ensure_ascii=ascii)[1:-1] for text in in_json for ascii in (True, False)]
    in_url = [quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="!*'();:@&=+$,/?")]
    in_url += [re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in in_url]
    python = [ascii(secret)[1:-1], repr(secret)[1:-1], ascii(secret.encode())[2:-1]]
    shell = [shlex.quote(secret), shlex.quote(secret + " ")[1:-2], html.escape(secret)]
    base64 = [b64encode(secret.encode()).decode()] if len(secret) >= _SHORT else []
    return {secret, backslashes, *quoted, *escaped, *in_json, _in_yaml(secret), *in_url, *python, *shell, *base64} - {
        ""
    }


def _in_yaml(text: str) -> str:
    """Return a text as in double quotes of YAML (YAML 1.2, 5.7), with all but ASCII escaped."""
    return "".join(map(_yaml_character, text))


def _yaml_character(char: str) -> str:
    if char in _YAML:
        return _YAML[char]
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


_YAML = {
    **{"\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r"},
    **{"\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N", "\xa0": "\\_", "\u2028": "\\L", "\u2029": "\\P"},
}


def _is(one: object, other: object) -> bool:
    return one is other


def _same(old: Mapping[Any, Any], new: dict[Any, Any]) -> Mapping[Any, Any]:
    return old if len(old) == len(new) and all(key in new and new[key] is old[key] for key in old) else new


def _rebuild(value: list[Any] | tuple[Any, ...], each: list[Any]) -> Any:
    return type(value)(*each) if hasattr(value, "_fields") else type(value)(each)
