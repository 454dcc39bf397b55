"""A refresh among other people's roles, plans and habits: nothing is lost in silence, what cannot be is said first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import conninfo

from tests.catalogs import contents, differing_tables
from tests.refreshes import FEW, KEEPING, MANY, PLAN, SHOP, Before, Pair, not_as_in_the_source, shop
from tests.servers import Server

NewDb = Callable[[], str]
WINDOW = PLAN.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}")
UNNOTED = (
    "alter table users disable trigger all; update users set v = 99 where id = 5; alter table users enable trigger all"
)
"""What a data load with --disable-triggers does."""


# ------------------------------------------------------------------ writes that nobody noted


def test_a_write_that_was_not_noted_stops_the_swap(new_db: NewDb, tmp_path: Path) -> None:
    load = f"  - {{id: load_data, uses: sql, with: {{text: '{UNNOTED}'}}}}\n  - {{id: cleanup,"
    pair = shop(tmp_path, new_db, KEEPING.replace("  - {id: cleanup,", load))
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1 and "not every change was recorded" in done.output and "public.users" in done.output, (
        done.output
    )
    assert pair.ask("select v from users where id = 5") == [(99,)]
    assert pair.ask("select state from planrun.refresh") == [("loaded",)]


def test_a_resume_that_finds_such_a_write_finds_it_each_time(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING)
    pair.apply("--until", "prepare")
    pair.fill(UNNOTED, only="target")
    for _ in range(3):  # status says --resume
        done = pair.here("apply", "plan.yml", "--yes", "--resume")
        assert done.code == 1 and "start again" in done.output, done.output
        assert "sync: failed, not every change of public.users was recorded" in done.err, done.output
    pair.apply()
    assert pair.ask("select v from users where id = 5") == [(99,)]


def test_a_write_that_was_not_noted_ends_the_window(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, WINDOW)
    pair.apply()
    pair.fill(UNNOTED, only="target")
    before = contents(pair.target)
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code == 1 and "not every change of public.users was recorded" in done.output, done.output
    assert "--accept-data-loss" in done.output
    assert differing_tables(before, contents(pair.target)) == []


def test_rows_that_row_security_hides_are_not_taken_for_none(
    new_db: NewDb, tmp_path: Path, clerk: Callable[[str], str]
) -> None:
    pair = Pair(tmp_path, new_db(), new_db(), PLAN)
    make = "create table t (id int primary key, who name); insert into t values (1, 'planrun_guard_clerk')"
    pair.fill(make, "alter table t owner to planrun_guard_clerk; grant create on schema public to planrun_guard_clerk")
    pair.fill(
        "alter table t enable row level security; alter table t force row level security;"
        "create policy p on t using (who = current_user) with check (true)",
        only="target",
    )
    pair.env["PLANRUN_TARGET_URL"] = clerk(pair.target)
    pair.apply()
    pair.fill("insert into t values (2, 'another')", only="target")
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code == 1 and "public.t hides rows from planrun_guard_clerk" in done.output, done.output
    assert pair.ask("select count(*) from t") == [(2,)]


def test_a_column_that_came_after_the_swap_is_not_lost_in_silence(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, WINDOW)
    pair.fill("alter table users add column came_along int", only="source")
    pair.apply()
    pair.fill("alter table orders add column note text default 'x'", only="target")
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code == 1 and "lost with their values: public.orders.note" in done.output, done.output
    assert pair.ask("select count(*) from orders where note = 'x'") == [(3000,)]
    pair.ok("rollback", "plan.yml", "--yes", "--accept-data-loss")
    assert pair.ask("select count(*) from orders") == [(30,)]


# ------------------------------------------------------------------ the way back of the last time


STAYS = "select state, to_regclass('backup_orders') is not null, to_regclass('backup_lines') is not null"
IMPOSSIBLE = {
    "alter table orders add column x int": "columns of public.orders",
    "drop table planrun_shadow_public.lines": "are gone: public.lines",
    "create view late as select id from orders": "view public.late was created since",
    UNNOTED: "not every change was recorded",
    "create table orders_made_on_idx (id int)": "in use: public.orders_made_on_idx",
}
"""What somebody does after the load, and what the swap then says of it."""


@pytest.fixture
def again(new_db: NewDb, tmp_path: Path) -> Pair:
    """A shop with the backup set of a swap, and something new in the source."""
    pair = shop(tmp_path, new_db, KEEPING, orders=30)
    pair.apply()
    pair.fill("alter table orders add column made_on date; create index on orders (made_on)", only="source")
    return pair


def has_both_refreshes(pair: Pair) -> bool:
    found = pair.ask(f"{STAYS} from planrun.refresh order by made")
    return found == [("swapped", True, True), ("loaded", True, True)]


@pytest.mark.parametrize("meddling", IMPOSSIBLE)
def test_the_backup_set_is_not_dropped_for_a_swap_that_is_impossible(again: Pair, meddling: str) -> None:
    meddle = f"  - {{id: meddle, uses: sql, with: {{text: {json.dumps(meddling)}}}}}\n  - {{id: cleanup,"
    again.write(KEEPING.replace("  - {id: cleanup,", meddle))
    done = again.here("apply", "plan.yml", "--yes")
    assert done.code == 1 and "cleanup: warned" in done.err and "swap: failed" in done.err, done.output
    assert done.err.count(IMPOSSIBLE[meddling]) >= 2, done.output
    assert has_both_refreshes(again)


def test_nor_when_it_is_altered_while_the_run_is_paused(again: Pair) -> None:
    again.apply("--until", "prepare")
    again.fill("alter table orders add column x int", only="target")
    for _ in range(2):
        done = again.here("apply", "plan.yml", "--yes", "--resume")
        assert done.code == 1 and "after this cleanup cannot succeed: changed since" in done.output, done.output
        assert "cleanup: ok" not in done.output and has_both_refreshes(again)


def test_a_step_that_may_not_fail_stops_before_the_swap_and_the_next_run_loads_again(again: Pair) -> None:
    again.write(KEEPING.replace(" on_error: warn,", ""))
    again.apply("--until", "prepare")
    again.fill("alter table orders add column x int", only="target")
    done = again.here("apply", "plan.yml", "--yes", "--resume")
    assert done.code == 1 and "after this cleanup cannot succeed: changed since" in done.output, done.output
    assert "planrun abort" in done.output and "next: planrun apply plan.yml\n" in done.output, done.output
    assert has_both_refreshes(again)
    again.apply()  # what was loaded before is no reason to stop what loads again
    assert again.ask("select state from planrun.refresh") == [("swapped",)]
    assert not_as_in_the_source(again) == []


def test_a_set_that_is_named_goes_whatever_is_loaded(again: Pair) -> None:
    again.apply("--until", "prepare")
    again.fill("alter table orders add column x int", only="target")
    [(name,)] = again.ask("select id from planrun.refresh where state = 'swapped'")
    again.ok("backups", "prune", "plan.yml", name, "--yes")
    assert again.ask("select state from planrun.refresh") == [("loaded",)]


def test_a_lost_shadow_of_a_preserved_table_is_loaded_again(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING, orders=30)
    pair.apply("--until", "prepare")
    pair.fill("drop table planrun_shadow_public.sessions cascade", only="target")
    done = pair.here("apply", "plan.yml", "--yes", "--resume")
    assert done.code == 1 and "next: planrun apply plan.yml\n" in done.output, done.output
    pair.apply()
    assert pair.ask("select count(*) from sessions") == [(200,)] and not_as_in_the_source(pair) == []


# ------------------------------------------------------------------ sequences of no table


@pytest.mark.parametrize("source, target, next", [(500, 5, 501), (5, 500, 501), (7, 7, 8)])
def test_a_sequence_of_no_table_gives_no_number_twice(
    new_db: NewDb, tmp_path: Path, source: int, target: int, next: int
) -> None:
    pair = Pair(tmp_path, new_db(), new_db(), PLAN)
    pair.fill("create sequence s; create table t (id int primary key default nextval('s'))")
    pair.fill("create sequence down increment -3; create table d (id int primary key default nextval('down'))")
    for only, rows in (("source", source), ("target", target)):
        pair.fill(*(f"insert into {t} select nextval('{s}') from generate_series(1, {rows})" for t, s in
                    (("t", "s"), ("d", "down"))), only=only)  # fmt: skip
    pair.apply()
    assert not_as_in_the_source(pair) == []
    assert pair.ask("insert into t default values returning id") == [(next,)]
    assert pair.ask("insert into d default values returning id") == [(2 - 3 * next,)]
    pair.ok("rollback", "plan.yml", "--yes", "--accept-data-loss")
    assert pair.ask("insert into t default values returning id") == [(next + 1,)]


# ------------------------------------------------------------------ grants


GRANTS = """
    select relname, relacl::text, array(select attname || attacl::text from pg_attribute as a
                                        where attrelid = c.oid and attacl is not null order by 1)
    from pg_class as c where relname in ('users', 'orders') and relnamespace = 'public'::regnamespace order by 1
