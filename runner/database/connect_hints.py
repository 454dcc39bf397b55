"""What to type when no connection could be made: by the text of libpq or the server, and by what names the database."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.words import PLAN

_THEN = f", then: planrun doctor {PLAN}"
_ADDRESS = "postgresql://USER@HOST/DATABASE"


def connect_hint(text: str, words: Mapping[str, str], env: Mapping[str, str], name: str) -> str:
    """Return the hint.

    text: the message of libpq. words: the parameters of the connection. name: that of the connection, "" if the plan
    declares none.
    """
    if refused := re.search(r'permission denied for database ("(?:[^"]|"")+")', text):
        return f"its owner runs: grant connect on database {refused[1]} to the role that connects"
    if "password" in text or "authentication" in text:
        return f"put the password in ~/.pgpass (mode 0600) or PGPASSFILE{_THEN}"
    variable = f"PLANRUN_{name.upper()}_URL" if name else "DATABASE_URL"
    if service := re.search(r'definition of service "([^"]*)"', text):
        file = env.get("PGSERVICEFILE") or "~/.pg_service.conf"
        return f"define [{service[1]}] in {file}, or export {variable}={_ADDRESS}{_THEN}"
    if re.search(r'role "[^"]*" does not exist', text):
        return f"check the user in {variable} or PGUSER{_THEN}"
    if "does not exist" in text:
        return f"check the name: psql -l{_THEN}"
    if not _has_address(words, env):
        return f"nothing says which database: export {variable}={_ADDRESS}{_THEN}"
    return f"check host, port and that the server runs: pg_isready{_THEN}"


def _has_address(words: Mapping[str, str], env: Mapping[str, str]) -> bool:
    """Return whether the plan or the environment names a server or a database."""
    named = any(words.get(word) for word in ("host", "hostaddr", "port", "dbname", "service"))
    variables = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")
    return named or any(env.get(variable) for variable in variables)
