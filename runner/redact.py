"""What must not be shown: a Redactor knows the secrets of a run and takes them out of all that is told.

It stands where something leaves: events to the journal and the terminal, results, errors. What runs is not changed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

from runner.errors import PlanError, PlanrunError
from runner.model import Step

MARK = "***"

_NAMES = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(?:KEY|PASS|PWD)\d*\Z", re.IGNORECASE)
_PLACES = re.compile(r"(?:^(?:OLD)?PWD|_FILE|_PATH|_DIR)\Z", re.IGNORECASE)
"""Not a secret but where one is; PWD and OLDPWD are folders of the shell."""

_URL = re.compile(r"(\w://[^:/@\s]*):([^@\s]+)@")
_SHORTEST = {"used by the plan": 4, "around": 8}
"""Characters. A shorter text would be found in words that have nothing to do with it, and hide those."""

_PLAIN = {"postgres", "password"}
"""Passwords of test databases that are also names; without them a log can be read and nothing is lost."""

T = TypeVar("T")


def is_secret(name: str) -> bool:
    """Say whether a variable's name says that its value is a secret: DB_PASSWORD, API_TOKEN, SIGNING_KEY."""
    return bool(_NAMES.search(name)) and not _PLACES.search(name)


class Redactor:
    """Puts *** in the place of secrets.

    used: the variables that a plan took by `${env.NAME}`. around: the whole environment, whose secrets a program
    that the plan runs may print.
    """

    def __init__(self, used: Mapping[str, str], around: Mapping[str, str] | None = None) -> None:
        found = {one for one in _secrets(used) if len(one) >= _SHORTEST["used by the plan"]}
        found |= {one for one in _secrets(around or {}) if len(one) >= _SHORTEST["around"]} - _PLAIN
        forms = sorted({form for one in found for form in _forms(one)}, key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, forms))) if forms else None

    def text(self, text: str) -> str:
        """Return the text without secrets, and without the password of any URL."""
        shown = self._forms.sub(MARK, text) if self._forms else text
        return _URL.sub(rf"\1:{MARK}@", shown) if "://" in shown else shown

    def holds(self, text: str) -> bool:
        """Say whether a secret is in the text."""
        return bool(self._forms and self._forms.search(text))

    def of(self, value: T) -> T:
        """Return the same data without secrets; what holds none is returned as it is."""
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
            return value if all(map(_is, each, value)) else _rebuilt(value, each)
        if dataclasses.is_dataclass(value) and not isinstance(value, type | Step):
            fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}
            changed = {name: new for name, old in fields.items() if (new := self._of(old)) is not old}
            return dataclasses.replace(value, **changed) if changed else value
        return value

    def error(self, exc: PlanrunError) -> PlanrunError:
        """Take the secrets out of an error, in place, and return it."""
        exc.message, exc.hint = self.text(exc.message), self.text(exc.hint)
        exc.where = self.text(exc.where) if isinstance(exc.where, str) else exc.where
        if isinstance(exc, PlanError):
            exc.problems = self.of(exc.problems)
        exc.args = tuple(map(self._of, exc.args))
        return exc


def _secrets(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the values that are secrets by their name, and the passwords of those that are URLs."""
    for name, value in variables.items():
        passwords = [found[2] for found in _URL.finditer(value)]
        yield from passwords
        yield from map(unquote, passwords)
        if is_secret(name) and not passwords:
            yield value.strip()
            yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= _SHORTEST["around"])


def _forms(secret: str) -> Iterable[str]:
    """Return how a secret may be written: as it is, in an SQL literal or identifier, in JSON, in a URL."""
    backslashes = secret.replace("\\", "\\\\")
    quoted = (text.replace(mark, mark * 2) for text in (secret, backslashes) for mark in ("'", '"'))
    return {secret, backslashes, *quoted, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)}


def _is(one: object, other: object) -> bool:
    return one is other


def _same(old: Mapping[Any, Any], new: dict[Any, Any]) -> Mapping[Any, Any]:
    return old if len(old) == len(new) and all(key in new and new[key] is old[key] for key in old) else new


def _rebuilt(value: list[Any] | tuple[Any, ...], each: list[Any]) -> Any:
    return type(value)(*each) if hasattr(value, "_fields") else type(value)(each)
