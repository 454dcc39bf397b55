"""Call libpg_query, PostgreSQL's own parser, of the package postgast: the scanner's tokens, and the tree as JSON.

postgast gives the tree as Protocol Buffers, whose classes take 60 ms to build, six times as long as Python takes to
start; the library itself loads in a millisecond. The functions used are declared in libpg_query's pg_query.h: each
function returns a struct, which the caller must free. Texts and offsets here are in bytes of UTF-8, without a NUL.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError

Node = Mapping[str, Any]
"""A node of the tree. A field that has its default (0, false, "" or nothing) is not in it."""

MAX_DEPTH = 101
"""The depth of a tree that is read: about 45 operators in a row. Python's json fails at a depth of 1000."""

_LIBRARIES = ("libpg_query.so", "libpg_query.dylib")  # Linux, macOS
_NO_STRUCTURE = bytes(set(range(256)) - set(b'{}"'))
_TOKENS, _START, _END, _KIND = 2, 1, 2, 4  # the fields of ScanResult and ScanToken in pg_query.proto
_FILE, _ENUM, _NAME, _VALUE, _NUMBER = 1, 5, 1, 2, 2  # the fields of FileDescriptorSet in descriptor.proto


class ParserError(Exception):
    """The parser's error for a text; `position` counts characters from 1, and is 0 if the parser gives none."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message, self.position = message, position


def scan(text: bytes) -> list[tuple[int, int, str]]:
    """Return start, end and kind of every token, comments too. Raises ParserError."""
    lib = _library()
    result = lib.pg_query_scan(text)
    try:
        _raise_error(result)
        message = ctypes.string_at(result.pbuf.data, result.pbuf.len)
    finally:
        lib.pg_query_free_scan_result(result)
    names = _token_names()
    return [_token(value, names) for number, value in _fields(message) if number == _TOKENS]


def _token(message: bytes, names: Mapping[int, str]) -> tuple[int, int, str]:
    found = [0] * 6
    at = 0
    while at < len(message):  # as _fields does, in half the time: a text may have 100,000 tokens
        value = message[at + 1]
        if value < 128:
            found[message[at] >> 3], at = value, at + 2
        else:
            found[message[at] >> 3], at = _varint(message, at + 1)
    kind = found[_KIND]
    # the enum lacks characters that SQL does not use, such as {
    return found[_START], found[_END], names.get(kind) or f"ASCII_{kind}"


def parse(text: bytes) -> list[Node] | None:
    """Return a RawStmt for each statement, None when the tree is deeper than MAX_DEPTH. Raises ParserError."""
    lib = _library()
    result = lib.pg_query_parse(text)
    try:
        _raise_error(result)
        tree: bytes = result.parse_tree
    finally:
        lib.pg_query_free_parse_result(result)
    if _is_deep(tree):
        return None
    found: list[Node] = json.loads(tree)["stmts"]
    return found


def split(text: bytes) -> list[tuple[int, int]]:
    """Return start and end of every statement. Raises ParserError."""
    lib = _library()
    result = lib.pg_query_split_with_parser(text)
    try:
        _raise_error(result)
        parts = [result.stmts[number].contents for number in range(result.n_stmts)]
        return [(part.stmt_location, part.stmt_location + part.stmt_len) for part in parts]
    finally:
        lib.pg_query_free_split_result(result)


def _raise_error(result: Any) -> None:
    if result.error:
        error = result.error.contents
        raise ParserError(error.message.decode(errors="replace"), error.cursorpos)


def _is_deep(tree: bytes) -> bool:
    if tree.count(b"{") <= MAX_DEPTH:
        return False
    quoted = tree.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_STRUCTURE)
    braces = re.sub(rb'"[^"]*"', b"", quoted.replace(b'""', b""))  # the remaining quotes contain braces of strings
    for _ in range(MAX_DEPTH):
        braces = braces.replace(b"{}", b"")
    return braces != b""


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message of Protocol Buffers: a number, or the bytes of a part."""
    at, size = 0, len(message)
    while at < size:
        key, value = message[at], message[at + 1]
        if key < 128 and value < 128:
            at += 2
        else:
            key, at = _varint(message, at)
            value, at = _varint(message, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2:
            yield key >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError(f"field {key >> 3} is neither a number nor a part")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while message[at] > 127:
        value |= (message[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return value | message[at] << shift, at + 1


# ------------------------------------------------------------------ the library


class _Error(Structure):
    _fields_ = (
        ("message", c_char_p),
        ("funcname", c_char_p),
        ("filename", c_char_p),
        ("lineno", c_int),
        ("cursorpos", c_int),
        ("context", c_char_p),
    )


class _ParseResult(Structure):
    _fields_ = (("parse_tree", c_char_p), ("stderr_buffer", c_char_p), ("error", POINTER(_Error)))


class _Protobuf(Structure):
    _fields_ = (("len", c_size_t), ("data", c_void_p))


class _ScanResult(Structure):
    _fields_ = (("pbuf", _Protobuf), ("stderr_buffer", c_char_p), ("error", POINTER(_Error)))


class _SplitStatement(Structure):
    _fields_ = (("stmt_location", c_int), ("stmt_len", c_int))


class _SplitResult(Structure):
    _fields_ = (
        ("stmts", POINTER(POINTER(_SplitStatement))),
        ("n_stmts", c_int),
        ("stderr_buffer", c_char_p),
        ("error", POINTER(_Error)),
    )


@cache
def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(_file(*_LIBRARIES)))
    for name, free, result in (
        ("parse", "parse", _ParseResult),
        ("scan", "scan", _ScanResult),
        ("split_with_parser", "split", _SplitResult),
    ):
        call, give_back = lib[f"pg_query_{name}"], lib[f"pg_query_free_{free}_result"]
        call.argtypes, call.restype = [c_char_p], result
        give_back.argtypes, give_back.restype = [result], None
        setattr(lib, f"pg_query_{name}", call)
        setattr(lib, f"pg_query_free_{free}_result", give_back)
    return lib


@cache
def _token_names() -> dict[int, str]:
    """Return the names of the kinds of tokens from the description that comes with the library."""
    names: dict[int, str] = {}
    for enum in _parts(_part(_file("pg_query.desc").read_bytes(), _FILE), _ENUM):
        if _part(enum, _NAME) == b"Token":
            for value in _parts(enum, _VALUE):
                words = dict(_fields(value))
                names[words.get(_NUMBER, 0)] = words[_NAME].decode()
    return names


def _parts(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in _fields(message) if found == number)


def _part(message: bytes, number: int) -> bytes:
    return next(_parts(message, number))


def _file(*names: str) -> Path:
    """Return the file of the package postgast that has one of these names, without importing the package."""
    package = importlib.util.find_spec("postgast")
    folders = package.submodule_search_locations if package else None
    paths = [Path(folder, name) for folder in folders or () for name in names]
    if found := next((path for path in paths if path.is_file()), None):
        return found
    raise PlanrunError(
        f"PostgreSQL's parser is not installed as planrun needs it: the package postgast has no {names[0]}",
        hint="pip install --force-reinstall 'postgast>=0.2,<0.3'",
        code="PR0906",
    )
