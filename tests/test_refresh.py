"""The main job through the command line: load, verify, swap, clean up, roll back, in one go and in two phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from tests import servers
from tests.catalogs import catalog, contents, difference, differing_tables, put_aside
from tests.refreshes import KEEPING, NORTHWIND, PLAN, WIDE, Before, Pair, not_as_in_the_source, shop
from tests.servers import Server

NewDb = Callable[[], str]

NEWER = """
update tenants set name = name || ' new' where name <> current_user;
update users set full_name = 'New ' || id;
delete from lines where sku = 'sku 7';
insert into orders (placed, buyer, state) select '2025-06-01 UTC', 3, 'paid' from generate_series(1, 30);
insert into robots values (9, 'nine', 9, 'Nine');
truncate logs;
refresh materialized view reporting.turnover;
"""


def sets(pair: Pair) -> list[str]:
    """Return the backup sets by id, as the ledger has them."""
    return [id for (id,) in pair.ask("select id from planrun.refresh where state = 'swapped' order by made")]


def two_in_a_row_and_back(pair: Pair) -> None:
    """Replace everything, again from a source that has changed meanwhile, and put the first ones back."""
    before = Before(pair)
    first = pair.apply()
    assert not_as_in_the_source(pair) == [], first.output
    assert before.catalog_changes() == ""
    (one,) = sets(pair)

    pair.fill(
        "delete from {}".format("logs" if "logs" in str(contents(pair.source)) else "order_details"), only="source"
    )
    between, source = contents(pair.target), contents(pair.source)
    second = pair.apply()
    assert not_as_in_the_source(pair) == []
    assert before.catalog_changes() == ""
    assert len(sets(pair)) == 1, second.output
    (two,) = sets(pair)
    assert two != one
    listed = json.loads(pair.ok("backups", "list", "plan.yml", "-o", "json").out)
    assert two in json.dumps(listed) and one not in json.dumps(listed)

    pair.ok("rollback", "plan.yml", "--yes")
    tables = [name for name in between if name in source]
    now = contents(pair.target)
    assert [name for name in tables if now.get(name) != between[name]] == []
    assert before.catalog_changes() == ""


def test_everything_that_a_schema_may_hold(each_version: Server, tmp_path: Path) -> None:
    pair = Pair(tmp_path, each_version.create("source"), each_version.create("target"))
    pair.fill(WIDE.read_text())
    pair.fill(NEWER, only="source")
    two_in_a_row_and_back(pair)


@pytest.mark.skipif(not NORTHWIND.exists(), reason="northwind.sql is not beside this repository")
def test_northwind(new_db: NewDb, tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(NORTHWIND.read_text())
    pair.fill("update orders set freight = freight + 1; delete from order_details where quantity > 50", only="source")
    pair.fill("update customers set city = 'Nowhere'; create view late as select * from orders", only="target")
    two_in_a_row_and_back(pair)


# ------------------------------------------------------------------ in two phases


def test_two_phases_and_status_between(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    before = Before(pair)
    done = pair.apply("--until", "prepare")
    assert "--resume" in done.output
    assert before.changes() == ""
    assert "--resume" in pair.ok("status", "plan.yml").out
    status = json.loads(pair.ok("status", "plan.yml", "-o", "json").out)
    assert "format_version" in status
    (loaded,) = pair.ask("select id, state from planrun.refresh")
    assert loaded[1] == "loaded"
    assert loaded[0] in json.dumps(status)

    pair.apply("--resume")
    assert not_as_in_the_source(pair) == []
    assert before.catalog_changes() == ""
    assert len(sets(pair)) == 1
    assert pair.ask("select nspname from pg_namespace where nspname like 'planrun\\_shadow%'") == []


def test_an_older_set_stays_until_prepare_is_ok(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.apply()
    before, kept = Before(pair), put_aside(pair.target)
    pair.apply("--until", "prepare")
    assert put_aside(pair.target) == kept
    assert before.changes() == ""
    shown = pair.ok("diff", "plan.yml").out
    assert "backup set" in shown
    pair.apply("--resume")
    assert len(sets(pair)) == 1


def test_a_failure_inside_prepare_leaves_all_as_it_was(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING)
    pair.apply()
    before, kept = Before(pair), sets(pair)
    failing = "      - {id: fails, uses: check, with: {text: select 'no'}}\n  - {id: cleanup,"
    pair.write(KEEPING.replace("  - {id: cleanup,", failing))
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1, done.output
    assert sets(pair) == kept
    assert differing_tables(before.rows, contents(pair.target)) == []
    changed = difference(before.everything, catalog(pair.target, whole=True)).splitlines()
    entries = [line for line in changed if not line.startswith(" ")]
    assert [line for line in entries if "planrun_keys" not in line] == []

    left = pair.ok("status", "plan.yml").out  # it names what was left, and the command that removes it
    assert "planrun_shadow_public" in left or "shadow" in left, left
    pair.ok("abort", "plan.yml", "--yes")
    assert before.changes() == ""
    assert pair.ask("select nspname from pg_namespace where nspname like 'planrun\\_shadow%'") == []


def test_a_type_that_the_target_lacks_stops_the_load(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.fill("create type mood as enum ('ok'); alter table orders add column m mood", only="source")
    before = Before(pair)
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1 and "mood" in done.output, done.output
    assert before.changes() == ""


# ------------------------------------------------------------------ someone's DDL in between

DDL = {
    "alter table orders add column x int": "alter table orders drop column x",
    "create index meanwhile on orders (amount)": "drop index meanwhile",
    "create trigger t before insert on lines execute function suppress_redundant_updates_trigger()":
        "drop trigger t on lines",
    "grant select on users to public": "revoke select on users from public",
    "alter table users enable row level security": "alter table users disable row level security",
    "create policy p on users": "drop policy p on users",
    "create view meanwhile as select * from users": "drop view meanwhile",
    "create function meanwhile() returns bigint begin atomic; select count(*) from orders; end":
        "drop function meanwhile()",
    "create table meanwhile (id int references users)": "drop table meanwhile",
    "alter table users alter v set not null": "alter table users alter v drop not null",
    "alter table orders alter amount set default 1": "alter table orders alter amount drop default",
    "alter table lines add check (line > 0)": "alter table lines drop constraint lines_line_check",
}  # fmt: skip
CARRIED = ("grant", "create view", "create policy", "alter table users enable", "create table", "create function",
           "create trigger")  # fmt: skip
"""What stays as it is in the target, or depends on the tables, may also come along instead."""


def test_what_others_altered_between_prepare_and_swap_is_refused_or_carried(new_db: NewDb, tmp_path: Path) -> None:
    """Nobody's ALTER is lost: either the swap refuses and says what, or the swapped tables have it."""
    pair = shop(tmp_path, new_db)
    pair.apply("--until", "prepare")
    for change, undo in DDL.items():
        pair.fill(change, only="target")
        before = Before(pair)
        done = pair.here("apply", "plan.yml", "--yes", "--resume")
        if done.code == 0:
            assert change.startswith(CARRIED), f"{change}: it is lost"
            assert before.catalog_changes() == "", change
            pair.fill(undo, only="target")
            pair.apply("--until", "prepare")
        else:
            named = [word for word in ("orders", "lines", "users", "meanwhile") if word in change]
            assert done.code == 1 and any(word in done.output for word in named), done.output
            assert before.catalog_changes() == "", change
            assert differing_tables(before.rows, contents(pair.target)) == []
            pair.fill(undo, only="target")
    pair.apply("--resume")
    assert not_as_in_the_source(pair) == []


