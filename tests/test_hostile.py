"""A database and a plan made by somebody who means harm: none of their code runs as us, no name of theirs leads astray.

What docs/security.md says of owners of objects and of authors of plans is pinned here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from tests.commandline import connect_to
from tests.made import HOSTILE, RAW, clean
from tests.refreshes import FEW, MANY, SHOP, Pair, not_as_in_the_source, plan_that_keeps
from tests.servers import Server

NewDb = Callable[[], str]
EVIL = "planrun_evil"
REFRESH = (
    plan_that_keeps("TABLE")
    .replace("schema: public", "schema: SCHEMA")
    .replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}")
)
SAVE = """
name: save
steps:
  - {id: find, uses: find_tables, with: {glob: '*', schemas: [SCHEMA]}}
  - {id: save, uses: pg_dump, with: {to: backups, tables: "${steps.find.tables}", format: FORMAT, skip_empty: false}}
backup: {path: backups}
"""


@pytest.fixture(scope="module")
def evil(pg_server: Server) -> str:
    with pg_server.admin() as conn:
        conn.execute(
            f"do $$ begin create role {EVIL} login; exception when duplicate_object or unique_violation then end $$"
        )
    return EVIL


def as_evil(text: str) -> str:
    return f"set role {EVIL};\n{text};\nreset role"


# ------------------------------------------------------------------ code of others


def trap(name: str, arguments: str, returns: str) -> str:
    return (
        f"create function public.{name}({arguments}) returns {returns} language plpgsql as "
        f"$$ begin raise exception 'TRAPPED by {name}({arguments}) as %', current_user; end $$"
    )


_WORDS = ("text", "name", "regclass", "bigint")
_FORMATS = [each for many in range(4) for each in itertools.product(_WORDS[: 4 if many < 3 else 2], repeat=many)]
FUNCTIONS = [
    *(trap("format", ", ".join(("text", *each)), "text") for each in _FORMATS),
    *(trap("unnest", f"{one}[]", one) for one in ("oid", "text", "name")),
    trap("to_regclass", "text", "regclass"),
    trap("hashtextextended", "text, int", "bigint"),
    trap("md5", "text", "text"),
    trap("set_config", "text, text, boolean", "text"),
    trap("starts_with", "name, text", "boolean"),
    trap("current_setting", "text", "text"),
]
"""Functions that fit a call better than those of pg_catalog do: with `public` on the search_path they are taken."""

_TYPES = ("oid", "int4", "int8", "name", "text", '"char"', "regclass", "int2")
OPERATORS = [
    text
    for number, (one, other) in enumerate((a, b) for a in _TYPES for b in _TYPES)
    for text in (
        trap(f"op_{number}", f"{one}, {other}", "boolean"),
        f"create operator public.= (leftarg = {one}, rightarg = {other}, procedure = public.op_{number})",
    )
]
ROWS = """
create type public.mood as enum ('sad', 'ok');
create type public.pair as (a int, b text);
create table public.feelings (id int primary key, m public.mood, p public.pair, t text);
insert into public.feelings values (1, 'sad', row(1, 'x'), 'y')
"""
CASTS = [
    text
    for one in ("mood", "pair")
    for text in (
        trap(f"cast_{one}", one, "text"),
        f"create cast (public.{one} as text) with function cast_{one}({one})",
    )
]
ROW_CAST = (
    f"{trap('cast_row', 'public.feelings', 'text')}; create cast (feelings as text) with function cast_row(feelings)"
)


def make_trapped_shop(folder: Path, new_db: NewDb) -> Pair:
    """Return a shop in whose schema public somebody else made functions, operators, casts and a table of their own."""
    pair = Pair(folder, new_db(), new_db(), REFRESH.replace("SCHEMA", "public").replace("TABLE", "users"))
    pair.fill(SHOP, f"grant all on schema public to {EVIL}", as_evil(ROWS))
    pair.fill(FEW, only="target")
    pair.fill(MANY.format(orders=100), only="source")
    pair.fill(as_evil(";\n".join([*FUNCTIONS, *OPERATORS, *CASTS])))
    pair.fill(as_evil(ROW_CAST), only="source")  # in the target it would be lost with the old table: refused
    for db in (pair.source, pair.target):
        name = sql.Identifier(str(conninfo.conninfo_to_dict(db)["dbname"]))
        with connect_to(db) as conn:
            conn.execute(sql.SQL("alter database {} set search_path = public, pg_catalog").format(name))
    return pair


def quiet(text: str) -> str:
    return f"set search_path = pg_catalog, public; {text}"


def calm(pair: Pair, *args: str) -> None:
    done = pair.here(*args)
    assert done.code == 0 and "TRAPPED by" not in done.output.replace("'TRAPPED by", ""), done.output


def test_no_function_operator_or_cast_of_others_runs_as_us(new_db: NewDb, tmp_path: Path, evil: str) -> None:
    pair = make_trapped_shop(tmp_path, new_db)
    with connect_to(pair.target) as conn, pytest.raises(psycopg.errors.RaiseException, match="TRAPPED by"):
        conn.execute("select 1 where 'a'::text = 'b'::text")  # the traps are good ones
    calm(pair, "diff", "plan.yml")
    calm(pair, "apply", "plan.yml", "--yes", "--until", "prepare")
    pair.fill(quiet("update users set v = 7 where id = 3; insert into users values (700, 'late', 1)"), only="target")
    for words in ("status plan.yml", "apply plan.yml --yes --resume", "backups verify plan.yml latest"):
        calm(pair, *words.split())
    pair.fill(quiet("update users set v = 8 where id = 4"), only="target")
    for words in ("rollback plan.yml --yes", "doctor plan.yml"):
        calm(pair, *words.split())
    for form in ("custom", "csv"):
        pair.write(SAVE.replace("SCHEMA", "public").replace("FORMAT", form))
        pair.env |= {"DATABASE_URL": pair.source, "PLANRUN_TARGET_URL": ""}
        calm(pair, "apply", "plan.yml", "--yes")
    pair.write("backup: {path: more, tables: [users], format: copy}")
    calm(pair, "apply", "plan.yml", "--yes")
    pair.fill(quiet("drop table lines, orders cascade"), only="source")
    calm(pair, "backups", "restore", "plan.yml", "latest", "--yes", "--replace")


SPIES = """
create function public.spy(what text) returns boolean language plpgsql as
    $$ begin insert into public.seen values (what, current_user); return true; end $$;
