"""A diff in a file: it is applied as it was saved, or refused with what changed; and what does not matter to it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from runner.run import saved_plan
from tests import junit
from tests.commandline import Done, wait_for
from tests.refreshes import PLAN as REFRESH
from tests.refreshes import Pair, shop

NewDb = Callable[[], str]

TABLES = """
create table orders (id int primary key, note text, amount int);
create table users (id int primary key, name text);
create table other (id int primary key);
create view seen as select id from users;
insert into orders select n, n::text, n from generate_series(1, 20) as n;
insert into users select n, n::text from generate_series(1, 20) as n;
analyze;
"""
SQL = """
name: p
connections: {target: {}}
params: {least: {type: integer, default: 5, description: A number.}}
steps:
  - {id: tidy, uses: sql, with: {text: "delete from orders where id < {{ n }}", values: {n: "${params.least}"}}}
"""
FILES = """
name: p
connections: {target: {}}
steps:
  - {id: tidy, uses: sql, with: {file: tidy.sql}}
  - {id: more, uses: ./more.yml}
"""
MORE = "steps:\n  - {id: count, uses: query, with: {text: select 1 as n}}\n"
BACKUP = """
name: p
connections: {target: {}}
steps:
  - {id: find, uses: find_tables, with: {glob: "o*", schemas: [public]}}
  - {id: save, uses: pg_dump, with: {to: backups, tables: "${steps.find.tables}"}}