def test_a_table_that_somebody_dropped_or_renamed_meanwhile(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.apply("--until", "prepare")
    pair.fill("alter table sessions rename to their_sessions", only="target")
    before = Before(pair)
    done = pair.here("apply", "plan.yml", "--yes", "--resume")
    assert done.code == 1 and "sessions" in done.output, done.output
    assert before.changes() == ""


# ------------------------------------------------------------------ back


def test_a_rollback_says_what_it_would_lose(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    before = Before(pair)
    pair.apply()
    pair.fill(
        "update users set v = 7 where id <= 3; delete from lines; insert into sessions values ('x', 1, 1)",
        only="target",
    )
    swapped = Before(pair)
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code == 1, done.output
    assert "--accept-data-loss" in done.output and "next:" not in done.output  # the same would be refused once more
    assert "next:" not in pair.ok("status", "plan.yml").out
    assert swapped.changes() == ""
    pair.ok("rollback", "plan.yml", "--yes", "--accept-data-loss")
    assert differing_tables(before.rows, contents(pair.target)) == []
    assert before.catalog_changes() == ""
    pair.apply()  # and there is a way forward again
    assert not_as_in_the_source(pair) == []
    assert before.catalog_changes() == ""


def test_a_rollback_gives_no_number_twice(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.apply()
    ((last,),) = pair.ask("select nextval('orders_id_seq')")
    assert last > 3000
    pair.ok("rollback", "plan.yml", "--yes")
    ((back,),) = pair.ask("select nextval('orders_id_seq')")
    assert back > last


@pytest.mark.parametrize("plan", [PLAN, KEEPING], ids=["all", "keeping"])
def test_a_rollback_in_its_window_loses_nothing(new_db: NewDb, tmp_path: Path, plan: str) -> None:
    pair = shop(tmp_path, new_db, plan.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}"))
    before = Before(pair)
    pair.apply()
    pair.fill(
        "update users set v = 7, email = 'moved ' || id where id <= 3; update users set id = 9000 where id = 4;"
        "delete from lines where order_id = 5; insert into sessions values ('x', 1, 1);"
        "insert into orders (id, amount) values (777777, 5)",
        only="target",
    )
    swapped = contents(pair.target)
    pair.ok("rollback", "plan.yml", "--yes")
    assert before.catalog_changes() == ""
    assert pair.ask("select amount from orders where id = 777777") == [(5,)]
    assert pair.ask("select v from sessions where app = 'x'") == [(1,)]
    assert pair.ask("select v from users where id = 9000 or id = 1 order by id")[0] == (7,)
    if plan == KEEPING:
        assert contents(pair.target)["public.users"] == swapped["public.users"]
    assert pair.ask("select count(*) from orders") == [(31,)]


def test_a_window_leaves_new_columns_behind(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, PLAN.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}"))
    pair.fill(
        "alter table orders add column note text not null default 'n', add twice numeric generated always as"
        " (amount * 2) stored; alter table users add column w int",
        only="source",
    )
    before = Before(pair)
    pair.apply()
    pair.fill("insert into orders (id, amount, note) values (777777, 5, 'x'); update users set w = 1", only="target")
    pair.ok("rollback", "plan.yml", "--yes")
    assert before.catalog_changes() == ""
    assert pair.ask("select amount from orders where id = 777777") == [(5,)]
    assert pair.ask("select count(*), min(v), max(v) from users where id <= 20") == [(20, 1, 1)]


def test_a_window_is_refused_where_the_old_table_cannot_take_the_rows(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, PLAN.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}"))
    pair.fill("drop view big_orders")
    pair.fill("alter table orders alter amount type text using amount::text", only="source")
    pair.fill("alter table users add column must int; update users set must = 1;"
              "alter table users alter must set not null", only="target")  # fmt: skip
    before = Before(pair)
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1, done.output
    assert "public.orders would lose data, as the old table has amount as numeric, not text" in done.err
    assert (
        "public.users has no values for columns of the old table that are NOT NULL and have no default: must"
        in done.err
    )
    assert differing_tables(before.rows, contents(pair.target)) == []


def test_nothing_to_roll_back(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    done = pair.here("rollback", "plan.yml", "--yes")
    assert done.code != 0 and "hint" in done.output, done.output


# ------------------------------------------------------------------ sources that are none


def test_a_source_that_is_the_target_is_refused(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.env["PLANRUN_SOURCE_URL"] = pair.target
    before = Before(pair)
    for command in (("diff", "plan.yml"), ("apply", "plan.yml", "--yes")):
        done = pair.here(*command)
        assert done.code == 1 and "same" in done.output, done.output
    assert before.changes() == ""


def test_the_source_is_only_read(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    before = catalog(pair.source, whole=True), contents(pair.source)
    read_only = "alter database %I set default_transaction_read_only = on"
    pair.fill(f"do $$ begin execute format('{read_only}', current_database()); end $$", only="source")
    pair.apply()
    assert (catalog(pair.source, whole=True), contents(pair.source)) == before
    assert pair.ask("select 1 from pg_namespace where nspname like 'planrun%'", of=pair.source) == []


# ------------------------------------------------------------------ what ordinary schemas hold


def test_a_table_that_draws_from_sequences_of_nobody(new_db: NewDb, tmp_path: Path) -> None:
    """With several the planner asks every relation for the rights of a sequence."""
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(
        "create sequence s1; create sequence s2; create sequence s3; create sequence s4",
        "create table b (id int primary key default nextval('s1'), d int default nextval('s2'),"
        " c int default nextval('s3'), k int default nextval('s4'))",
        "insert into b default values; insert into b default values",
    )
    pair.fill("insert into b default values", only="source")
    pair.apply()
    assert pair.ask("select max(id) from b") == [(3,)]
    assert pair.ask("insert into b default values returning id, k") == [(4, 4)]


def test_a_key_that_proves_nothing_stays_so(new_db: NewDb, tmp_path: Path) -> None:
    """NOT VALID: orphans that are there are nobody's concern; nothing is counted and nothing validated."""
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(
        "create table parent (id int primary key); insert into parent values (1), (2)",
        "create schema crm; create table crm.note (id int, p int); insert into crm.note values (1, 1), (2, 99)",
        "alter table crm.note add constraint note_p foreign key (p) references parent not valid",
    )
    pair.fill("insert into parent values (3)", only="source")
    before = Before(pair)
    pair.apply()
    assert pair.ask("select count(*) from parent") == [(3,)] and before.catalog_changes() == ""
    assert pair.ask("select convalidated from pg_constraint where conname = 'note_p'") == [(False,)]
    pair.ok("rollback", "plan.yml", "--yes")
    assert before.catalog_changes() == "" and pair.ask("select count(*) from crm.note") == [(2,)]


ROW_TYPES = """
create table e (id int primary key, s text);
create function san(e) returns e language sql as 'select row($1.id, null)::e';
create function every() returns setof e language sql as 'select * from e';
create view es as select (san(e.*)).* from e;
create view over_es as select id from es;
comment on view es is 'without the text';
grant select on es to pg_monitor;
insert into e values (1, 'a'), (2, 'b');
"""


@pytest.mark.parametrize("given_up", ["'view public.es', 'view public.over_es'", "'function public.san(public.e)'"])
def test_what_the_plan_gives_up_goes_aside_and_comes_back(given_up: str, new_db: NewDb, tmp_path: Path) -> None:
    views = "'view public.es', 'view public.over_es'"
    lose = f"[{given_up}, {views}]" if "san" in given_up else f"[{given_up}]"
    plan = PLAN.replace("schema: public}", f"schema: public, lose: {lose}}}", 1)
    assert lose in plan
    pair = Pair(tmp_path, new_db(), new_db(), plan)
    pair.fill(ROW_TYPES)
    before = catalog(pair.target)
    for _ in range(2):
        pair.apply()
        assert pair.ask("select to_regclass('es'), to_regclass('over_es')") == [(None, None)]
        pair.ok("rollback", "plan.yml", "--yes")
        assert difference(before, catalog(pair.target)) == ""
        assert pair.ask("select id, s from es") == [(1, None), (2, None)]
    pair.apply()
    pair.apply()
    assert len(sets(pair)) == 1


def test_a_view_that_was_made_anew_meanwhile_leaves_with_the_new_tables(new_db: NewDb, tmp_path: Path) -> None:
    lose = "lose: ['view public.es', 'view public.over_es']"
    pair = Pair(tmp_path, new_db(), new_db(), PLAN.replace("schema: public}", f"schema: public, {lose}}}", 1))
    pair.fill(ROW_TYPES)
    pair.apply()
    pair.fill("create view es as select id, 'new' as s from e; drop function every()", only="target")
    pair.fill("create function every(out a int, out b int) language sql as 'select 1, 2'", only="target")
    pair.ok("rollback", "plan.yml", "--yes")
    assert pair.ask("select id, s from es") == [(1, None), (2, None)]
    assert pair.ask("select a, b from every()") == [(1, 2)]
    pair.apply()
    pair.apply()
    assert len(sets(pair)) == 1


TEXT_QUERIES = """
create table sales (id int primary key, amount int);
create function counted(query text) returns bigint language plpgsql as
    'declare found bigint; begin execute query into found; return found; end';
create function table_named(words text[]) returns bigint language plpgsql as
    'declare found bigint; begin execute ''select count(*) from '' || array_to_string(words, '''') into found;
     return found; end';
create schema reports;
create materialized view reports.by_text as select counted('select count(*) from public.sales') as n;
create materialized view reports.words as
    select coalesce(sum(ndoc), 0) as n from ts_stat('select to_tsvector(amount::text) from public.sales');
create materialized view reports.over as select n, 1 as id from reports.by_text;
create unique index on reports.over (id);
create materialized view reports.inside as
    select s.id, counted('select count(*) from public.sales') as n from sales as s;
create materialized view reports.hidden as select table_named(array['public.sa', 'les']) as n;
create materialized view reports.free as select 1 as n;
create materialized view reports.empty as select counted('select count(*) from public.sales') as n with no data;
"""


def test_a_materialized_view_that_gets_its_query_as_text_is_filled_again(new_db: NewDb, tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(TEXT_QUERIES)
    pair.fill("insert into sales select n, n from generate_series(1, 3) as n", only="source")
    views = "reports.by_text, reports.words, reports.over"
    filled = f"select by_text.n, words.n::int, over.n, (select max(n) from reports.inside) from {views}"
    told = pair.apply("-v").output
    assert "materialized view reports.by_text: filled again after the swap: it calls public.counted(" in told
    left = (
        "materialized view reports.hidden: left alone, it calls public.table_named(pg_catalog.text[]); if that reads "
    )
    assert f'{left}these tables: refresh materialized view "reports"."hidden"' in told
    assert "reports.free" not in told and "reports.empty:" not in told
    assert pair.ask(filled) == [(3, 3, 3, 3)]
    assert pair.ask("select relispopulated from pg_class where relname = 'empty'") == [(False,)]
    pair.ok("rollback", "plan.yml", "--yes")
    assert pair.ask(filled) == [(0, 0, 0, None)]
    pair.apply()
    assert pair.ask(filled) == [(3, 3, 3, 3)]


# ------------------------------------------------------------------ what a diff says


def test_the_diff_says_what_a_rollback_loses_and_how_to_see_it(new_db: NewDb, tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(
        "create table t (id int primary key, s text); insert into t select n, 'x' from generate_series(1, 9) as n"
    )
    pair.apply()
    pair.fill(
        "insert into t values (10, 'new'); update t set s = 'y' where id = 5; delete from t where id = 6", only="target"
    )
    refused = pair.run("rollback", "plan.yml", "--yes")
    assert refused.code == 1 and "--accept-data-loss" in refused.output and "next:" not in refused.output
    told = pair.ok("rollback", "plan.yml", "--accept-data-loss", "--yes").output
    assert "! public.t loses 2 rows written since the swap, and 2 rows of the swap that were changed or deleted" in told
    assert "planrun abort plan.yml drops them" in told, "the command can be typed as it stands"
    query = told.partition("they are: ")[2].partition("\n")[0]
    ((undone,),) = pair.ask("select nspname from pg_namespace where starts_with(nspname, 'planrun_undone')")
    query = query.replace('"public"', f'"{undone}"')
    assert pair.ask(f"select id from ({query}) as q order by id") == [(5,), (10,)]


def test_a_preserved_table_is_said_to_keep_its_live_rows(new_db: NewDb, tmp_path: Path) -> None:
    sync = (
        "shadow_load, with: {from: source, schema: public}}\n      - {id: sync, uses: shadow_sync, with: {tables: [u]}}"
    )
    plan = PLAN.replace("shadow_load, with: {from: source, schema: public}}", sync)
    pair = Pair(tmp_path, new_db(), new_db(), plan)
    pair.fill("create table t (id int primary key); create table u (id int primary key)")
    pair.fill("insert into u select generate_series(1, 3000)", only="target")
    said = pair.ok("diff", "plan.yml", "-v").output
    assert "=   u: keeps its 3,000 live rows" in said and "+   t: about 0 rows" in said


def test_a_table_without_a_key_is_refused_in_the_diff_of_a_plan_with_a_window(new_db: NewDb, tmp_path: Path) -> None:
    plan = PLAN.replace("uses: swap_tables}", "uses: swap_tables, with: {rollback_window: 1h}}")
    pair = Pair(tmp_path, new_db(), new_db(), plan)
    pair.fill("create table t (id int); create table fine (id int primary key)")
    refused = pair.run("diff", "plan.yml")
    assert refused.code == 1
    assert "t (the swap has a `rollback_window:`, and in the source it has neither a" in refused.output


def test_the_diff_of_a_paused_run_takes_the_old_set_as_dropped(new_db: NewDb, tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill("create table t (id int primary key)")
    pair.apply()
    assert "paused" in pair.ok("apply", "plan.yml", "--yes", "--until", "prepare").output
    done = pair.ok("apply", "plan.yml", "--yes", "--resume", "--until", "swap", "-v").output
    assert "the old one stays as public.backup_t\n" in done and "moved aside" not in done
    assert "plan refresh: paused" not in done and "next:" not in done and len(sets(pair)) == 1


# ------------------------------------------------------------------ encodings


@pytest.mark.parametrize("each_version", servers.majors_to_compare(), indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "filled"),
    [
        ("LATIN1", "UTF8", "set client_encoding = 'UTF8'; insert into t values (1, 'café'), (2, 'ÿ')"),
        ("UTF8", "LATIN1", "insert into t values (1, 'café'), (2, 'ÿ')"),
        ("WIN1252", "LATIN1", "set client_encoding = 'UTF8'; insert into t values (1, 'café')"),
        ("SQL_ASCII", "SQL_ASCII", r"set client_encoding = 'SQL_ASCII'; insert into t values (1, E'caf\351\377')"),
    ],
)
def test_rows_go_from_one_encoding_to_another(
    source: str, target: str, filled: str, each_version: Server, tmp_path: Path
) -> None:
    pair = Pair(
        tmp_path, *(in_encoding(each_version, f"{side}_db", each) for side, each in (("a", source), ("b", target)))
    )
    pair.fill("create table t (id int primary key, s text)")
    pair.fill(filled, only="source")
    pair.apply()
    if source == target:
        bytes_of = "select encode(textsend(s), 'hex') from t"
    else:
        bytes_of = "select encode(convert_to(s, 'UTF8'), 'hex') from t order by id"
    assert pair.ask(bytes_of) == pair.ask(bytes_of, of=pair.source) != []


def in_encoding(server: Server, name: str, encoding: str) -> str:
    with server.admin() as conn:
        conn.execute(
            sql.SQL("create database {} encoding {} lc_collate 'C' lc_ctype 'C' template template0").format(
                sql.Identifier(name), sql.Literal(encoding)
            )
        )
    return server.conninfo(name)


# ------------------------------------------------------------------ what is the target's own


def test_storage_and_index_options_of_the_target_stay_and_disabled_keys_are_told(new_db: NewDb, tmp_path: Path) -> None:
    pair = Pair(tmp_path, new_db(), new_db())
    pair.fill(
        "create table t (id int primary key, s text); create index by_s on t (s) with (deduplicate_items = off)",
        "create table c (id int primary key, t int references t); insert into t values (1, 'a')",
        "create materialized view m as select id, s from t; create index m_id on m (id)",
    )
    pair.fill(
        "alter index by_s set (fillfactor = 50); alter index m_id set (fillfactor = 60)",
        "alter materialized view m alter column s set storage external",
        "alter materialized view m alter column s set compression pglz",
        "alter table c disable trigger all",
        only="target",
    )
    before = Before(pair)
    said = pair.apply("-v").output
    assert "foreign key c_t_fkey of public.c: its triggers are disabled here, and enabled on the new table" in said
    assert before.catalog_changes() == ""
    options = "select relname, reloptions from pg_class where relname in ('by_s', 'm_id') order by 1"
    assert pair.ask(options) == [("by_s", ["deduplicate_items=off", "fillfactor=50"]), ("m_id", ["fillfactor=60"])]
    column = "select attstorage, attcompression from pg_attribute where attrelid = 'm'::regclass and attname = 's'"
    assert pair.ask(column) == [("e", "p")]