create function public.still(what text, n int) returns int immutable language plpgsql as
    $$ begin perform public.spy(what); return n; end $$;
create table public.things (
    id int primary key, n int check (public.spy('check')),
    g int generated always as (public.still('generated', n)) stored
);
create index on public.things (public.still('index', n));
create index on public.things (n) where public.still('predicate', n) > 0;
create statistics public.st on (public.still('statistics', n)), n from public.things;
create view public.between as select id, public.still('view', n) as n from public.things;
create materialized view public.summed as select t.id, public.still('matview', t.n) from public.between as t;
create index on public.summed (public.still('index of matview', id));
create materialized view public.over as select public.still('second matview', s.id) from public.summed as s
"""


def test_what_owners_wrote_runs_with_their_rights_where_tables_are_built(
    new_db: NewDb, tmp_path: Path, evil: str
) -> None:
    """A superuser replaces the tables: checks, generated columns, indexes, statistics and queries run as the owner."""
    pair = Pair(tmp_path, new_db(), new_db(), REFRESH.replace("SCHEMA", "public").replace("TABLE", "users"))
    pair.fill(SHOP, f"grant all on schema public to {EVIL}; create table public.seen (what text, who text)")
    pair.fill("insert into users select n, n from generate_series(1, 3) n", "grant insert on public.seen to public")
    pair.fill(as_evil(SPIES))
    pair.fill("insert into things select n, n from generate_series(1, 500) n", only="source")
    pair.fill("truncate public.seen")
    pair.write(pair_plan(exclude="[seen]"))
    pair.apply("--until", "prepare")
    assert pair.ask("select distinct who from public.seen") == [(EVIL,)]
    kinds = {"check", "generated", "index", "predicate", "statistics", "view", "matview", "second matview"}
    assert {row[0] for row in pair.ask("select distinct what from public.seen")} == kinds | {"index of matview"}
    assert pair.ask("select count(*) from public.seen", of=pair.source) == [(0,)]
    shadow = "from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'planrun_shadow_public'"
    roles = f"select distinct r.rolname {shadow} and relkind in ('r', 'm', 'S') and c.relname ~ 'things|summed|over'"
    assert pair.ask(roles.replace("where", "join pg_roles r on r.oid = c.relowner where")) == [(EVIL,)]
    for right in ("usage", "create"):
        query = f"select has_schema_privilege('{EVIL}', 'planrun_shadow_public', '{right}')"
        assert pair.ask(query) == [(False,)], "what was granted for the load is taken back"
    pair.apply("--resume")
    assert pair.ask("select count(*) from public.summed") == [(500,)]
    pair.ok("rollback", "plan.yml", "--yes")


def test_what_the_owner_may_not_run_is_told_with_the_grant_to_him(new_db: NewDb, tmp_path: Path, evil: str) -> None:
    """Rows are written as he would write them; a superuser's rights are not lent to what he wrote."""
    pair = Pair(tmp_path, new_db(), new_db(), REFRESH.replace("SCHEMA", "public").replace("TABLE", "users"))
    function = "create function public.low(int) returns boolean language sql immutable as 'select $1 < 9'"
    pair.fill(SHOP, f"grant all on schema public to {EVIL}; {function}; revoke all on function low(int) from public")
    pair.fill("create table public.checked (n int primary key check (low(n)))", f"alter table checked owner to {EVIL}")
    pair.fill("insert into checked values (1)", only="source")
    done = pair.here("apply", "plan.yml", "--yes")
    assert done.code == 1, done.output
    assert "rows of public.checked: permission denied for function low" in done.output, done.output
    assert f'grant execute on function low to "{EVIL}", with whose' in done.output
    pair.fill(f"grant execute on function low(int) to {EVIL}", only="target")
    pair.apply("--resume")


