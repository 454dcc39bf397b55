"""What SQL takes away, by PostgreSQL's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner import resources
from runner.model import UNKNOWN
from runner.safesql.destruction import sql_effects, text_effects
from runner.safesql.templates import Templates
from runner.table_name import TableName

TAKES = {
    "drop table orders": ["drop table orders"],
    'DROP TABLE IF EXISTS sales.orders, "Area" CASCADE': ["drop table sales.orders", 'drop table "Area"'],
    "drop materialized view totals": ["drop materialized view totals"],
    "drop schema app, old": ["drop schema app", "drop schema old"],
    "alter table orders drop column note, add column x int": ["drop column note of orders"],
    "alter table orders alter column id type bigint": ["new type of column id of orders"],
    "truncate a, b": ["truncate a", "truncate b"],
    "truncate a cascade": ["truncate a", "truncate ... cascade, of every table that refers to these"],
    "delete from orders": ["delete from orders without WHERE"],
    "delete from orders where true": ["delete from orders without WHERE"],
    "delete from orders where 1 = 1": ["delete from orders without WHERE"],
    "update orders set note = null": ["update orders without WHERE"],
    "with gone as (delete from a returning *) insert into b select * from gone": ["delete from a without WHERE"],
    "explain analyze delete from a": ["delete from a without WHERE"],
    "drop owned by app": ["drop owned"],
    "drop database shop": ["drop database shop"],
    "drop extension hstore": ["drop extension"],
    "drop type mood cascade": ["drop type cascade"],
    "do $$ begin execute 'drop table x'; end $$": ["a DO block"],
    "call clean_up()": ["CALL of a procedure"],
    "prepare p as delete from a; execute p": ["EXECUTE of a prepared statement"],
    "select 1; /* drop */ drop table b": ["drop table b"],
    "create table x (); drop table x; drop table y": ["drop table y"],
    "create table if not exists x (); drop table x": ["drop table x"],
    "drop table x; create table x ()": ["drop table x"],
}
LEAVES = [
    "select 'drop table orders'",
    "delete from orders where id = 7",
    "update orders set note = null where note = ''",
    "insert into a values (1) on conflict (id) do update set n = 2",
    "drop view v", "drop view v cascade", "drop index i", "drop type mood", "drop function f()",
    "alter table orders add column x int", "alter table orders rename to old",
    "create function f() returns void begin atomic delete from a; end",
    "create rule r as on delete to v do instead delete from a",
    "merge into a using b on a.id = b.id when matched then delete",
    "create temp table t as select 1; truncate t",
    "analyze; vacuum",
]  # fmt: skip


@pytest.mark.parametrize("text", TAKES)
def test_what_a_statement_takes_away(text: str) -> None:
    assert [loss.what for loss in text_effects(text).losses] == TAKES[text]


@pytest.mark.parametrize("text", LEAVES)
def test_what_takes_nothing_away(text: str) -> None:
    assert text_effects(text).losses == ()


def test_a_statement_that_is_too_deep_for_the_parser_is_opaque() -> None:
    (loss,) = text_effects(f"delete from a where {' + '.join(['x'] * 200)} > 0").losses
    assert loss.opaque and loss.tables is None


def effects(text: str, **values: Any) -> list[tuple[str, Any]]:
    found = sql_effects({"text": text, "values": values}, Templates((resources.SQL,)))
    return [(loss.what, loss.tables) for loss in found.losses]


def test_a_template_with_known_values_is_what_it_renders_to() -> None:
    orders = (TableName("", "orders"),)
    assert effects("drop table {{ t|ident }}", t="orders") == [("drop table orders", orders)]
    assert effects("{% if all %}drop table a{% else %}select 1{% endif %}", all=False) == []


def test_a_name_that_only_the_run_knows_stands_for_any_table() -> None:
    assert effects("drop table {{ t|ident }}", t=UNKNOWN) == [("drop table ...", None)]


@pytest.mark.parametrize(
    "text",
    [
        "{% if n == 1 %}{% if not n %}drop table a;{% endif %}{% endif %} select 1",
        "{% for one in n %}{% if loop.index == 7 %}drop table a;{% endif %}{% endfor %} select 1",
        "{% if n %}{% if not n %}dr{# #}op table a;{% endif %}{% endif %} select 1",
    ],
)
def test_a_branch_that_no_value_at_hand_reaches_is_opaque(text: str) -> None:
    assert effects(text, n=UNKNOWN) == [("SQL that depends on values known only during the run", None)]


def test_a_loop_over_what_only_the_run_knows_is_harmless_without_such_words() -> None:
    assert effects("{% for one in n %}analyze {{ one|ident }};{% endfor %}", n=UNKNOWN) == []


@pytest.mark.parametrize("given", [{"file": UNKNOWN}, {"text": "select 1", "values": UNKNOWN}, {"file": "no.sql"}])
def test_sql_that_cannot_be_seen_is_opaque(given: dict[str, Any], tmp_path: Path) -> None:
    (loss,) = sql_effects(given, Templates((tmp_path,))).losses
    assert loss.opaque
