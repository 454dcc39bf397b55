"""Triggers and rules sleep while rows are put in, and wake as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from runner.refresh.swap import disabled_triggers
from runner.sqltext import qualified
from tests.preserved import Live


@pytest.fixture
def live(db: str) -> Iterator[Live]:
    with closing(Live(db)) as made:
        yield made


def test_the_quotes_are_not_in_what_they_quote() -> None:
    assert disabled_triggers.dollars("a") == "$planrun$\na$planrun$"
    assert disabled_triggers.dollars("$planrun$ $planrun1$") == "$planrun2$\n$planrun$ $planrun1$$planrun2$"


def test_they_sleep_for_one_transaction(live: Live) -> None:
    name = 'a "b\n$planrun$ %s'
    table = qualified("public", name)
    live.sql(f"create table {table} (id int primary key, parent int references {table})")
    live.sql("create function f() returns trigger language plpgsql as 'begin return null; end'")
    for trigger in ("always", "replica", "off"):
        live.sql(f"create trigger {trigger} before insert on {table} for each row execute function f()")
    live.sql(f"alter table {table} enable always trigger always; alter table {table} enable replica trigger replica")
    live.sql(f"create constraint trigger late after insert on {table} deferrable for each row execute function f()")
    live.sql(f"alter table {table} disable trigger off")
    live.sql(f'create rule "r%s" as on delete to {table} do instead nothing')
    state = """select tgname, tgenabled from pg_trigger
        union all select rulename, ev_enabled from pg_rewrite where rulename = 'r%s'"""
    before = sorted(live.sql(state))
    live.sql(f"begin; {disabled_triggers.disable_until_enabled(table)}")
    assert {s for n, s in live.sql(state) if not n.startswith("RI_")} == {"D"}
    live.sql(f"insert into {table} values (1, 1); {disabled_triggers.enable()}; commit")
    assert sorted(live.sql(state)) == before
    assert live.sql(f"select id from {table}") == [(1,)]
    live.sql("create table none (id int)")
    none = disabled_triggers.disable_until_enabled(qualified("public", "none"))
    live.sql(f"begin; {none}; {disabled_triggers.enable()}; commit")