def test_a_matview_whose_owner_may_read_only_what_it_needs(new_db: NewDb, tmp_path: Path, evil: str) -> None:
    """He is not the owner of the tables; he reads the new ones for the time that it is filled, and no longer."""
    pair = Pair(tmp_path, new_db(), new_db(), REFRESH.replace("SCHEMA", "public").replace("TABLE", "users"))
    pair.fill(SHOP, f"grant usage, create on schema public to {EVIL}; grant select on users to {EVIL}")
    pair.fill("insert into users select n, n from generate_series(1, 3) n")
    pair.fill("create view named as select id from users", f"grant select on named to {EVIL}")
    pair.fill(
        as_evil(
            "create materialized view mine as select u.id, n.id as other from users as u join named as n using (id)"
        )
    )
    pair.apply("--until", "prepare")
    assert pair.ask("select count(*) from planrun_shadow_public.mine") == [(3,)]
    query = (
        f"select has_table_privilege('{EVIL}', 'planrun_shadow_public.users', 'select'), "
        f"has_table_privilege('{EVIL}', 'planrun_shadow_public.named', 'select'), "
        f"has_schema_privilege('{EVIL}', 'planrun_shadow_public', 'usage')"
    )
    assert pair.ask(query) == [(False, False, False)]
    pair.apply("--resume")
    assert pair.ask("select pg_get_userbyid(relowner) from pg_class where relname = 'mine'") == [(EVIL,)]
    pair.fill(as_evil("refresh materialized view mine"), only="target")


def pair_plan(*, exclude: str) -> str:
    plan = REFRESH.replace("SCHEMA", "public").replace("TABLE", "users")
    return plan.replace("schema: public}", f"schema: public, exclude: {exclude}}}")


def test_a_table_that_became_a_view_is_not_read(new_db: NewDb, tmp_path: Path, evil: str) -> None:
    """Between the look and the read: what our own reading sessions are allowed to read is tables."""
    from runner.database.connections import Connections

    db = new_db()
    with connect_to(db) as conn:
        conn.execute(f"grant all on schema public to {EVIL}; {as_evil(trap('spy', '', 'int'))}".encode())
        conn.execute(as_evil("create view public.was_a_table as select public.spy() as n").encode())
    with Connections({}, {"DATABASE_URL": db}).open(read_only=True) as conn:
        knows = conn.execute("select from pg_settings where name = 'restrict_nonsystem_relation_kind'").fetchall()
        with pytest.raises(psycopg.Error, match="is restricted" if knows else "TRAPPED"):
            conn.execute("select * from public.was_a_table")


