"""Addresses of databases in the files of a program: in `.env` files, which many programs read, and in its settings.

A reader of such a file lets a variable of the environment go before it (dotenv, python-dotenv, Next.js, Vite). So a
redirected program gets a value of its own for each variable there that holds an address. An address in another file is
beyond our reach; one that is the real database's is a reason not to run the program at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runner.database import database_line
from runner.database.connections import parse_url
from runner.database.database_line import Place
from runner.errors import ConnectError, RefusedError

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*[=:]\s*(?:\"([^\"]*)\"|'([^']*)'|([^#\s]*))")
_URL = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s'\"`]*")
_SETTINGS = frozenset(
    {".ini", ".cfg", ".conf", ".toml", ".yml", ".yaml", ".json", ".properties", ".xml"}
    | {".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".py", ".rb", ".sh"}
)
_YAML = frozenset({".yml", ".yaml"})
_PROSE = _YAML | {".json", ".xml", ".sh"}
"""Files that often name a host for other reasons: deployments, scripts, descriptions."""
_NOT_OURS = frozenset({"node_modules", "site-packages", "venv", "dist", "build", "target", "vendor", "backups"})
_DEPTH = 2
_FILES = 2000
_SIZE = 256 * 1024
_PATH = 1024
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "the local socket"})


def variables(folder: Path) -> dict[str, str]:
    """Return what the `.env` files of a folder set; of two files that set the same name, either value."""
    found = {}
    for file in sorted(folder.glob(".env*")):
        for line in _lines(file):
            if match := _ASSIGNMENT.match(line):
                found[match[1]] = next((value for value in match.groups()[1:] if value is not None), "")
    return found


def refuse(folder: Path, argv: Sequence[str], place: Place, own: Path) -> None:
    """Raise RefusedError when a file of the program's settings names this database: the program may connect to it.

    argv: a file that it names is examined as well. place: the address of the database. own: the folder of the plan,
    whose YAML is ours.
    """
    for file in _files(folder, argv):
        if file.parent == own and file.suffix in _YAML:
            continue
        for number, line in enumerate(_lines(file), 1):
            if name := _url(line, place) or ("" if file.suffix in _PROSE else _host(line, place)):
                raise RefusedError(
                    f"{file}:{number} names the address of the database itself: {name}",
                    hint="let the program take the address from DATABASE_URL or PG*, which lead to the scratch copy",
                    code="PR1080",
                )


def _files(folder: Path, argv: Sequence[str]) -> Iterator[Path]:
    """Yield the files that may hold settings: in a folder, in those below it, and those that the arguments name."""
    words = (word.partition("=")[2] if word.startswith("--") else word for word in argv[1:])
    yield from (folder / word for word in words if Path(word).suffix in _SETTINGS and len(word) < _PATH)
    left = _FILES
    for at, folders, files in os.walk(folder):
        depth = len(Path(at).relative_to(folder).parts)
        folders[:] = [one for one in folders if depth < _DEPTH and one not in _NOT_OURS and not one.startswith(".")]
        for one in files:
            if Path(one).suffix in _SETTINGS and left > 0:
                left -= 1
                yield Path(at, one)


def _lines(file: Path) -> list[str]:
    try:
        if not file.is_file() or file.stat().st_size > _SIZE:
            return []
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # what we may not read, a program of this user may not either
        return []


def _url(line: str, place: Place) -> str:
    """Return the URL in a line that leads to the database, without a password; else ""."""
    for found in _URL.findall(line):
        if _leads_to(found, place):
            return re.sub(r"//[^/@]*@", "//", found)
    return ""


def _host(line: str, place: Place) -> str:
    """Return the name of the database's host if it is in a line, and is not a name such as localhost; else ""."""
    if "." in place.host and place.host not in _LOCAL and not place.host.startswith("/"):
        return place.host if re.search(rf"(?<![\w.-]){re.escape(place.host)}(?![\w-])", line) else ""
    return ""


def _leads_to(url: str, place: Place) -> bool:
    try:
        other = database_line.expect(parse_url(url, ""), {})
    except ConnectError:
        return False
    if other is None or (other.database, other.port) != (place.database, place.port):
        return False
    return other.host == place.host or (_is_local(other.host) and _is_local(place.host))


def _is_local(host: str) -> bool:
    """Return whether a host is this machine; a path is the folder of a socket."""
    return host in _LOCAL or host.startswith("/")


def cover(env: Mapping[str, str], given: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set so that a `.env` file adds no address. given: what the program gets already.

    env: the redirected environment, made of what the `.env` files set and of the caller's, which goes before it.
    """
    return {
        name: env.get(name, "") for name, value in files.items() if name not in given and env.get(name, "") != value
    }
