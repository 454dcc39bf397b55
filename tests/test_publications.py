"""A publication of all tables publishes ours, too: no row of a table without an identity may be deleted then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.refreshes import KEEPING, Before, shop
from tests.servers import Server


@pytest.fixture(scope="module")
def logical(_no_settings_of_the_caller: None) -> Iterator[Server]:
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here")
    with servers.local(settings={"wal_level": "logical"}) as made:
        yield made


def test_preserved_rows_are_caught_up_under_a_publication_of_all_tables(logical: Server, tmp_path: Path) -> None:
    number = iter(range(9))
    pair = shop(tmp_path, lambda: logical.create(f"p{next(number)}"), KEEPING)
    pair.fill("create publication everything for all tables", only="target")
    before = Before(pair)
    pair.apply("--until", "prepare")
    pair.fill("delete from users where id = 3; update users set id = 1000 where id = 4", only="target")
    pair.apply("--resume")
    assert pair.ask("select id from users where id in (3, 4, 1000)") == [(1000,)]
    assert before.catalog_changes() == ""
    pair.fill("delete from users where id = 1000", only="target")
    pair.ok("rollback", "plan.yml", "--yes", "--accept-data-loss")