# ------------------------------------------------------------------ schema planrun made by somebody else

JOURNAL = """
create table planrun.journal (id bigint generated always as identity primary key, run text not null,
    at timestamptz not null default clock_timestamp(), event jsonb not null)
"""
SPY = """
create table public.seen (who text); grant insert on public.seen to public;
create function public.spy() returns trigger language plpgsql as
    $$ begin insert into public.seen values (current_user); return new; end $$;
create function public.look() returns jsonb language plpgsql as
    $$ begin raise exception 'TRAPPED as %', current_user; end $$
"""
FOREIGN = {
    "the schema is theirs": (f"create schema planrun authorization {EVIL}", f"it belongs to {EVIL}", 0),
    "the journal is theirs": (
        f"create schema planrun; grant all on schema planrun to {EVIL}; {as_evil(JOURNAL)}",
        f"journal in it belongs to {EVIL}",
        0,
    ),
    "a default runs their code": (
        f"create schema planrun authorization {EVIL}; "
        + as_evil(JOURNAL.replace("event jsonb not null", "event jsonb, spied jsonb default public.look()")),
        f"it belongs to {EVIL}",
        0,
    ),
    "a view": (
        f"create schema planrun authorization {EVIL}; "
        + as_evil("create view planrun.journal as select 'r'::text as run, public.look() as event, 1 as id"),
        "journal in it is not an ordinary table",
        1,
    ),
    "a trigger": (
        f"create schema planrun; {JOURNAL}; grant all on planrun.journal to {EVIL}; grant usage on schema planrun to "
        f"{EVIL}; " + as_evil("create trigger t before insert on planrun.journal for each row execute function spy()"),
        f"journal in it has a trigger that runs code of {EVIL}: t",
        0,
    ),
    "a rule": (
        f"create schema planrun; {JOURNAL}; create rule r as on insert to planrun.journal do also select 1",
        "journal in it has a rule: r",
        0,
    ),
    "row security": (
        f"create schema planrun; {JOURNAL}; alter table planrun.journal enable row level security",
        "journal in it has row security",
        1,
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_schema_planrun_of_somebody_else_is_not_used(what: str, new_db: NewDb, tmp_path: Path, evil: str) -> None:
    made, words, looking = FOREIGN[what]
    pair = Pair(
        tmp_path, new_db(), new_db(), "name: p\nsteps:\n  - {id: a, uses: sql, with: {text: create table t ()}}\n"
    )
    pair.env["DATABASE_URL"] = pair.target
    pair.fill(f"grant all on schema public to {EVIL}; {as_evil(SPY)}", made, only="target")
    for more in ((), ("--resume",)):
        done = pair.here("apply", "plan.yml", "--yes", *more)
        assert done.code == (64 if more and not looking else 1), done.output
        assert words in done.output or more, done.output
        assert "hint: check who created it" in done.output or more
    done = pair.here("history", "plan.yml")
    assert done.code == looking and "TRAPPED" not in done.output, done.output
    assert pair.ask("select to_regclass('public.t'), (select count(*) from public.seen)") == [(None, 0)]
    pair.fill("alter schema planrun rename to planrun_of_somebody", only="target")
    pair.apply()


def test_a_ledger_of_somebody_else_is_not_acted_upon(new_db: NewDb, tmp_path: Path, evil: str) -> None:
    """What is in the ledger is run at the swap; a member of the owner, and whoever reads, may use it all the same."""
    plan = REFRESH.replace("SCHEMA", "public").replace("TABLE", "users")
    pair = Pair(tmp_path, new_db(), new_db(), plan)
    pair.fill(SHOP)
    pair.apply("--until", "prepare")
    pair.fill(f"alter table planrun.member owner to {EVIL}", only="target")
    for args in (("apply", "plan.yml", "--yes", "--resume"), ("abort", "plan.yml", "--yes")):
        done = pair.here(*args)
        assert done.code == 1 and f"member in it belongs to {EVIL}" in done.output, done.output
    pair.ok("status", "plan.yml")


# ------------------------------------------------------------------ names

NAMES = [
    HOSTILE.encode()[:60].decode(errors="ignore"),
    "\n\x1b[31m\u202e\nerror: `faked`",
    'it\'s "$$" \\ %s {n} {{ x }} ${y}',
    "-rf",
    "../x",
    "con.sql",
    "Users",
    "users",
    "ü" * 31,
    "* ? [a]",
    "$1",
]
SCHEMA = 'S "x"; drop\ttable\x1b[2J --\u202e'


def nasty(schema: str) -> Iterator[sql.Composed]:
    yield sql.SQL("create schema {}").format(sql.Identifier(schema))
    for name in NAMES:
        table = sql.Identifier(schema, name)
        part = sql.Identifier(f"{name[:20]}i")
        yield sql.SQL("create table {} ({} int, {} text, constraint {} primary key ({}))").format(
            table, sql.Identifier("n" if name == "users" else name), sql.Identifier(f"{name[:20]}2"),
            sql.Identifier(f"{name[:20]}k"), sql.Identifier("n" if name == "users" else name),
        )  # fmt: skip
        yield sql.SQL("create index {} on {} ({})").format(part, table, sql.Identifier(f"{name[:20]}2"))
        yield sql.SQL("insert into {} values (1, 'a')").format(table)
    view, first = sql.Identifier(schema, "v\x1b[1m"), sql.Identifier(schema, NAMES[0])
    yield sql.SQL("create view {} as select * from {}").format(view, first)


@pytest.fixture
def odd(new_db: NewDb, tmp_path: Path) -> Pair:
    pair = Pair(tmp_path, new_db(), new_db(), "")
    for db in (pair.source, pair.target):
        with connect_to(db) as conn:
            for text in nasty(SCHEMA):
                conn.execute(text)
    with connect_to(pair.source) as conn:
        conn.execute(sql.SQL("insert into {} values (2, 'b')").format(sql.Identifier(SCHEMA, NAMES[0])))
    pair.env["DATABASE_URL"] = pair.target
    return pair


def say(pair: Pair, *args: str, code: int = 0) -> str:
    done = pair.here(*args)
    assert done.code == code, done.output
    return clean(done.output)


def test_odd_names_through_a_refresh(odd: Pair) -> None:
    odd.write(REFRESH.replace("SCHEMA", json.dumps(SCHEMA)).replace("TABLE", "users"))
    for form in ("text", "json", "jsonl"):
        say(odd, "diff", "plan.yml", "-o", form)
    assert not RAW.search(odd.ok("diff", "plan.yml", "-o", "markdown").output.replace("\t", ""))  # as SQL in a fence
    say(odd, "apply", "plan.yml", "--yes", "--until", "prepare", "-o", "jsonl")
    for words in ("status", "status -o json", "explain", "explain -o json", "history"):
        say(odd, *words.split(), "plan.yml")
    say(odd, "apply", "plan.yml", "--yes", "--resume")
    assert not_as_in_the_source(odd) == []
    for words in ("backups list", "backups list -o json", "backups verify"):
        say(odd, *words.split(), "plan.yml", *(["latest"] if "verify" in words else []))
    say(odd, "rollback", "plan.yml", "--yes")
    say(odd, "abort", "plan.yml", "--yes", "-o", "json")


def test_odd_names_through_a_backup(odd: Pair) -> None:
    odd.write(SAVE.replace("SCHEMA", json.dumps(SCHEMA)).replace("FORMAT", "copy"))
    say(odd, "apply", "plan.yml", "--yes", "-o", "jsonl")
    (session,) = odd.backups.iterdir()
    files = sorted(path.name for path in session.iterdir())
    folded = [unicodedata.normalize("NFC", name).casefold() for name in files]
    assert len(set(folded)) == len(files) >= len(NAMES) + 3 and not any(name.startswith(("-", ".")) for name in files)
    assert [path.name for path in odd.folder.iterdir()].count("x") == 0
    for words in ("backups list", "backups list -o json", "backups verify --level 2", "status", "explain"):
        say(odd, *words.split(), "plan.yml", *(["latest"] if "verify" in words else []))
    say(odd, "backups", "restore", "plan.yml", "latest", "--yes", code=1)  # they are there already
    say(odd, "backups", "restore", "plan.yml", "latest", "--yes", "--as-schema", f"beside {NAMES[1]}")
    counted = sql.SQL("select count(*) from {}")
    with connect_to(odd.target) as conn:
        for name in NAMES:
            assert conn.execute(counted.format(sql.Identifier(f"beside {NAMES[1]}", name))).fetchall() == [(1,)]


# ------------------------------------------------------------------ a plan in a pull request

READ_ONLY_IS_NOT_ENOUGH = {
    "ends another session": "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'",
    "in other words": 'select n from (select pg_catalog."pg_terminate_backend"/**/(1) as n) as x',
    "with escapes": "select U&\"pg!005fterminate_backend\" uescape '!' (1)",
    "writes a file of the server": "select lo_export(1, '/tmp/planrun-was-here')",
    "reads a file of the server": "select pg_read_file('/etc/passwd')",
    "talks to another server": "select * from dblink('host=127.0.0.1', 'drop table t') as x (n int)",
    "keeps a lock": "select pg_advisory_lock(1)",
    "hides what it runs": "select query_to_xml('select pg_reload_conf()', true, true, '')",
    "writes the log": "select pg_logical_emit_message(false, 'x', 'y')",
    "ends the transaction": "select 1; commit; drop table t",
    "no query at all": "do $$ begin drop table t; end $$",
    "a program": "copy (select 1) to program 'touch /tmp/planrun-was-here'",
    "loosens": "set transaction read write",
}
SERVER_REFUSES = {
    "a function that writes": "select public.writes()",
    "a function that loosens": "select public.loosens()",
    "nextval": "select nextval('public.s')",
    "rows": "with gone as (delete from t returning n) select * from gone",
}


@pytest.mark.parametrize("what", READ_ONLY_IS_NOT_ENOUGH)
def test_a_query_that_acts_is_refused_before_it_is_sent(what: str, new_db: NewDb, tmp_path: Path) -> None:
    text = json.dumps(READ_ONLY_IS_NOT_ENOUGH[what])
    for kind in ("query", "check"):
        (tmp_path / "plan.yml").write_text(f"name: p\nsteps:\n  - {{id: a, uses: {kind}, with: {{text: {text}}}}}\n")
        pair = Pair(tmp_path, "", "", (tmp_path / "plan.yml").read_text())
        done = pair.here("validate", "plan.yml")
        assert done.code == 5 and "plan.yml:3:" in done.output, done.output


@pytest.mark.parametrize("what", SERVER_REFUSES)
def test_a_query_that_writes_is_refused_by_the_server(what: str, new_db: NewDb, tmp_path: Path) -> None:
    text = json.dumps(SERVER_REFUSES[what])
    pair = Pair(tmp_path, "", new_db(), f"name: p\nsteps:\n  - {{id: a, uses: query, with: {{text: {text}}}}}\n")
    pair.env["DATABASE_URL"] = pair.target
    pair.fill(
        "create table t (n int); insert into t values (1); create sequence s;"
        "create function writes() returns int language sql volatile as 'insert into public.t values (2) returning n';"
        "create function loosens() returns text language plpgsql as $$ begin set transaction read write;"
        " insert into public.t values (3); return ''; end $$",
        only="target",
    )
    for args in (("diff", "plan.yml"), ("apply", "plan.yml", "--yes")):
        assert pair.here(*args).code in (1, 5)
    assert pair.ask("select count(*), (select is_called from s) from t") == [(1, False)]


def test_what_a_template_becomes_is_read_again_before_it_runs(new_db: NewDb, tmp_path: Path) -> None:
    """Not every way through a template can be tried when a plan is read."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "q.sql.j2").write_text(
        "select {{ x }}::int as n{% if x > 3 and x < 7 %}; commit; set default_transaction_read_only = off; "
        "drop table t{% endif %}\n"
    )
    with_x = "with: {file: q.sql.j2, values: {x: '${steps.n.row.x}'}}"
    for kind in ("query", "sql"):
        pair = Pair(tmp_path, "", new_db(), "name: p\nsteps:\n"
                    "  - {id: n, uses: query, with: {text: select 5 as x}}\n"
                    f"  - {{id: a, uses: {kind}, {with_x}}}\n")  # fmt: skip
        pair.env["DATABASE_URL"] = pair.target
        pair.fill("create table t (n int)", only="target")
        pair.ok("validate", "plan.yml")
        pair.here("diff", "plan.yml")
        done = pair.here("apply", "plan.yml", "--yes")
        assert done.code == 5 and ("takes one statement" in done.output or "COMMIT has no place" in done.output), (
            done.output
        )
        assert pair.ask("select count(*) from t") == [(0,)]


def file_hashes(*folders: Path) -> dict[str, str]:
    """Return what is in folders: every file with the hash of its content, links not followed."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else "-"
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


TRAPS = {
    "a program": "steps:\n  - {id: a, uses: command, with: {argv: [touch, MARK]}}\n",
    "a file": "steps:\n  - {id: a, uses: write, with: {to: MARK, text: x}}\n",
    "a backup": "backup: {path: MARK}\n",
    "a local journal": "journal: MARK\nsteps:\n  - {id: a, uses: query, with: {text: select 1}}\n",
    "retention": "steps:\n  - {id: a, uses: retention, with: {path: '.', keep_last: 1}}\n",
    "a program for each row": "steps:\n  - {id: q, uses: query, with: {text: select 1 as n}}\n"
    "  - {id: a, for_each: q.rows, uses: command, with: {argv: [touch, MARK]}}\n",
    "its rollback": "steps:\n  - {id: a, uses: query, with: {text: select 1}}\n"
    "rollback:\n  - {id: b, uses: command, with: {argv: [touch, MARK]}}\n",
}


@pytest.mark.parametrize("what", TRAPS)
def test_looking_at_a_plan_runs_and_writes_nothing(what: str, new_db: NewDb, tmp_path: Path) -> None:
    home, mark = tmp_path / "home", tmp_path / "home" / "mark"
    home.mkdir()
    pair = Pair(tmp_path / "home", "", new_db(), f"name: p\n{TRAPS[what].replace('MARK', str(mark))}")
    pair.env |= {"DATABASE_URL": pair.target, "HOME": str(home), "XDG_STATE_HOME": str(home / "xdg")}
    pair.env["PLANRUN_STATE_DIR"] = str(home / "state")
    before = file_hashes(tmp_path)
    commands = ("validate", "render", "graph", "diff", "status", "history", "explain", "backups list", "doctor")
    for words in commands:
        assert pair.here(*words.split(), "plan.yml").code in (0, 1, 64), words
        assert file_hashes(tmp_path) == before, words
    assert pair.ask("select to_regnamespace('planrun')") == [(None,)]


OUTSIDE = {
    "extends": "extends: SECRET\nname: p\n",
    "extends by a link": "extends: link.yml\nname: p\n",
    "a template": "name: p\nsteps:\n  - {id: a, uses: SECRET}\n",
    "a template by a link": "name: p\nsteps:\n  - {id: a, uses: ./link.yml}\n",
    "an sql file": "name: p\nsteps:\n  - {id: a, uses: sql, with: {file: SECRET}}\n",
    "an sql file above": "name: p\nsteps:\n  - {id: a, uses: query, with: {file: ../../secret.yml}}\n",
    "an sql file by a link": "name: p\nsteps:\n  - {id: a, uses: query, with: {file: link.sql}}\n",
    "an include of an sql file": "name: p\nsteps:\n  - {id: a, uses: query, with: {file: include.sql.j2}}\n",
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_nothing_outside_of_the_root_is_read_or_shown(what: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yml"
    secret.write_text("root:$6$c4n4ry:19000:0\n- c4n4ry: [\n")
    root = tmp_path / "repo"
    (root / "sql").mkdir(parents=True)
    (root / "link.yml").symlink_to(secret)
    (root / "sql" / "link.sql").symlink_to(secret)
    (root / "sql" / "include.sql.j2").write_text("{% include '../../secret.yml' %}")
    pair = Pair(root, "", "", OUTSIDE[what].replace("SECRET", str(secret)))
    for words in ("validate", "render", "graph"):
        done = pair.here(words, "plan.yml")
        assert done.code == 5 and "c4n4ry" not in done.output, done.output


def test_the_name_of_a_plan_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    pair = Pair(tmp_path, "", "", "name: ../../x\nsteps:\n  - {id: a, uses: command, with: {argv: ['true']}}\n")
    pair.apply()
    (kept,) = (tmp_path / "state").iterdir()
    assert kept.name.startswith(".._.._x-") and kept.suffix == ".jsonl"


def test_a_journal_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    pair = Pair(
        tmp_path, "", "", "name: p\njournal: /dev/zero\nsteps:\n  - {id: a, uses: command, with: {argv: [x]}}\n"
    )
    for words in ("status", "history", "explain"):
        done = pair.here(words, "plan.yml")
        assert done.code == 1 and "cannot read the journal: it is not a file" in done.output


def test_offline_commands_reach_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def fail_lookup(*args: object, **more: object) -> object:
        raise AssertionError(f"a host was asked for: {args}")

    monkeypatch.setattr(psycopg.Connection, "connect", fail_lookup)
    monkeypatch.setattr(socket, "getaddrinfo", fail_lookup)
    monkeypatch.setattr(socket.socket, "connect", fail_lookup)
    pair = Pair(tmp_path, "", "", "name: p\nconnections: {target: {host: evil.example}}\n"
                "steps:\n  - {id: a, uses: sql, with: {text: select 1}}\n")  # fmt: skip
    pair.env |= {"HTTPS_PROXY": "http://evil.example", "PGHOST": "evil.example", "PGHOSTADDR": "192.0.2.1"}
    for words in ("validate", "render", "graph", "schema", "reference"):
        pair.ok(words, *(["plan.yml"] if words not in ("schema", "reference") else []))


@pytest.mark.parametrize(
    ("env", "words", "given"),
    [
        ({"PGHOST": "db.example", "PGPASSWORD": "c4n4ry"}, "host: 127.0.0.1", "PGPASSWORD"),
        ({"PGHOST": "db.example", "PGPASSWORD": "c4n4ry"}, "host: db.example, hostaddr: 127.0.0.1", "PGPASSWORD"),
        ({"PGHOST": "db.example", "PGPASSWORD": "c4n4ry"}, "host: 'db.example,127.0.0.1'", "PGPASSWORD"),
        ({"PGSERVICE": "prod"}, "host: 127.0.0.1", "PGSERVICE"),
    ],
)
def test_a_password_of_the_environment_goes_to_no_host_of_the_plan(
    env: dict[str, str], words: str, given: str, tmp_path: Path
) -> None:
    pair = Pair(tmp_path, "", "", f"name: p\nconnections: {{target: {{{words}}}}}\n"
                "steps:\n  - {id: a, uses: query, with: {text: select 1}}\n")  # fmt: skip
    del pair.env["DATABASE_URL"], pair.env["PLANRUN_TARGET_URL"], pair.env["PLANRUN_SOURCE_URL"]
    done = pair.here("diff", "plan.yml", env=env)
    assert done.code == 4 and f"{given} of the environment is for another host" in done.output, done.output
    assert "c4n4ry" not in done.output and "set PLANRUN_TARGET_URL" in done.output


def test_a_service_is_not_led_to_another_host(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "", "", "name: p\nconnections: {target: {service: prod, host: evil.example}}\n"
                "steps:\n  - {id: a, uses: query, with: {text: select 1}}\n")  # fmt: skip
    done = pair.here("validate", "plan.yml")
    assert done.code == 5 and "would send the password of that service to another server" in done.output


def test_a_secret_cannot_be_put_where_it_is_shown(tmp_path: Path, new_db: NewDb) -> None:
    """`${env.X}` of a secret: in a host, a name, a message it is *** wherever it is told."""
    pair = Pair(tmp_path, "", new_db(), "name: p\nconnections: {target: {host: '${env.API_TOKEN}.invalid'}}\n"
                "steps:\n  - {id: a, uses: query, with: {text: select 1}}\n")  # fmt: skip
    del pair.env["PLANRUN_TARGET_URL"], pair.env["DATABASE_URL"]
    for words in ("diff", "render", "doctor", "status"):
        done = pair.here(words, "plan.yml", env={"API_TOKEN": "c4n4ry-token"})
        assert "c4n4ry" not in done.output, (words, done.output)
    pair.write("name: p\nsteps:\n  - {id: a, uses: confirm, with: {message: 'x ${env.API_TOKEN}'}}\n"
               "  - {id: b, uses: write, with: {to: '${env.API_TOKEN}.txt', text: x}}\n")  # fmt: skip
    for words in ("diff", "diff -o json", "diff -o markdown", "render", "render -o json"):
        done = pair.here(*words.split(), "plan.yml", env={"API_TOKEN": "c4n4ry-token"})
        assert "c4n4ry" not in done.output, (words, done.output)
