"""A database to restore into that nobody will miss: made where it may be, refused with the reason, always removed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg
import pytest

from runner.backup import manifest, scratch
from runner.backup.manifest import Manifest, Need
from runner.cancel import Cancel
from runner.errors import TargetError
from tests.servers import Server


def make_manifest(**more: object) -> Manifest:
    given: Mapping[str, object] = {
        "made_by": "planrun", "state": "complete", "session": "s", "id": "i", "run": "r", "plan": "p",
        "started": datetime(2025, 7, 20, tzinfo=UTC), "pg_dump": "14.1", **more,
    }  # fmt: skip
    return Manifest(**given)  # type: ignore[arg-type]


def words(url: str) -> dict[str, str]:
    return {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}


def scratches(server: Server) -> list[str]:
    with server.admin() as conn:
        found = conn.execute("select datname from pg_database where starts_with(datname, 'planrun_scratch_')")
        return [str(name) for (name,) in found.fetchall()]


def test_it_is_empty_and_gone_at_the_end(pg_server: Server, db: str) -> None:
    before = set(scratches(pg_server))
    with scratch.database(make_manifest(), extensions=set(), server=words(db), env={}, cancel=Cancel()) as place:
        assert set(scratches(pg_server)) - before == {place.words["dbname"]} and not place.private
        with place.connections.open() as conn:
            assert (
                conn.execute("select 1 as x from pg_class where relnamespace = 'public'::regnamespace").fetchall() == []
            )
    assert set(scratches(pg_server)) <= before
    with (
        pytest.raises(ZeroDivisionError),
        scratch.database(make_manifest(), extensions=set(), server=words(db), env={}, cancel=Cancel()),
    ):
        raise ZeroDivisionError
    assert set(scratches(pg_server)) <= before


@pytest.mark.parametrize(
    ("session", "extensions", "problem"),
    [
        (make_manifest(pg_dump="99.1"), set[str](), "the server is PostgreSQL"),
        (make_manifest(), {"no_such_extension"}, "needs no_such_extension"),
        (
            make_manifest(needs=(Need(kind="extension", schema="", name="nor_this", identity=""),)),
            set[str](),
            "needs nor_this",
        ),
    ],
)
def test_a_server_that_will_not_do_is_refused_and_nothing_is_made(
    session: Manifest, extensions: set[str], problem: str, pg_server: Server, db: str
) -> None:
    before = scratches(pg_server)
    with (
        pytest.raises(TargetError, match=problem) as found,
        scratch.database(session, extensions=extensions, server=words(db), env={}, cancel=Cancel()),
    ):
        raise AssertionError("it was made")
    assert "--server" in found.value.hint and set(scratches(pg_server)) <= set(before)


def test_an_encoding_of_its_own(db: str) -> None:
    latin = make_manifest(server=manifest.Server(version="14", version_num=140000, database="d", encoding="LATIN1"))
    with (
        scratch.database(latin, extensions=set(), server=words(db), env={}, cancel=Cancel()) as place,
        place.connections.open() as conn,
    ):
        assert conn.execute("select current_setting('server_encoding') as it").fetchall() == [{"it": "LATIN1"}]


def test_words_of_a_url() -> None:
    assert scratch.words_of("postgresql://me@h:7/x")["port"] == "7"
    with pytest.raises(TargetError) as found:
        scratch.words_of("postgresql://me:s3cret@[bad")
    assert "s3cret" not in str(found.value)


def test_the_server_must_be_as_new_as_the_dumps() -> None:
    assert scratch.at_least(make_manifest(pg_dump="16.4")) == 16
