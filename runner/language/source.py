"""Turn YAML text into plain data that knows the place of every value and key.

It builds the core types of YAML 1.2 directly from libyaml's events: the composer of libyaml crashes on deep input, and
working without it is five times faster. It refuses duplicate and non-string keys, tags, merge keys, several documents,
NUL, anything but UTF-8, and anything that exceeds the limits below.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from runner.errors import Mark, PlanError, Problem
from runner.record import dataclass

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_PROBLEMS = 50

Steps = tuple[str | int, ...]
"""The path from the root of a document to a value: keys and numbers."""


Spot = tuple[int, int]
"""Line and column, both from 1. A plain scalar has no Place: 60,000 of them would slow down the garbage collector."""


class Place:
    """The place of a value in its file, and the places of its parts.

    `start` is where the text of a scalar begins: after a quote, or on the line below a `|`. `lines` are the lines of
    the file, kept for texts of several lines. `keys` is None except for mappings.
    """

    __slots__ = ("file", "keys", "lines", "parts", "spot", "start")

    def __init__(self, file: str, spot: Spot) -> None:
        self.file, self.spot, self.start = file, spot, spot
        self.lines: list[str] | None = None
        self.keys: dict[str, Place | Spot] | None = None
        self.parts: dict[str, Place | Spot] | list[Place | Spot] | None = None

    @property
    def mark(self) -> Mark:
        return Mark(self.file, *self.spot)

    def part(self, step: str | int) -> Place | None:
        """Return the place of one part, or None if there is no such part."""
        parts: Any = self.parts
        inside = step in parts if isinstance(parts, dict) else isinstance(step, int) and step < len(parts or ())
        return self._place(parts[step]) if inside else None

    def key(self, name: str) -> Place | None:
        """Return the place of a key of this mapping."""
        return self._place(self.keys[name]) if self.keys and name in self.keys else None

    def _place(self, found: Place | Spot) -> Place:
        return found if isinstance(found, Place) else Place(self.file, found)

    def inside(self, text: str, offset: int) -> Mark:
        """Return the place of the character at `offset` of this scalar, whose value is `text`."""
        line, column = self.start
        offset = min(offset, len(text))
        while self.lines and line < len(self.lines):
            length = max(len(self.lines[line - 1]) - column + 1, 0) + 1
            if offset < length:
                break
            line, offset = line + 1, offset - length
        return Mark(self.file, line, column + offset)


@dataclass(frozen=True)
class Document:
    """The data of one file (or of several, merged) and the place of each of its values."""

    data: Any
    place: Place

    def find(self, path: Steps) -> Place:
        """Return the place of a value, or of its nearest parent that has one."""
        place = self.place
        for step in path:
            if (part := place.part(step)) is None:
                break
            place = part
        return place

    def at(self, path: Steps) -> Mark:
        """Return the mark of a value, or of its nearest parent that has one."""
        return self.find(path).mark

    def key_at(self, path: Steps) -> Mark:
        """Return the mark of the key that `path` ends with, or of the nearest thing that has one."""
        if path and isinstance(key := path[-1], str) and (found := self.find(path[:-1]).key(key)):
            return found.mark
        return self.at(path)


def read(path: Path, file: str) -> tuple[Document, bytes]:
    """Read a file that messages call `file`. Raises PlanError if it cannot be read or is not plain YAML."""
    raw = read_bytes(path, file)
    return parse(raw, file), raw


def read_bytes(path: Path, file: str) -> bytes:
    """Return the content of a file, at most one byte more than the limit.

    Raises PlanError if it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _error(file, 1, 1, f"cannot read this file: {exc.strerror or exc}", _missing_hint(exc, file)) from None