"""


@pytest.fixture
def house(new_db: NewDb, tmp_path: Path) -> Pair:
    target = new_db()
    pair = Pair(tmp_path, target, target, SQL)
    del pair.env["PLANRUN_SOURCE_URL"]
    pair.fill(TABLES, only="target")
    return pair


def test_a_saved_diff_has_each_form_that_a_pull_request_reads(house: Pair) -> None:
    house.write(SQL.replace("delete from orders where id < {{ n }}", "drop table orders"))
    for form in ("markdown", "github", "junit"):
        told = house.run("diff", "plan.yml", "-o", form, "--out", "p.plan")
        shown = house.run("show", "p.plan", "-o", form)
        assert shown.code == 0 and _without_times(shown.out) == _without_times(told.out)
        assert "public.orders" in told.out and (form != "junit" or junit.cases(told.out).keys() == {"tidy"})
    assert house.run("diff", "plan.yml", "-o", "github").out.startswith("::warning file=plan.yml,line=6,col=5,")


def _without_times(report: str) -> str:
    return re.sub(r'time="[0-9.]+"', "", report)


def save(pair: Pair, *more: str) -> None:
    pair.ok("diff", "plan.yml", "--out", "p.plan", *more)


def apply(pair: Pair, *more: str) -> Done:
    return pair.here("apply", "p.plan", "--yes", *more)


def check_refusal(pair: Pair, *told: str) -> None:
    """The apply names what changed and the next command, which works; nothing is done."""
    done = apply(pair)
    assert done.code == 1 and "stale" in done.err, done.output
    assert all(one in done.err for one in told), done.err
    assert "planrun diff plan.yml" in done.err and "--out p.plan" in done.err


# ------------------------------------------------------------------ saved, shown, applied


def test_a_saved_diff_is_applied(house: Pair) -> None:
    said = house.ok("diff", "plan.yml", "--set", "least=7", "--out", "p.plan")
    assert "planrun apply p.plan" in said.err
    done = apply(house)
    assert done.code == 0, done.output
    assert house.ask("select count(*) from orders") == [(14,)]


def test_the_file_is_for_its_owner_alone(house: Pair) -> None:
    save(house)
    assert stat.S_IMODE((house.folder / "p.plan").stat().st_mode) == 0o600
    save(house)  # replaces a saved plan
    assert json.loads((house.folder / "p.plan").read_text())["format_version"] == 1


def test_show_prints_what_the_diff_printed_and_needs_no_database(house: Pair) -> None:
    nowhere = {"PLANRUN_TARGET_URL": "postgresql://nobody@127.0.0.1:1/none"}
    for words in ([], ["-v"], ["-o", "markdown"]):
        said = house.ok("diff", "plan.yml", "--out", "p.plan", *words)
        shown = house.ok("show", "p.plan", *words, env=nowhere).out
        assert said.out in shown
    assert house.ok("show", "p.plan", env=nowhere).out.startswith("saved 20")
    brief = json.loads(house.ok("show", "p.plan", "-o", "json", env=nowhere).out)
    whole = json.loads(house.ok("show", "p.plan", "-o", "json", "-v", env=nowhere).out)
    assert brief["saved"]["file"] == "plan.yml" and "actions" not in brief["steps"][0]
    assert "delete from orders" in whole["steps"][0]["actions"][0]["text"]


def test_a_saved_plan_is_done_once(house: Pair) -> None:
    save(house)
    assert apply(house).code == 0
    check_refusal(house, "has begun since the diff (ok)")


def test_a_run_of_the_plan_itself_makes_it_stale(house: Pair) -> None:
    save(house)
    house.apply()
    check_refusal(house, "has begun since the diff")


def test_a_saved_diff_is_asked_about_as_it_was_shown(house: Pair) -> None:
    save(house)
    done = house.here("apply", "p.plan")
    assert done.code == 1 and "there is no terminal" in done.err
    assert "delete of about" in done.err and house.ask("select count(*) from orders") == [(20,)]


def test_an_interrupted_one_says_how_to_go_on(house: Pair) -> None:
    house.write(SQL + "  - {id: stop, uses: sql, with: {text: \"do 'begin perform 1 / 0; end'\"}}\n")
    save(house, "--set", "least=3")
    done = apply(house)
    assert done.code == 1 and "next: planrun apply plan.yml --set least=3 --resume" in done.out, done.output
    again = apply(house)
    assert again.code == 1 and "planrun apply plan.yml --set least=3 --resume" in again.err
    resume = apply(house, "--resume")
    assert resume.code == 64 and "planrun apply plan.yml --set least=3 --resume" in resume.err


@pytest.mark.parametrize("words", [["--set", "least=1"], ["--until", "tidy"], ["--accept", "abc"]])
def test_options_of_the_diff_are_not_given_again(house: Pair, words: list[str]) -> None:
    save(house)
    done = apply(house, *words)
    assert done.code == 64 and words[0] in done.err


def test_one_that_was_killed_goes_on_as_a_run_of_its_plan(house: Pair) -> None:
    house.write(SQL + '  - {id: long, uses: sql, with: {text: "select pg_sleep(60)"}}\n')
    save(house, "--set", "least=3")
    process = house.start("apply", "p.plan", "--yes")
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    wait_for(lambda: house.ask(asleep) == [(1,)])
    process.kill()
    house.end(process, killed=True)
    assert house.ask("select count(*) from orders") == [(18,)]
    again = apply(house)
    assert again.code == 1 and "has begun since the diff (cut off)" in again.err
    assert "planrun apply plan.yml --set least=3 --resume" in again.err


def test_a_role_with_few_rights_saves_and_applies(house: Pair, new_db: NewDb) -> None:
    role = f"clerk_{Path(house.folder).name.lower()}"[:60]
    house.fill(
        f"create role {role} login; grant create on database {house.ask('select current_database()')[0][0]} to {role};"
        f"alter table orders owner to {role}; revoke execute on function pg_control_system() from public",
        only="target",
    )
    here = house.env["PLANRUN_TARGET_URL"]
    house.env["PLANRUN_TARGET_URL"] = psycopg.conninfo.make_conninfo(here, user=role)
    save(house)
    house.env["PLANRUN_TARGET_URL"] = psycopg.conninfo.make_conninfo(new_db(), user=role)
    done = apply(house)
    assert done.code == 1 and "connection target: database" in done.err, done.output
    house.env["PLANRUN_TARGET_URL"] = psycopg.conninfo.make_conninfo(here, user=role)
    assert apply(house).code == 0
    assert house.ask("select count(*) from orders") == [(16,)]


# ------------------------------------------------------------------ what may not be saved


def test_a_diff_with_a_failing_step_is_not_saved(house: Pair) -> None:
    house.write(SQL.replace("from orders", "from orderz"))
    done = house.here("diff", "plan.yml", "--out", "p.plan")
    assert done.code == 1 and "the diff was not saved in p.plan, because a step fails" in done.err
    assert not (house.folder / "p.plan").exists()


def test_a_rollback_is_not_saved(house: Pair) -> None:
    house.write(SQL + "rollback:\n  - {id: back, uses: sql, with: {text: select 1}}\n")
    assert house.here("diff", "plan.yml", "--rollback", "--out", "p.plan").code == 64


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_nothing_else_is_replaced(house: Pair, kind: str) -> None:
    path = house.folder / "p.plan"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        save(house)
        path.rename(house.folder / "real.plan")
        path.symlink_to("real.plan")
    else:
        path.write_text("mine")
    done = house.here("diff", "plan.yml", "--out", "p.plan")
    assert done.code == 64 and "is not a saved plan" in done.err
    assert kind != "file" or path.read_text() == "mine"


def test_no_secret_is_in_the_file(house: Pair) -> None:
    house.write(SQL.replace("where id < {{ n }}", "where note = {{ n }}").replace("params.least", "env.API_TOKEN"))
    house.ok("diff", "plan.yml", "--out", "p.plan", env={"API_TOKEN": "s3cret-value-1"})
    assert "s3cret" not in (house.folder / "p.plan").read_text()
    done = house.here("apply", "p.plan", "--yes", env={"API_TOKEN": "s3cret-value-1"})
    assert done.code == 0 and "s3cret" not in done.output


def test_a_secret_in_set_is_not_saved(house: Pair) -> None:
    house.write(SQL.replace("params: {", "params: {api_token: {type: string, default: '', description: A token.}, "))
    done = house.here("diff", "plan.yml", "--set", "api_token=s3cret-value-1", "--out", "p.plan")
    assert done.code == 64 and "s3cret" not in done.output and not (house.folder / "p.plan").exists()


# ------------------------------------------------------------------ a file that cannot be relied on


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda text: "", "cut off"),
    "truncated": (lambda text: text[: len(text) // 2], "cut off"),
    "edited": (lambda text: text.replace('"least=5"', '"least=6"').replace("about 4 rows", "about 1 row"), "digest"),
    "newer": (lambda text: text.replace('"format_version": 1', '"format_version": 2', 1), "format 2"),
    "other": (lambda text: '{"a": 1}', "not a saved plan"),
    "list": (lambda text: "[]", "not a saved plan"),
}


@pytest.mark.parametrize("change, told", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("command", ["show", "apply"])
def test_a_broken_file_is_refused(house: Pair, command: str, change: Callable[[str], str], told: str) -> None:
    save(house, "--set", "least=5")
    path = house.folder / "p.plan"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    done = house.here(command, "p.plan", *(["--yes"] if command == "apply" else []))
    assert done.code == 5 and told in done.err and "p.plan" in done.err, done.output
    assert house.ask("select count(*) from orders") == [(20,)]


def test_another_version_of_planrun_refuses(house: Pair) -> None:
    save(house)
    path = house.folder / "p.plan"
    data = json.loads(path.read_text()) | {"version": "0.0.1"}
    data["sha256"] = saved_plan._seal(data)
    path.write_text(json.dumps(data))
    check_refusal(house, "planrun 0.0.1 saved it")


# ------------------------------------------------------------------ what makes it stale: the plan


def test_an_edited_plan_is_named(house: Pair) -> None:
    save(house)
    house.write(SQL.replace("default: 5", "default: 6"))
    check_refusal(house, "plan.yml: changed since the diff", "params: changed since the diff")


@pytest.mark.parametrize("name", ["sql/tidy.sql", "more.yml"])
def test_an_edited_file_of_the_plan_is_named(house: Pair, name: str) -> None:
    (house.folder / "sql").mkdir()
    (house.folder / "sql" / "tidy.sql").write_text("delete from orders where id < 5;\n")
    (house.folder / "more.yml").write_text(MORE)
    house.write(FILES)
    save(house)
    with (house.folder / name).open("a") as file:
        file.write("-- more\n" if name.endswith("sql") else "# more\n")
    check_refusal(house, f"{name}: changed since the diff")


def test_a_param_from_the_environment_counts(house: Pair) -> None:
    house.write(SQL.replace("type: integer, default: 5", 'type: string, default: "${env.LEAST}"'))
    house.ok("diff", "plan.yml", "--out", "p.plan", env={"LEAST": "5"})
    done = house.here("apply", "p.plan", "--yes", env={"LEAST": "6"})
    assert done.code == 1 and "changed since the diff" in done.err


def test_a_value_that_a_query_gives_counts(house: Pair) -> None:
    house.write(
        "name: p\nconnections: {target: {}}\nsteps:\n"
        "  - {id: most, uses: query, with: {text: select max(id) as n from users}}\n"
        '  - {id: tidy, uses: sql, with: {text: "delete from orders where id < {{ n }}", '
        'values: {n: "${steps.most.row.n}"}}}\n'
    )
    save(house)
    house.fill("insert into users values (21, 'x')", only="target")
    check_refusal(house, "step tidy: its text has other values than at the diff")


def test_another_database_of_the_same_name_is_refused(house: Pair, new_db: NewDb) -> None:
    save(house)
    other = new_db()
    house.env["PLANRUN_TARGET_URL"] = other

    done = apply(house)
    assert done.code == 1 and "connection target: database" in done.err and "OID" in done.err, done.output


# ------------------------------------------------------------------ what makes it stale: the objects it rests on

ORDERS = "table public.orders: "
RELATED = {
    "column added": ("alter table orders add extra int", "columns"),
    "type": ("alter table orders alter amount type bigint", "columns"),
    "default": ("alter table orders alter amount set default 1", "columns"),
    "constraint": ("alter table orders add check (amount > 0)", "constraints"),
    "index": ("create index on orders (amount)", "indexes"),
    "policy": ("create policy mine on orders using (true)", "policies"),
    "row security": ("alter table orders enable row level security", "row security"),
    "grant": ("grant select on orders to public", "grants"),
    "column grant": ("grant select (note) on orders to public", "grants"),
    "owner": ("alter table orders owner to pg_monitor", "owner"),
    "view": ("create view big as select id from orders", "views on it"),
    "foreign key": ("alter table other add foreign key (id) references orders not valid", "foreign keys to it"),
    "trigger": (
        "create trigger t before update on orders for each row execute function suppress_redundant_updates_trigger()",
        "triggers",
    ),
    "rule": ("create rule r as on insert to orders do nothing", "rules"),
    "child": ("create table child () inherits (orders)", "inheritance"),
    "function": ("create function f(orders) returns int language sql as 'select 1'", "objects that depend on it"),
    "unlogged": ("alter table orders set unlogged", "kind"),
    "publication": ("create publication p for table orders", "publications"),
}


@pytest.mark.parametrize("between, aspect", RELATED.values(), ids=RELATED)
def test_a_change_of_the_table_is_named(house: Pair, between: str, aspect: str) -> None:
    save(house)
    house.fill(between, only="target")
    check_refusal(house, f"{ORDERS}{aspect} changed since the diff")
    assert house.ask("select count(*) from orders") == [(20,)]


def test_a_table_that_is_gone_is_named(house: Pair) -> None:
    save(house)
    house.fill("drop table orders", only="target")
    check_refusal(house, f"{ORDERS}is gone since the diff")


UNRELATED = {
    "another table": "alter table other add x int; create index on other (x); create table fresh (id int)",
    "another view": "create or replace view seen as select id, 1 as one from users",
    "inserted": "insert into orders values (100, 'x', 1)",
    "updated": "update orders set amount = 0",
    "deleted": "delete from orders where id > 15",
    "statistics": "insert into orders select n from generate_series(1000, 9000) as n; analyze",
    "another schema": "create schema elsewhere; create table elsewhere.orders (id int)",
    "sequence": "create sequence s",
    "function": "create function g() returns int language sql as 'select 1'",
}


@pytest.mark.parametrize("plan", [SQL, BACKUP], ids=["sql", "backup"])
@pytest.mark.parametrize("between", UNRELATED.values(), ids=UNRELATED)
def test_what_has_nothing_to_do_with_it_changes_nothing(house: Pair, plan: str, between: str) -> None:
    house.write(plan.replace("o*", "ord*"))
    save(house)
    house.fill(between, only="target")
    done = apply(house)
    assert done.code == 0, done.output


def test_a_vacuum_a_role_and_another_plan_change_nothing(house: Pair) -> None:
    save(house)
    house.fill("vacuum full analyze orders", "reindex table orders", only="target")
    role = f"r_{os.getpid()}"
    house.fill(f"create role {role}", only="target")
    (house.folder / "b.yml").write_text(BACKUP.replace("name: p", "name: b"))
    (house.folder / "c.yml").write_text(SQL.replace("name: p", "name: c").replace("orders", "users"))
    try:
        house.ok("apply", "b.yml", "--yes")
        house.ok("apply", "c.yml", "--yes")
        assert apply(house).code == 0
    finally:
        house.fill(f"drop role {role}", only="target")


def test_a_new_table_that_the_plan_selects_is_named(house: Pair) -> None:
    house.write(BACKUP)
    save(house)
    house.fill("create table offers (id int); insert into offers values (1)", only="target")
    check_refusal(house, "step save: table public.offers: not mentioned at the diff, saved now")


def test_the_structure_of_a_dumped_table_counts_and_what_depends_on_it_does_not(house: Pair) -> None:
    house.write(BACKUP)
    save(house)
    house.fill("create view big as select id from orders", only="target")
    assert apply(house).code == 0
    save(house)
    house.fill("alter table orders add extra int", only="target")
    check_refusal(house, f"{ORDERS}columns changed since the diff")


# ------------------------------------------------------------------ a refresh


REFRESHED = {
    "target column": ("alter table orders add extra int", "target", "table public.orders: columns"),
    "source column": ("alter table orders add extra int", "source", "table public.orders (source): columns"),
    "source table": ("create table late (id int primary key)", "source", "table public.late: not mentioned"),
    "view": ("create view late as select id from orders", "target", "view public.late: not mentioned"),
    "grant": ("grant select on orders to public", "target", "table public.orders: grants"),
}


@pytest.mark.parametrize("between, of, told", REFRESHED.values(), ids=REFRESHED)
def test_a_saved_refresh_names_what_changed(new_db: NewDb, tmp_path: Path, between: str, of: str, told: str) -> None:
    pair = shop(tmp_path, new_db)
    save(pair)
    pair.fill(between, only=of)
    check_refusal(pair, told)
    assert pair.ask("select count(*) from orders") == [(30,)]


ROWS = [
    'insert into orders (id, "user", amount) select 90000 + n, 1, 1 from generate_series(1, 9) as n; analyze',
    "create schema aside; create table aside.orders (id int)",
]


@pytest.mark.parametrize("between", ROWS)
def test_a_saved_refresh_is_applied(new_db: NewDb, tmp_path: Path, between: str) -> None:
    pair = shop(tmp_path, new_db)
    save(pair)
    pair.fill(between, only="source")
    done = apply(pair)
    assert done.code == 0, done.output
    assert pair.ask("select count(*) from orders")[0][0] >= 3000


def test_a_new_backup_set_is_named(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    save(pair)
    (tmp_path / "other.yml").write_text(REFRESH.replace("name: refresh", "name: other"))
    pair.ok("apply", "other.yml", "--yes")
    check_refusal(pair, "tables of schema public that run", "not there at the diff, swapped now")


def test_both_phases_of_a_refresh_are_saved(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    save(pair, "--until", "prepare")
    done = apply(pair)
    assert done.code == 0 and "paused" in done.out, done.output
    assert pair.ask("select count(*) from orders") == [(30,)]
    save(pair, "--resume")
    assert "to go on with run" in pair.ok("show", "p.plan").out
    done = apply(pair)
    assert done.code == 0, done.output
    assert pair.ask("select count(*) from orders") == [(3000,)]


def test_the_second_phase_names_what_changed(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    pair.apply("--until", "prepare")
    save(pair, "--resume")
    pair.fill("grant select on orders to public", only="target")
    check_refusal(pair, "table public.orders: grants changed since the diff", "--resume --out p.plan")
