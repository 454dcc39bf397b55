"""`connections:` of a plan: libpq parameters, and none that holds a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from runner.errors import Problem
from runner.guard import nearest
from runner.language.schema import LIBPQ, NAME
from runner.language.scope import Scope, parse_references, reference_problems
from runner.language.source import Document
from runner.model import UNKNOWN
from runner.words import close_matches

_SECRET_WORDS = ("password", "sslpassword", "passwd", "pgpassword", "oauth_client_secret")
_NO_PASSWORD = (
    "name a `service:` or a `passfile:`, or set PLANRUN_{}_URL in the environment; a plan never holds a password"
)
_LOOKS_LIKE_URL = re.compile(r"^\s*postgres(ql)?://|=", re.IGNORECASE)


def connections_of(document: Document, scope: Scope, found: list[Problem]) -> dict[str, dict[str, str]]:
    """Return name -> libpq parameters with their values. No value is ever quoted in a problem."""
    given = document.data.get("connections")
    made = {}
    for name, words in (given if isinstance(given, dict) else {}).items():
        part = Document(words, document.find(("connections", name)))
        found.extend(_wrong_name(name, document))
        found.extend(_wrong(name, part))
        if isinstance(words, dict):
            made[name] = _values(name, part, scope, found)
    return made


def _wrong_name(name: str, document: Document) -> Iterator[Problem]:
    if not re.fullmatch(NAME, name):
        where = document.key_at(("connections", name))
        yield Problem(
            where, f"'{name}' is not a name", "lower case letters, digits and _, starting with a letter", code="PR0113"
        )


def _wrong(name: str, part: Document) -> Iterator[Problem]:
    hint = _NO_PASSWORD.format(name.upper())
    if not isinstance(part.data, dict):
        looks = isinstance(part.data, str) and _LOOKS_LIKE_URL.search(part.data)
        yield Problem(
            part.place.mark,
            "a connection is libpq parameters, not a URL or a connection string"
            if looks
            else "a connection is a mapping",
            hint if looks else "such as {service: prod}",
            code="PR0120",
        )
        return
    for word in sorted({"host", "hostaddr", "port"} & part.data.keys()) if "service" in part.data else ():
        message = f"'{word}' beside `service:` would send the password of that service to another server"
        yield Problem(part.key_at((word,)), message, "name a service of the right server, or no service", code="PR0120")
    for word, value in part.data.items():
        if close_matches(word.lower(), _SECRET_WORDS, cutoff=0.75) and word not in LIBPQ:
            yield Problem(part.key_at((word,)), f"'{word}' does not belong in a plan", hint, code="PR0121")
        elif word not in LIBPQ:
            yield Problem(
                part.key_at((word,)), f"'{word}' is not a libpq parameter", nearest(word, list(LIBPQ)), code="PR0120"
            )
        elif not isinstance(value, str | int) or isinstance(value, bool):
            yield Problem(part.at((word,)), f"{word}: needs a text or a number", code="PR0120")


def _values(name: str, part: Document, scope: Scope, found: list[Problem]) -> dict[str, str]:
    made = {}
    for word in part.data:
        value = Document(part.data[word], part.find((word,)))
        if word not in LIBPQ or not isinstance(value.data, str | int):
            continue
        tree = parse_references(value, found)
        found.extend(reference_problems(tree, value, scope))
        known: Any = scope.resolve(tree)
        # without it the connection would lead to another server; this way connecting fails with an error
        if known is UNKNOWN:
            made[word] = str(value.data)
            continue
        if word == "dbname" and _LOOKS_LIKE_URL.search(str(known)):
            message = "dbname: is a connection string, and not the name of a database"
            found.append(Problem(value.place.mark, message, _NO_PASSWORD.format(name.upper()), code="PR0121"))
            continue
        made[word] = str(known)
    return made
