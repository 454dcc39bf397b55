"""Turn JSON schema errors into problems of a plan: one per mistake, with its place. Imports jsonschema_rs."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from runner.errors import Problem
from runner.guard import nearest
from runner.language.schema import DECLARATION, NAME, REFERENCE, TYPE, TYPES
from runner.language.source import Document, Steps
from runner.model import UNKNOWN
from runner.units import DURATION, END, SIZE, TEXT_FILE, value_text
from runner.words import close_matches

_TYPES = {
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_LIMITS = {
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
    "minItems": "has fewer than {} items",
    "maxItems": "has more than {} items",
    "minimum": "is less than {}",
    "maximum": "is more than {}",
    "exclusiveMinimum": "is not more than {}",
    "exclusiveMaximum": "is not less than {}",
}


_NONE: Mapping[Steps, str] = {}


class Checker:
    """One compiled schema. Raises ValueError if the schema itself is invalid (a bad `pattern`)."""

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs

        self.schema = schema
        self._validator = jsonschema_rs.Draft202012Validator(schema)

    def problems(
        self, data: Any, document: Document, path: Steps = (), *, refs: Mapping[Steps, str] = _NONE
    ) -> Iterator[Problem]:
        """Yield what is wrong with `data`, which is at `path` of the document; UNKNOWN fits everything.

        `refs` has the text of values that came through references: it is shown in place of a value that may be
        a secret of the environment, and a number that comes through one may stand for a text.
        """
        blanks: set[Steps] = set()
        errors: list[Any] = list(self._validator.iter_errors(_blank_out(data, blanks, ())))
        meant = {(*error.instance_path, name) for error in errors for name in self._keys_meant(error)}
        for error in errors:
            at = tuple(error.instance_path)
            typo = error.kind.name == "required" and (*at, error.kind.property) in meant
            if not typo and at not in blanks and not (at in refs and _number_for_text(error)):
                yield from self._problems_of(error, at, document, path + at, refs.get(at, ""))

    def _known_keys(self, error: Any) -> Mapping[str, Any]:
        known: Mapping[str, Any] = _walk(self.schema, error.schema_path[:-1]).get("properties", {})
        return known

    def _keys_meant(self, error: Any) -> Iterator[str]:
        """Yield the keys that unknown keys were probably meant to be, so that they are not reported as missing, too."""
        if error.kind.name == "additionalProperties":
            for key in error.kind.unexpected:
                yield from close_matches(key, self._known_keys(error))

    def _problems_of(self, error: Any, at: Steps, document: Document, path: Steps, ref: str) -> Iterator[Problem]:
        kind, value = error.kind, error.instance
        if kind.name == "additionalProperties":
            for key in kind.unexpected:
                hint = nearest(key, self._known_keys(error))
                yield Problem(document.key_at((*path, key)), f"'{key}' is not known here", hint, code="PR0110")
        elif kind.name == "required":
            hint = str(self._known_keys(error).get(kind.property, {}).get("description", ""))
            yield Problem(document.at(path), f"'{kind.property}' is missing", hint, code="PR0111")
        elif kind.name == "propertyNames":
            for name in value:
                if not re.fullmatch(NAME, name):
                    yield Problem(document.key_at((*path, name)), f"'{name}' is not a name", _NAME_HINT, code="PR0113")
        else:
            owner = _walk(self.schema, error.schema_path[:-1])
            message, hint = _problem_text(kind, value, ref or value_text(value), owner)
            if kind.name == "type" and not ref:
                hint = hint or _correct_value(at, value, kind.types)
            code = "PR0113" if kind.name == "pattern" and kind.pattern == NAME else "PR0112"
            yield Problem(document.at(path), f"{_label(at)}{message}", hint, code=code)


def _number_for_text(error: Any) -> bool:
    return error.kind.name == "type" and "string" in error.kind.types and type(error.instance) in (int, float)


@cache
def _declarations() -> Checker:
    return Checker(DECLARATION)


def declarations(given: Any, document: Document) -> dict[str, dict[str, Any]]:
    """Return the declarations of `params:` or `inputs:`.

    A malformed one (which the frame reports) is replaced by one that accepts any value.
    """
    entries = given.items() if isinstance(given, dict) else ()
    anything: dict[str, Any] = {"required": False}
    return {n: anything if any(_declarations().problems(entry, document)) else entry for n, entry in entries}


_NAME_HINT = "lower case letters, digits and _, starting with a letter"


def _label(at: Steps) -> str:
    names = [str(step) for step in at if isinstance(step, str)]
    return f"{names[-1]}: " if names else ""


def _problem_text(kind: Any, value: Any, shown: str, owner: Mapping[str, Any]) -> tuple[str, str]:
    if kind.name == "type":
        return f"{shown} is not {' or '.join(_TYPES[name] for name in sorted(kind.types, key=_order))}", ""
    if kind.name == "enum":
        hint = nearest(value, [o for o in kind.options if isinstance(o, str)]) if isinstance(value, str) else ""
        options = ", ".join(map(value_text, kind.options))
        return f"{shown} is not one of {options}", hint if hint.startswith("did") else ""
    if kind.name == "constant":
        return f"{shown} is not {value_text(kind.expected_value)}", ""
    if kind.name in _LIMITS:
        if kind.name in ("minLength", "minItems") and kind.limit == 1:
            return f"{shown} is empty", ""
        return f"{shown} {_LIMITS[kind.name].format(f'{kind.limit:g}')}", ""
    if kind.name == "pattern":
        return _choice(str(value), shown, kind.pattern) or _pattern(shown, kind.pattern)
    if kind.name == "not":
        return f"{shown} is a reserved word", "take another name"
    if kind.name == "uniqueItems":
        return f"{shown} contains an item twice", ""
    return f"{shown} is not allowed: {kind.name}", str(owner.get("description", ""))


def _correct_value(at: Steps, value: Any, types: Sequence[str]) -> str:
    """Return the line that was meant, if a text was given in place of a list, a number or a truth value; else ""."""
    if not at or not isinstance(value, str):
        return ""
    key = at[-1]
    if "array" in types and value.strip():
        items = _words_of(value) if key == "argv" else [one.strip() for one in value.split(",")]
        return f"write {key}: [{', '.join(map(_item, items))}]"
    if (types_of := _UNQUOTED.get(value)) or _NUMBER.fullmatch(value):
        fits = types_of in types if types_of else "number" in types or ("integer" in types and value.isdigit())
        return f"write {key}: {value}" if fits else ""
    return ""


_UNQUOTED = {"true": "boolean", "false": "boolean", "null": "null"}
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
_OF_SHELLS = re.compile(r"[|&;<>$`*]")
_SIMPLE = re.compile(r"-{0,2}[A-Za-z_./][\w./@%+-]*")


def _words_of(command: str) -> list[str]:
    """Return the words of a command; what only a shell understands goes to a shell."""
    if not _OF_SHELLS.search(command):
        with contextlib.suppress(ValueError):  # a quotation mark without its other one
            return shlex.split(command)
    return ["sh", "-c", command]


def _item(text: str) -> str:
    plain = _SIMPLE.fullmatch(text) and text.lower() not in ("true", "false", "null", "yes", "no", "on", "off")
    return text if plain else json.dumps(text, ensure_ascii=False)


def _order(name: str) -> int:
    return list(_TYPES).index(name)


_PATTERNS: Mapping[str, tuple[str, str]] = {
    DURATION: ("is not a duration", "such as 250ms, 30s, 5min, 2h, 30d, or a number of seconds"),
    SIZE: ("is not a size", "such as 512kB, 64MB, 2GB, or a number of bytes"),
    NAME: ("is not a name", _NAME_HINT),
    TYPE: ("is not a type", ", ".join(TYPES)),
    TEXT_FILE: ("is not the name of a text", "name a file that ends in .txt or .md: `planrun test --update` writes it"),
    REFERENCE: ("is a text", "give a value, or a reference such as ${params.name}"),
}


_WORDS = re.compile(r"\^\(([\w |]+)\)" + re.escape(END))


def _choice(value: str, shown: str, pattern: str) -> tuple[str, str] | None:
    """Return message and hint for a pattern that lists words, as a text beside other types must; None for others."""
    if pattern == TYPE or not (found := _WORDS.fullmatch(pattern)):
        return None
    words = found[1].split("|")
    hint = nearest(value, words)
    return f"{shown} is not one of {', '.join(words)}", hint if hint.startswith("did") else ""


def _pattern(shown: str, pattern: str) -> tuple[str, str]:
    for known, (message, hint) in _PATTERNS.items():
        if pattern == known or pattern.startswith(known + "|"):
            return f"{shown} {message}", hint
    return f"{shown} does not match {pattern}", ""


def _walk(schema: Any, path: Any) -> Any:
    for step in path:
        schema = schema[step]
    return schema


def _blank_out(data: Any, blanks: set[Steps], path: Steps) -> Any:
    """Return data that a validator can read, and the places of values that are not known yet."""
    if data is UNKNOWN:
        blanks.add(path)
        return f"${{unknown {len(blanks)}}}"
    if isinstance(data, dict):
        return {key: _blank_out(value, blanks, (*path, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [_blank_out(value, blanks, (*path, i)) for i, value in enumerate(data)]
    return data