"""


def test_a_rollback_brings_back_no_grant_and_loses_none(
    new_db: NewDb, tmp_path: Path, clerk: Callable[[str], str]
) -> None:
    pair = shop(tmp_path, new_db)
    pair.fill(
        "grant select (email) on users to planrun_guard_clerk;"
        "grant select, update (amount) on orders to planrun_guard_clerk",
        only="target",
    )
    granted = pair.ask(GRANTS)
    pair.apply()
    assert [(name, columns) for name, _, columns in pair.ask(GRANTS)] == [(n, columns) for n, _, columns in granted]
    pair.fill(
        "revoke select (email) on users from planrun_guard_clerk; grant delete on orders to planrun_guard_clerk;"
        "grant select (id) on orders to public",
        only="target",
    )
    then = pair.ask(GRANTS)
    pair.ok("rollback", "plan.yml", "--yes", "--accept-data-loss")
    assert pair.ask(GRANTS) == then


# ------------------------------------------------------------------ roles that own no more than they must


@pytest.fixture
def clerk(pg_server: Server) -> Iterator[Callable[[str], str]]:
    """Make roles as a managed service has them, and turn a conninfo into that of the one that is no superuser."""
    with pg_server.admin() as conn:
        for role in ("planrun_guard_clerk login", "planrun_test_owner", "planrun_test_granter"):
            conn.execute(
                f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then end $$"
            )
        conn.execute("grant planrun_test_owner to planrun_guard_clerk")

    def login(db: str) -> str:
        with pg_server.admin() as conn:
            conn.execute(f"grant create on database {conninfo.conninfo_to_dict(db)['dbname']} to planrun_guard_clerk")
        return conninfo.make_conninfo(db, user="planrun_guard_clerk")

    yield login


def make_managed_shop(folder: Path, new_db: NewDb, clerk: Callable[[str], str], plan: str = KEEPING) -> Pair:
    """Return a shop whose tables belong to a role that the one which connects is only a member of."""
    pair = Pair(folder, new_db(), new_db(), plan)
    pair.fill("grant create on schema public to planrun_test_owner; revoke create on schema public from public")
    for only, rows in (("source", MANY.format(orders=300)), ("target", FEW)):
        pair.fill(f"set role planrun_test_owner; {SHOP}; {rows}; reset role", only=only)
    pair.env |= {"PLANRUN_SOURCE_URL": clerk(pair.source), "PLANRUN_TARGET_URL": clerk(pair.target)}
    return pair


def test_a_member_of_the_owner_does_it_all(new_db: NewDb, tmp_path: Path, clerk: Callable[[str], str]) -> None:
    window = KEEPING.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}")
    pair = make_managed_shop(tmp_path, new_db, clerk, window)
    before = Before(pair)
    pair.apply("--until", "prepare")
    pair.ok("abort", "plan.yml", "--yes")
    assert before.changes() == ""
    pair.apply()
    pair.fill("insert into users values (7777, 'x', 1)", only="target")
    pair.ok("rollback", "plan.yml", "--yes")
    assert pair.ask("select v from users where id = 7777") == [(1,)]
    assert before.catalog_changes() == ""
    pair.apply()
    pair.apply()
    assert not_as_in_the_source(pair) == []


def test_what_could_not_be_given_back_is_refused_before_the_load(
    new_db: NewDb, tmp_path: Path, clerk: Callable[[str], str], pg_server: Server
) -> None:
    pair = make_managed_shop(tmp_path, new_db, clerk)
    pair.fill(
        "create view supers as select id from users; create publication pub for table orders;"
        "create table others (id int references users); create view free as select 1; grant all on others to public",
        only="target",
    )
    done = pair.here("diff", "plan.yml")
    assert done.code == 1, done.output
    for what in ("view public.supers", "public.orders in publication pub", "foreign key others_id_fkey"):
        assert f"{what} (would be lost: belongs to " in done.output.replace(" of public.others", ""), done.output
    pair.fill("drop view supers; drop publication pub; drop table others", only="target")
    pair.fill(
        "grant select on users to planrun_test_granter with grant option; set role planrun_test_granter;"
        "grant select on users to public"
    )
    done = pair.here("diff", "plan.yml")
    assert done.code == 1 and "users (in the target planrun_test_granter owns it or granted rights" in done.output
    pair.fill("set role planrun_test_granter; revoke select on users from public", only="target")
    if pg_server.major >= 16:
        pair.fill("grant planrun_test_owner to planrun_guard_clerk with set false")
        done = pair.here("diff", "plan.yml")
        pair.fill("grant planrun_test_owner to planrun_guard_clerk with set true")
        assert done.code == 1 and "planrun_guard_clerk may not SET ROLE to it" in done.output
    pair.apply()  # who granted what in the source is no matter
    assert not_as_in_the_source(pair) == []


# ------------------------------------------------------------------ several plans in one database


def test_plans_for_two_schemas_do_not_take_each_others_tables(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.fill("create schema other; create table other.t (id int primary key)")
    (tmp_path / "other.yml").write_text(PLAN.replace("name: refresh", "name: other").replace("public", "other"))
    for plan in ("other.yml", "plan.yml"):
        pair.ok("apply", plan, "--yes", "--until", "prepare")
    before = Before(pair)
    for plan in ("other.yml", "plan.yml"):
        pair.ok("apply", plan, "--yes", "--resume")
    assert before.catalog_changes() == ""
    for plan in ("other.yml", "plan.yml"):
        pair.ok("rollback", plan, "--yes")
    assert pair.ask("select plan, state from planrun.refresh order by 1") == [
        ("other", "undone"),
        ("refresh", "undone"),
    ]


def test_a_plan_does_not_put_back_what_another_has_replaced_since(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    (tmp_path / "other.yml").write_text(PLAN.replace("name: refresh", "name: other"))
    pair.apply()
    pair.ok("apply", "other.yml", "--yes")
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code == 1 and "of plan other came after run" in done.output, done.output
    pair.ok("rollback", "other.yml", "--yes")
    pair.ok("rollback", "plan.yml", "--yes")


# ------------------------------------------------------------------ slips of the pen


def test_a_name_that_means_nothing_is_told(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, PLAN.replace("schema: public}", "schema: public, lose: [view public.nope]}"))
    assert "has this name in `lose:`: view public.nope" in pair.ok("diff", "plan.yml").out
    pair.write(PLAN.replace("schema: public}", "schema: public, structure_only: [uzers]}"))
    done = pair.here("diff", "plan.yml")
    assert done.code == 1 and "no table uzers in schema public" in done.output, done.output


def test_a_table_to_preserve_that_is_not_there_stops_the_run_before_the_load(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING.replace("[users", "[nowhere, users"))
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1 and "cannot preserve: nowhere is not in the target" in done.output, done.output
    assert "refresh: refused: this cannot succeed" in done.output and "next: planrun diff plan.yml" in done.output
    told = json.loads(pair.here("apply", "plan.yml", "--yes", "-o", "json").out)
    assert (told["state"], told["exit_code"]) == ("refused", 1) and "cannot preserve: nowhere" in told["error"][
        "message"
    ]
    assert pair.ask("select to_regnamespace('planrun_shadow_public') is null") == [(True,)]
