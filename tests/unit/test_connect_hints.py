"""What to type when no connection could be made."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runner.database.connect_hints import connect_hint
from runner.database.connections import Connections
from runner.errors import ConnectError
from runner.words import typeable

NO_SERVER = 'connection to server on socket "/s/.s.PGSQL.5432" failed: No such file or directory'


@pytest.mark.parametrize(
    ("text", "words", "env", "name", "hint"),
    [
        (NO_SERVER, {}, {}, "", "nothing says which database: export DATABASE_URL=postgresql://USER@HOST/DATABASE"),
        (NO_SERVER, {}, {}, "source", "nothing says which database: export PLANRUN_SOURCE_URL="),
        (NO_SERVER, {"host": "/s"}, {}, "", "check host, port and that the server runs: pg_isready"),
        (NO_SERVER, {}, {"PGHOST": "/s"}, "", "check host, port and that the server runs: pg_isready"),
        ('definition of service "prod" not found', {"service": "prod"}, {}, "target",
         "define [prod] in ~/.pg_service.conf, or export PLANRUN_TARGET_URL="),
        ('definition of service "prod" not found', {"service": "prod"}, {"PGSERVICEFILE": "/etc/s"}, "target",
         "define [prod] in /etc/s, or export PLANRUN_TARGET_URL="),
        ('FATAL:  role "app" does not exist', {}, {}, "", "check the user in DATABASE_URL or PGUSER"),
        ('FATAL:  database "shop" does not exist', {}, {}, "", "check the name: psql -l"),
        ("fe_sendauth: no password supplied", {}, {}, "", "put the password in ~/.pgpass (mode 0600) or PGPASSFILE"),
    ],
)  # fmt: skip
def test_the_hint_names_what_is_missing(
    text: str, words: Mapping[str, str], env: Mapping[str, str], name: str, hint: str
) -> None:
    said = typeable(connect_hint(text, words, env, name), "p.yml")
    assert said.startswith(hint)
    assert said.endswith(", then: planrun doctor p.yml")


def test_a_connection_that_fails_has_such_a_hint() -> None:
    connections = Connections({"target": {"service": "none_of_this_name"}}, {})
    with pytest.raises(ConnectError, match="none_of_this_name") as caught:
        connections.open("")
    assert "or export PLANRUN_TARGET_URL=" in caught.value.hint