def _missing_hint(exc: OSError, file: str) -> str:
    if not isinstance(exc, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return ""
    from runner.nearby import plan_hint  # only a failure needs it

    return plan_hint(file)


def parse(source: bytes | str, file: str) -> Document:
    """Build a Document. Raises PlanError with every problem found up to the first that stops the reader."""
    text = decode(source, file)
    builder = _Builder(text, file)
    try:
        return builder.build()
    except yaml.MarkedYAMLError as exc:
        problem = _syntax(exc, text, file)
    except yaml.reader.ReaderError as exc:
        problem = _character(exc, text, file)
    raise PlanError(*builder.problems, problem)


# ------------------------------------------------------------------ text


def _error(file: str, line: int, column: int, message: str, hint: str = "") -> PlanError:
    return PlanError(Problem(Mark(file, line, column), message, hint, code="PR0102"))


def decode(source: bytes | str, file: str) -> str:
    """Return the text of a file without its byte order mark. Raises PlanError if it is not UTF-8, or too large."""
    if len(source) > MAX_BYTES:
        raise _error(file, 1, 1, f"the file is larger than {MAX_BYTES // 1024**2} MiB", "split the plan into templates")
    raw = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line, column = _position(raw[: exc.start].decode("utf-8", "replace"))
        hint = "save the file as UTF-8"
        raise _error(file, line, column, f"byte 0x{raw[exc.start]:02x} is not UTF-8", hint) from None
    if (at := text.find("\0")) >= 0:
        raise _error(file, *_position(text[:at]), "a NUL character is not allowed")
    return text


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


_SYNTAX_HINTS = {
    "mapping values are not allowed in this context": "quote a value that holds ': ', or check the indentation",
    "did not find expected key": "check the indentation, and quote a value that goes on after its closing quote",
    "did not find expected <document start>": "the lines of one level start in the same column",
    "found unexpected end of stream": "a quote is not closed",
    "found undefined tag handle": "quote a value that starts with '!'",
    "could not find expected ':'": "write 'key: value', and quote a text that spans lines",
}
_START_HINTS = {
    "\t": "indent with spaces, not with tabs",
    "@": "quote a value that starts with '@'",
    "`": "quote a value that starts with '`'",
    "%": "quote a value that starts with '%'",
}


def _syntax(exc: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = exc.problem_mark or exc.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    context = f" {exc.context}" if exc.context and exc.context != "while scanning for the next token" else ""
    lines = text.split("\n")
    found = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    hint = _START_HINTS.get(found) or _SYNTAX_HINTS.get(exc.problem or "", "")
    return Problem(
        Mark(file, line, column), f"not YAML: {exc.problem or 'cannot be read'}{context}", hint, code="PR0101"
    )


def _character(exc: yaml.reader.ReaderError, text: str, file: str) -> Problem:
    # libyaml counts bytes here
    before = text.encode()[: max(exc.position, 0)].decode("utf-8", "replace")
    return Problem(
        Mark(file, *_position(before)),
        f"not YAML: {exc.reason}",
        "write it as an escape in double quotes",
        code="PR0101",
    )


# ------------------------------------------------------------------ scalars: the YAML 1.2 core schema

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_LEADING = re.compile(r"(?: *\n)*( *)")
_NUMBER_STARTS = frozenset("-+.0123456789")
_TAGS: dict[str, Callable[[Any], bool]] = {
    "tag:yaml.org,2002:str": lambda value: True,
    "tag:yaml.org,2002:int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "tag:yaml.org,2002:float": lambda value: isinstance(value, float | int) and not isinstance(value, bool),
    "tag:yaml.org,2002:bool": lambda value: isinstance(value, bool),
    "tag:yaml.org,2002:null": lambda value: value is None,
}


def plain(text: str) -> Any:
    """Return the value of an unquoted scalar. Raises ValueError for a number that JSON or bigint cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INT.match(text):
        return _integer(text)
    if _FLOAT.match(text):
        if math.isinf(number := float(text)):
            raise ValueError("this number is too large; quote it to keep it as text")
        return number
    if _NOT_FINITE.match(text):
        raise ValueError("infinity and NaN are not allowed; quote it to keep it as text")
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    # int() raises at 4300 digits; PostgreSQL's bigint, JSON readers and planrun's all have 64 bits
    number = int(text, 0) if digits[:2] in ("0o", "0x") else int(text) if len(digits) < 100 else 2**64
    if not -(2**63) <= number < 2**63:
        raise ValueError("this integer does not fit in 64 bits; quote it to keep its digits")
    return number


# ------------------------------------------------------------------ events to data

_Parser: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


class _Open:
    """A mapping or sequence that is being filled; `key` is the key whose value comes next, `keys` is None in a
    sequence."""

    __slots__ = ("anchor", "data", "key", "keys", "nodes", "parts", "place")

    def __init__(self, mapping: bool, place: Place, anchor: str | None) -> None:
        self.data: Any = {} if mapping else []
        self.parts: Any = {} if mapping else []
        self.keys: dict[str, Place | Spot] | None = {} if mapping else None
        self.place, self.anchor = place, anchor
        place.parts, place.keys = self.parts, self.keys
        self.key: str | None = None
        self.nodes = 1


class _Builder:
    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines: list[str] | None = None
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, Place | Spot, int]] = {}
        self.root: tuple[Any, Place] | None = None

    def build(self) -> Document:
        handlers: dict[type, Callable[[Any, Spot], None]] = {
            yaml.ScalarEvent: self.scalar,
            yaml.MappingStartEvent: self.start,
            yaml.SequenceStartEvent: self.start,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
            yaml.AliasEvent: self.alias,
            yaml.DocumentStartEvent: self.document,
        }
        get = _Parser(self.text).get_event
        while (event := get()) is not None:
            if handler := handlers.get(type(event)):
                mark = event.start_mark
                handler(event, (mark.line + 1, mark.column + 1))
        if self.problems:
            raise PlanError(*self.problems)
        if self.root is None or self.root[0] is None:
            raise _error(self.file, 1, 1, "the file is empty", "planrun init writes a first plan")
        return Document(*self.root)

    def scalar(self, event: Any, spot: Spot) -> None:
        value = event.value
        place: Place | Spot = spot
        if event.style:
            place = self.place_scalar(event.style, value, spot)
        if event.tag is not None and event.tag != "!":
            value = self.resolve_tag(event.tag, value, spot)
        elif event.implicit[0] and event.tag is None:
            value = self.resolve(value, spot)
        if event.anchor:
            self.anchors[event.anchor] = (value, place, 1)
        self.put(value, place, 1)

    def place_scalar(self, style: str, value: str, spot: Spot) -> Place:
        place = Place(self.file, spot)
        if style in ("|", ">"):
            self.block(place, value)
        else:
            place.start = (spot[0], spot[1] + 1)
        if style == '"' and "\0" in value:
            self.problem(spot, "a NUL character is not allowed")
        return place

    def resolve(self, text: str, spot: Spot) -> Any:
        try:
            return plain(text)
        except ValueError as exc:
            message, _, hint = str(exc).partition("; ")
            self.problem(spot, message, hint)
            return text

    def resolve_tag(self, tag: str, text: str, spot: Spot) -> Any:
        fits = _TAGS.get(tag)
        value = text if fits is None or tag.endswith(":str") else self.resolve(text, spot)
        if fits is None:
            self.problem(spot, f"the tag {_tag_text(tag)} is not allowed", "quote a text that starts with '!'")
        elif not fits(value):
            self.problem(spot, f"'{text}' is not {_tag_text(tag)}", code="PR0112")
        return value

    def start(self, event: Any, spot: Spot) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.stop(spot, f"nested deeper than {MAX_DEPTH} levels")
        if self.stack and self.stack[-1].key is None and self.stack[-1].keys is not None:
            self.stop(spot, "a key must be a text, not a mapping or a list", "quote it")
        mapping = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", "tag:yaml.org,2002:map" if mapping else "tag:yaml.org,2002:seq"):
            self.problem(spot, f"the tag {_tag_text(event.tag)} is not allowed", "quote a text that starts with '!'")
        self.stack.append(_Open(mapping, Place(self.file, spot), event.anchor))
        self.anchors.pop(event.anchor, None)

    def end(self, event: Any, spot: Spot) -> None:
        done = self.stack.pop()
        if done.anchor:
            self.anchors[done.anchor] = (done.data, done.place, done.nodes)
        self.put(done.data, done.place, done.nodes)

    def alias(self, event: Any, spot: Spot) -> None:
        name = event.anchor
        if name not in self.anchors:
            if any(level.anchor == name for level in self.stack):
                self.stop(spot, f"alias *{name} contains itself")
            self.stop(spot, f"alias *{name} has no anchor before it", "quote a value that starts with '*'")
        self.put(*self.anchors[name])

    def document(self, event: Any, spot: Spot) -> None:
        if self.root is not None:
            self.stop(spot, "a file holds one document", "remove this '---'")

    def put(self, value: Any, place: Place | Spot, nodes: int) -> None:
        if not self.stack:
            self.root = (value, place if isinstance(place, Place) else Place(self.file, place))
            return
        top = self.stack[-1]
        if top.keys is None:
            top.data.append(value)
            top.parts.append(place)
        elif top.key is None:
            top.key = self.key(value, place, top.keys)
            return
        else:
            top.data[top.key] = value
            top.parts[top.key] = place
            top.key = None
        top.nodes += nodes
        if top.nodes > MAX_NODES:
            self.stop(place, f"more than {MAX_NODES:,} values after aliases are filled in")

    def key(self, value: Any, place: Place | Spot, keys: dict[str, Place | Spot]) -> str:
        if not isinstance(value, str):
            told = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            self.problem(place, f"the key {told} is not a text", "quote it")
            value = told
        elif value == "<<":
            self.problem(place, "merge keys (<<) are not in YAML 1.2", "use extends, or a template with inputs")
        elif value in keys:
            first = _spot(keys[value])[0]
            self.problem(
                place, f"key '{value}' is given twice; first on line {first}", "keep one of them", code="PR0104"
            )
        keys[value] = place
        return str(value)

    def block(self, place: Place, value: str) -> None:
        """Set in the place of a `|` or `>` scalar where its text begins."""
        if self.lines is None:
            self.lines = self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        line = number = place.spot[0]
        while number < len(self.lines) - 1 and not self.lines[number].strip():
            number += 1
        written = self.lines[number] if number < len(self.lines) else ""
        own = _LEADING.match(value)
        indent = len(written) - len(written.lstrip(" ")) - (len(own[1]) if own else 0)
        place.start, place.lines = (line + 1, max(indent, 0) + 1), self.lines

    def problem(self, place: Place | Spot, message: str, hint: str = "", *, code: str = "PR0103") -> None:
        self.problems.append(Problem(Mark(self.file, *_spot(place)), message, hint, code=code))
        if len(self.problems) >= MAX_PROBLEMS:
            raise PlanError(*self.problems)

    def stop(self, place: Place | Spot, message: str, hint: str = "") -> NoReturn:
        raise PlanError(*self.problems, Problem(Mark(self.file, *_spot(place)), message, hint, code="PR0103"))


def _spot(place: Place | Spot) -> Spot:
    return place.spot if isinstance(place, Place) else place


def _tag_text(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
