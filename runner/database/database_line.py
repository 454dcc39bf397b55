"""The first lines of planrun's output: which databases it is about, and where each connection was defined.

`target: prod at db1:5432 as app, from PLANRUN_TARGET_URL`. An open connection knows its own address; before that, the
line shows what libpq would make of the parameters and the environment (PostgreSQL docs 34.1.2, 34.15).
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence

from runner.record import dataclass

_VARIABLES = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}


@dataclass(frozen=True)
class Place:
    """The address of a connection, from an open one or from its parameters."""

    database: str
    host: str
    port: str
    user: str

    def __str__(self) -> str:
        return f"{self.database} at {self.host}:{self.port} as {self.user}"


def expect(words: Mapping[str, str], env: Mapping[str, str]) -> Place | None:
    """Return the address in the parameters, before any connection; None if only a service file knows it."""
    if "service" in words or (env.get("PGSERVICE") and "host" not in words):
        return None
    given = {word: words.get(word) or env.get(variable, "") for word, variable in _VARIABLES.items()}
    user = given["user"] or _login()
    return Place(
        database=given["dbname"] or user,
        host=given["host"] or given["hostaddr"] or "the local socket",
        port=given["port"] or "5432",
        user=user,
    )


def write(name: str, place: Place | None, words: Mapping[str, str], origin: str) -> str:
    """Return the line. name: the name of the connection; "" in a plan that declares none."""
    service = f"service {words['service']}" if "service" in words else "the service of PGSERVICE"
    return f"{name or 'target'}: {place or service}, from {origin}"


def origin(words: Mapping[str, str], env: Mapping[str, str], variable: str, out: Sequence[str] = ()) -> str:
    """Return where the parameters come from. variable: the one that contains them all, "" for none; out: what was left
    out of it because libpq does not know it."""
    used = [name for name in (*_VARIABLES.values(), "PGSERVICE") if env.get(name)]
    if variable:
        notes = [f"without {', '.join(out)}"] if out else []
        notes += [f"not from {', '.join(used)}, which {_are(used)} set, too"] if used else []
        return f"{variable} ({'; '.join(notes)})" if notes else variable
    missing = [name for word, name in _VARIABLES.items() if env.get(name) and word not in words]
    if words:
        also = f", {', '.join(missing)}" if missing else ""
        return f"service {words['service']} of the plan{also}" if "service" in words else f"the plan{also}"
    return ", ".join(used) or "the defaults of libpq"


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"
