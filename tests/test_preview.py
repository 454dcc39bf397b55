"""What a diff tells now: of steps that cannot be planned yet, of the plan's SQL, and that an apply holds to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import api
from runner.model import Plan
from runner.result import RunResult
from runner.words import json_text
from tests.refreshes import KEEPING, PLAN, SHOP, Pair, shop

NewDb = Callable[[], str]


def plan_that_loses(what: str) -> str:
    return PLAN.replace("schema: public}", f"schema: public, lose: ['{what}']}}")


def summary(pair: Pair, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pair.ok("diff", "plan.yml", "-o", "json", *more).out)["summary"]
    return found


def fates(found: dict[str, Any]) -> dict[str, str]:
    return {f"{one['kind']} {one['name']}": one["fate"] for one in found["objects"]}


# ------------------------------------------------------------------ before anything is loaded


def test_the_swap_is_told_before_the_first_load(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING)
    pair.fill("alter table orders add note text", only="target")
    pair.fill("alter table orders add fresh int; create table gifts (id int primary key)", only="source")
    found = summary(pair)
    assert fates(found) == {
        "table public.lines": "replaced",
        "table public.orders": "replaced",
        "table public.gifts": "added",
        "table public.sessions": "keeps its rows",
        "table public.users": "keeps its rows",
        "materialized view public.totals": "rebuilt",
        "view public.big_orders": "rebuilt",
    }
    orders = next(one for one in found["objects"] if one["name"] == "public.orders")
    assert (orders["rows"], orders["rows_after"], orders["rows_exact"]) == (30, 3000, True)
    assert (orders["gains"], orders["loses"]) == (["fresh integer"], ["note text"])
    assert found["locks"] == ["public.lines", "public.orders", "public.sessions", "public.users"]
    assert found["counts"] == {"replaced": 2, "added": 1, "keeps its rows": 2}


def test_no_step_of_a_refresh_says_only_that_it_is_unknown(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING)
    for more in ([], ["-v"], ["-o", "markdown"]):
        assert "unknown until run" not in pair.ok("diff", "plan.yml", *more).out


@pytest.mark.parametrize("phase", ["first", "second"])
def test_the_diff_comes_true(new_db: NewDb, tmp_path: Path, phase: str) -> None:
    """What the diff counts is what is there afterwards, told before the load as after it."""
    pair = shop(tmp_path, new_db, KEEPING)
    pair.apply()
    pair.fill('insert into orders (id, "user", amount) values (9001, 1, 1)', only="source")
    if phase == "second":
        pair.apply("--until", "prepare")
    found = summary(pair, *(["--resume"] if phase == "second" else []))
    assert found["counts"] == {"replaced": 2, "keeps its rows": 2, "dropped": 1}
    pair.apply(*(["--resume"] if phase == "second" else []))
    tables = [one for one in found["objects"] if one["kind"] == "table"]
    for one in tables:
        assert pair.ask(f"select count(*) from {one['name']}") == [(one["rows_after"],)], one
        assert one["note"] == f"the old one stays as public.backup_{one['name'].removeprefix('public.')}"
        assert pair.ask(f"select count(*) from {one['note'].rpartition(' ')[2]}") == [(one["rows"],)], one


def test_who_holds_a_lock_now_is_named(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    with psycopg.connect(pair.target, application_name="report") as conn:
        conn.execute("select count(*) from orders")
        [line] = summary(pair)["holders"]
        assert line.startswith(f"pid {conn.info.backend_pid} (report, idle in transaction, ")
        assert line.endswith(") on public.orders")
        assert f"! held now by {line.partition(' (')[0]}" in pair.ok("diff", "plan.yml").out
    assert summary(pair)["holders"] == []


def test_a_rollback_is_told_with_its_rows(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.apply()
    found = summary(pair, "--rollback")
    orders = next(one for one in found["objects"] if one["name"] == "public.orders")
    assert (orders["fate"], orders["rows"], orders["rows_after"]) == ("replaced", 3000, 30)


# ------------------------------------------------------------------ what an apply holds to


def apply(pair: Pair, between: str, *, of: str = "target", call: Callable[..., RunResult] = api.apply) -> RunResult:
    """Run the plan; somebody else runs SQL when the diff has been approved."""

    def approve(shown: RunResult) -> bool:
        assert shown.exit_code == 0, shown
        pair.fill(between, only="" if of == "both" else of)
        return True

    plan = api.load_plan(pair.folder / "plan.yml", env=pair.env)
    return call(plan, env=pair.env, approve=approve)


WORSE = [
    pytest.param(
        PLAN,
        "create table late (id int primary key)",
        "both",
        "table public.late: not mentioned before, replaced now",
        id="table",
    ),
    pytest.param(
        plan_that_loses("view public.later"),
        "create view later as select * from orders",
        "target",
        "view public.later: not mentioned before, lost now",
        id="view",
    ),
    pytest.param(
        plan_that_loses("materialized view public.later"),
        "create materialized view later as select * from orders",
        "target",
        "materialized view public.later: not mentioned before, lost now",
        id="materialized view",
    ),
    pytest.param(
        plan_that_loses("function public.later(public.orders)"),
        "create function later(orders) returns int immutable language sql as 'select 1'",
        "target",
        "function public.later(public.orders): not mentioned before, lost now",
        id="function",
    ),
]


@pytest.mark.parametrize("plan, between, of, told", WORSE)
def test_a_fate_that_got_worse_stops_the_swap(
    new_db: NewDb, tmp_path: Path, plan: str, between: str, of: str, told: str
) -> None:
    pair = shop(tmp_path, new_db, plan)
    before = pair.ask("select count(*) from orders")
    done = apply(pair, between, of=of)
    assert done.state == "failed" and done["swap"].state == "failed", done
    assert told in done["swap"].message and "--resume" in done["swap"].hint
    assert pair.ask("select count(*) from orders") == before
    shown = summary(pair, "--resume")
    assert told.partition(":")[0] in fates(shown)
    pair.apply("--resume")
    assert pair.ask("select count(*) from orders") == [(3000,)]


LOSSES = {
    "view": "create view odd as select orders from orders",
    "inheritance": "create table child () inherits (orders)",
    "rule": "create rule r as on insert to lines do also insert into orders default values; create view deep as "
    "select xmin from orders",
    "function": "create function f(orders) returns int immutable language sql as 'select 1'; "
    "create index on lines ((f(null)))",
}


@pytest.mark.parametrize("between", LOSSES.values(), ids=LOSSES)
def test_an_object_that_came_after_the_diff_is_kept_or_stops_the_run(
    new_db: NewDb, tmp_path: Path, between: str
) -> None:
    pair = shop(tmp_path, new_db)
    done = apply(pair, between)
    if done.state == "failed":
        assert pair.ask("select count(*) from orders") == [(30,)]
    else:
        assert pair.ask("select count(*) from orders") == [(3000,)]
        assert not any(fate == "lost" for fate in fates(summary(pair)).values())


def test_a_backup_set_that_came_after_the_diff_stays(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, PLAN.replace("name: refresh", "name: other"))
    pair.fill("create table old_users (id int); insert into old_users values (1)", only="target")
    pair.ok("backups", "adopt", "plan.yml", "old_users=users", "--yes")
    pair.write("name: refresh\nconnections: {target: {}}\nsteps:\n  - {id: clean, uses: drop_backup_set}\n")
    done = apply(pair, "update planrun.refresh set plan = 'refresh'")
    assert done["clean"].state == "failed" and "not mentioned before, dropped now" in done["clean"].message
    assert pair.ask("select count(*) from old_users") == [(1,)]


BETTER = [
    pytest.param("drop materialized view totals", "target", id="view"),
    pytest.param("drop table gone", "both", id="table"),
]


def test_a_session_that_was_to_stay_does_not_go(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.write("name: p\nsteps:\n  - {id: save, uses: pg_dump, with: {to: kept, tables: [public.orders]}}\n")
    save = api.load_plan(pair.folder / "plan.yml", env=pair.env)
    first, second = (Path(api.apply(save, env=pair.env)["save"].outputs["session"]) for _ in range(2))
    pair.write("name: p\nsteps:\n  - {id: clean, uses: retention, with: {path: kept, keep_last: 1}}\n")
    done = apply(pair, "", call=partial(_save_before, save))
    assert done.state == "failed", done
    assert f"session {second.name}: not mentioned before, dropped now" in done["clean"].message
    assert first.is_dir() and second.is_dir()


def _save_before(save: Plan, plan: Plan, *, env: dict[str, str], approve: Callable[[RunResult], bool]) -> RunResult:
    return api.apply(plan, env=env, approve=lambda shown: approve(shown) and api.apply(save, env=env).ok)


@pytest.mark.parametrize("between, of", BETTER)
def test_a_fate_that_got_better_stops_nothing(new_db: NewDb, tmp_path: Path, between: str, of: str) -> None:
    pair = shop(tmp_path, new_db)
    pair.fill("create table gone (id int primary key)")
    done = apply(pair, between, of=of)
    assert done.state == "ok", done
    assert pair.ask("select count(*) from orders") == [(3000,)]


def test_without_a_diff_nothing_is_held_to(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    plan = api.load_plan(pair.folder / "plan.yml", env=pair.env)
    assert api.apply(plan, env=pair.env).state == "ok"


# ------------------------------------------------------------------ the plan's own SQL


def sql_plan(*texts: str) -> str:
    steps = "".join(
        f"  - {{id: s{number}, uses: sql, with: {{text: {json_text(text)}}}}}\n" for number, text in enumerate(texts)
    )
    return f"name: p\nconnections: {{target: {{}}}}\nsteps:\n{steps}"


@pytest.fixture
def house(new_db: NewDb, tmp_path: Path) -> Pair:
    target = new_db()
    pair = Pair(tmp_path, target, target, PLAN)
    pair.fill(SHOP, "insert into users select n, n::text, 0 from generate_series(1, 200) n; analyze", only="target")
    return pair


CHANGES = [
    ("update users set v = 1 where id <= 50", "table public.users", "changed", "update of about 50 rows"),
    ("delete from users", "table public.users", "changed", "delete of about 200 rows"),
    ("insert into orders default values", "table public.orders", "changed", "insert of about 1 row"),
    ("truncate users", "table public.users", "changed", "truncate"),
    ("drop table lines", "table public.lines", "dropped", "drop table"),
    ("drop view big_orders", "view public.big_orders", "dropped", "drop view"),
    ("alter table users add x int", "table public.users", "changed", "alter"),
    ("create index on users (v)", "table public.users", "changed", "create index on"),
]


@pytest.mark.parametrize("text, what, fate, note", CHANGES)
def test_what_a_statement_touches_is_told(house: Pair, text: str, what: str, fate: str, note: str) -> None:
    house.write(sql_plan(text))
    [one] = summary(house)["objects"]
    assert (f"{one['kind']} {one['name']}", one["fate"], one["note"]) == (what, fate, note)
    assert house.ask("select count(*), sum(v) from users") == [(200, 0)]


def test_the_number_of_rows_is_not_guessed_of_a_table_without_statistics(house: Pair) -> None:
    house.fill("create table raw (id int); insert into raw values (1)", only="target")
    house.write(sql_plan("delete from raw"))
    [one] = summary(house)["objects"]
    assert one["note"] == "delete of an unknown number of rows (the table was never analyzed)"
    assert (one["rows"], one["rows_exact"]) == (1, True)


MISSING = {
    "relation": ("update userz set v = 1", 'relation "userz" does not exist'),
    "column": ("update users set w = 1", 'column "w"'),
    "dropped": ("drop table userz", 'there is no "userz"'),
    "schema": ("delete from nowhere.users", "nowhere.users"),
    "function": ("select frobnicate(1)", "function frobnicate(integer) does not exist"),
}


@pytest.mark.parametrize("text, told", MISSING.values(), ids=MISSING)
def test_sql_that_the_server_would_refuse_fails_the_diff(house: Pair, text: str, told: str) -> None:
    house.write(sql_plan(text))
    done = house.here("diff", "plan.yml")
    assert done.code == 1 and told in done.out, done.output
    done = house.here("apply", "plan.yml", "--yes")
    assert done.code == 1 and "nothing was started" in done.out, done.output


LATER = {
    "same text": ["create table fresh (id int); insert into fresh values (1)"],
    "earlier step": ["create table fresh (id int)", "insert into fresh values (1)"],
    "search_path": ["create schema s; create table s.t (id int); set local search_path = s; insert into t values (1)"],
    "if exists": ["drop table if exists userz"],
}


@pytest.mark.parametrize("texts", LATER.values(), ids=LATER)
def test_sql_on_what_the_plan_makes_itself_is_no_error(house: Pair, texts: list[str]) -> None:
    house.write(sql_plan(*texts))
    assert house.here("diff", "plan.yml").code == 0
    assert house.here("apply", "plan.yml", "--yes").code == 0


def test_a_diff_runs_nothing_of_the_sql(house: Pair) -> None:
    house.fill("create sequence counter", only="target")
    house.write(sql_plan("delete from users where id = nextval('counter') or pg_sleep(30) is null"))
    assert house.here("diff", "plan.yml").code == 0
    assert house.ask("select is_called from counter") == [(False,)]


def test_a_secret_in_the_sql_is_not_told(house: Pair) -> None:
    house.write(
        "name: p\nconnections: {target: {}}\nsteps:\n  - id: s\n    uses: sql\n    with:\n"
        "      text: 'update users set email = {{ token }} where id = 1; select {{ token }}'\n"
        "      values: {token: '${env.API_TOKEN}'}\n"
    )
    for more in ([], ["-v"], ["-o", "json", "-v"], ["-o", "markdown"]):
        done = house.here("diff", "plan.yml", *more, env={"API_TOKEN": "s3cret-value-1"})
        assert done.code == 0 and "s3cret" not in done.output, done.output
