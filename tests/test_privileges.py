"""What each command needs in privileges: a role with exactly these does it, and each one that is left out is refused.

The rows here are those of the table in docs/security.md. A refusal says what is missing and what to type, and comes
before anything was changed.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import conninfo

from tests import servers
from tests.commandline import Done
from tests.refreshes import Pair, plan_that_keeps
from tests.servers import Server

MAJORS = sorted(servers.servers_here())
OLDEST_AND_NEWEST = sorted({MAJORS[0], MAJORS[-1]}) if MAJORS else [0]


@pytest.fixture(scope="module", params=OLDEST_AND_NEWEST, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, _no_settings_of_the_caller: None) -> Iterator[Server]:
    """15 took CREATE on schema public away, 16 changed how roles are granted: the oldest and the newest are tried."""
    if not request.param:
        servers.no_server("no PostgreSQL server programs here")
    with servers.local(servers.servers_here()[request.param]) as made:
        with made.admin() as conn:
            conn.execute("create role app; create role reader login; create role mover login; create role friend login")
            conn.execute("create role seer login bypassrls")
        yield made


BACKUP = "backup: {path: backups, format: sql, tables: [users, orders]}\n"
REFRESH = plan_that_keeps("users")
SHOP = """
create table users (id int primary key, email text unique);
create table orders (id serial primary key, "user" int references users, amount numeric);
create view big as select * from orders where amount > 10;
create materialized view totals as select count(*) as n from orders;
insert into users select n, 'user ' || n from generate_series(1, 20) n;
insert into orders ("user", amount) select 1 + n % 20, n from generate_series(1, 60) n;
refresh materialized view totals;
"""


class Desk(Pair):
    """Two databases where nobody may do anything but what is granted; `role` is who connects to the target."""

    def __init__(self, server: Server, folder: Path, plan: str, role: str) -> None:
        self.server, self.role = server, role
        self.names = {only: f"p_{only}_{uuid.uuid4().hex[:8]}" for only in ("source", "target")}
        super().__init__(folder, server.create(self.names["source"]), server.create(self.names["target"]), plan)
        for only, name in self.names.items():
            self.fill(
                f"revoke all on database {name} from public; revoke all on schema public from public;"
                f"grant all on schema public to app; set role app; {SHOP}; reset role;"
                "revoke all on schema public from app",
                only=only,
            )
        self.env |= {
            "DATABASE_URL": conninfo.make_conninfo(self.target, user=role),
            "PLANRUN_TARGET_URL": conninfo.make_conninfo(self.target, user=role),
            "PLANRUN_SOURCE_URL": conninfo.make_conninfo(self.source, user="reader"),
        }

    def give(self, text: str) -> None:
        only = "source" if re.search(" (to|from) reader$", text) else "target"
        self.fill(text.format(db=self.names[only]), only=only)

    def take(self, text: str) -> None:
        self.give(text.replace("grant ", "revoke ").replace(" to ", " from "))

    def drop(self) -> None:
        with self.server.admin() as conn:
            conn.execute("revoke app from mover")
        for name in self.names.values():
            self.server.drop(name)


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with contextlib.ExitStack() as stack:

        def make(plan: str, role: str) -> Desk:
            made = Desk(server, tmp_path, plan, role)
            stack.callback(made.drop)
            return made

        yield make


STATE = """
select pg_catalog.md5(pg_catalog.string_agg(t.line, e'\\n' order by t.line)) from (
    select pg_catalog.concat_ws(
        ' ', 'class', c.oid, c.relname, n.nspname, c.relowner, c.relfilenode,
        (select pg_catalog.string_agg(a::text, ',' order by a::text) from pg_catalog.unnest(c.relacl) a),
        pg_catalog.obj_description(c.oid, 'pg_class')
    )
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname not in ('planrun', 'pg_catalog', 'pg_toast', 'information_schema')
    union all
    select pg_catalog.concat_ws(' ', 'schema', nspname, nspowner,
        (select pg_catalog.string_agg(a::text, ',' order by a::text) from pg_catalog.unnest(nspacl) a))
    from pg_catalog.pg_namespace
    where nspname <> 'planrun' and nspname !~ '^pg_(toast_)?temp'
    union all
    select pg_catalog.concat_ws(' ', 'trigger', tgname, tgrelid, tgenabled) from pg_catalog.pg_trigger
    where not tgisinternal
    union all
    select pg_catalog.concat_ws(' ', 'constraint', conname, conrelid, convalidated) from pg_catalog.pg_constraint k
    join pg_catalog.pg_namespace n on n.oid = k.connamespace where n.nspname <> 'planrun'
    union all
    select pg_catalog.concat_ws(' ', 'function', p.oid, proname) from pg_catalog.pg_proc p
    where p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace and p.oid > 16383
) as t (line)
"""
"""All that may not change before a refusal; only the journal may have begun."""


def state(desk: Desk) -> Any:
    there = [name for (name,) in desk.ask("select relname from pg_class where relname in ('users', 'orders')")]
    rows = [desk.ask(f"select count(*), sum(id) from {table}") for table in sorted(there)]
    sessions = sorted(path.name for path in desk.backups.iterdir()) if desk.backups.exists() else []
    return desk.ask(STATE), rows, sessions


def check_refusal(desk: Desk, done: Done, words: str) -> None:
    """A refusal: an exit code of its own, what is missing, what to type, no trace."""
    assert done.code in (1, 4), done.output
    assert re.search(words, done.output), f"{words}\n---\n{done.output}"
    assert (
        ("hint: " in done.output or "type: " in done.output)
        and "Traceback" not in done.output
        and "this is a bug" not in done.output
    ), done.output


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table. rights: what the role has, and what is said without it.

    first: what goes before, as SQL of a superuser or as commands with all rights of a refresh.
    """

    plan: str
    rights: Mapping[str, str]
    command: tuple[str, ...] = ("apply", "plan.yml", "--yes")
    role: str = "mover"
    first: tuple[str | tuple[str, ...], ...] = ()


CONNECT = "grant connect on database .* to the role that connects"
QUERY = "name: q\nsteps:\n  - {id: look, uses: query, with: {text: 'select count(*) as n from public.users'}}\n"
CHECK = "name: c\nsteps:\n  - {id: no_row, uses: check, with: {text: 'select id from public.users where id < 0'}}\n"
CHANGE = "name: s\nsteps:\n  - {id: put, uses: sql, with: {text: 'insert into public.users values (99, $$x$$)'}}\n"
CLEANUP = "name: refresh\nsteps:\n  - {id: cleanup, uses: drop_backup_set}\n"


def rights_to_read(role: str, tables: str = "users, orders", *, sequences: bool = True) -> dict[str, str]:
    """What is needed to read whole tables."""
    found = {
        f"grant connect on database {{db}} to {role}": CONNECT,
        f"grant usage on schema public to {role}": "no usage on schema public|grant usage .*on schema public",
        f"grant select on {tables} to {role}": "public.users: no select|grant select .*on table users",
    }
    if sequences:
        found[f"grant select on orders_id_seq to {role}"] = "no select on its sequence public.orders_id_seq"
    return found


INTO = {
    "grant connect on database {db} to mover": CONNECT,
    "grant create on database {db} to mover": "grant create on database p_target_.* to mover",
}
USE = {"grant usage on schema public to mover": "grant usage on schema public to mover"}
MAKE = {"grant create on schema public to app": "grant create on schema public to (app|mover)"}
OWN = {"grant app to mover": "grant app to mover"}
MOVING = {**INTO, **USE, **MAKE, **OWN}
ALONE = {one: words for one, words in INTO.items() if "connect" in one}
REFRESHING = {**rights_to_read("reader"), **MOVING}
APPLY = ("apply", "plan.yml", "--yes")
JOURNAL = {
    "grant connect on database {db} to friend": CONNECT,
    "grant usage on schema planrun to friend": "grant usage .*on schema planrun",
    "grant select on planrun.journal to friend": "grant select .*on table journal",
}
LEDGER = {
    "grant connect on database {db} to friend": CONNECT,
    "grant usage on schema planrun to friend": "grant usage .*on schema planrun",
    "grant select on planrun.refresh, planrun.member to friend": "grant select .*on table (refresh|member)",
}
RESTORE = ("backups", "restore", "plan.yml", "latest", "--yes")
HERE = {
    "grant usage on schema public to mover": "grant usage on schema public to mover",
    "grant create on schema public to mover": "grant create on schema public to mover",
}

ROWS = {
    "diff of a backup": Row(plan=BACKUP, command=("diff", "plan.yml"), role="friend", rights=rights_to_read("friend")),
    "apply of a backup": Row(plan=BACKUP, role="friend", rights=rights_to_read("friend")),
    "query": Row(plan=QUERY, role="friend", rights=rights_to_read("friend", "users", sequences=False)),
    "check": Row(plan=CHECK, role="friend", rights=rights_to_read("friend", "users", sequences=False)),
    "sql": Row(
        plan=CHANGE,
        rights={
            **INTO,
            "grant usage on schema public to mover": "grant usage .*on schema public",
            "grant insert on users to mover": "grant select .or what the statement does. on table users",
        },
    ),
    "diff of a refresh": Row(plan=REFRESH, command=("diff", "plan.yml"), rights=REFRESHING),
    "apply of a refresh": Row(plan=REFRESH, rights=REFRESHING),
    "swap": Row(
        plan=REFRESH,
        first=((*APPLY, "--until", "prepare"),),
        command=(*APPLY, "--resume"),
        rights={**ALONE, **{one: "schema public" for one in (*USE, *MAKE, *OWN)}},
    ),
    "rollback": Row(plan=REFRESH, first=(APPLY,), command=("rollback", "plan.yml", "--yes"), rights=MOVING),
    "abort": Row(
        plan=REFRESH,
        first=((*APPLY, "--until", "prepare"),),
        command=("abort", "plan.yml", "--yes"),
        rights={**ALONE, **USE, **OWN},
    ),
    "cleanup": Row(
        plan=REFRESH,
        first=(APPLY,),
        command=("backups", "prune", "plan.yml", "latest", "--yes"),
        rights={**ALONE, **USE, **OWN},
    ),
    "adopt": Row(
        plan=CLEANUP,
        first=("create table backup_users as select * from users; alter table backup_users owner to app",),
        command=("backups", "adopt", "plan.yml", "backup_users", "--yes"),
        rights={**INTO, **USE, "grant app to mover": "belongs to another role: grant app to mover"},
    ),
    "backups restore": Row(
        plan=BACKUP,
        first=(("saved",), "drop table users, orders cascade"),
        command=RESTORE,
        rights={**ALONE, **USE, **MAKE, "grant app to mover": "schema public to mover"},
    ),
    "backups restore --no-owner": Row(
        plan=BACKUP,
        first=(("saved",), "drop table users, orders cascade"),
        command=(*RESTORE, "--no-owner"),
        rights={**ALONE, **HERE},
    ),
    "backups restore --as-schema": Row(
        plan=BACKUP, first=(("saved",),), command=(*RESTORE, "--as-schema", "beside"), rights=INTO
    ),
    "backups restore --replace": Row(
        plan=BACKUP,
        first=(("saved",), "drop view big; drop materialized view totals"),
        command=(*RESTORE, "--replace"),
        rights={**ALONE, **USE, **MAKE, "grant app to mover": "not the owner of public.orders: grant app to mover"},
    ),
    "backups verify of a set": Row(
        plan=REFRESH,
        first=(APPLY,),
        command=("backups", "verify", "plan.yml", "latest"),
        rights={**ALONE, "grant usage on schema public to app": "grant usage .*on schema public",
                "grant app to mover": "grant usage .*on schema public"},
    ),
    "backups list of sets": Row(
        plan=REFRESH, role="friend", first=(APPLY,), command=("backups", "list", "plan.yml"), rights=LEDGER
    ),
    "status": Row(plan=REFRESH, role="friend", first=(APPLY,), command=("status", "plan.yml"), rights=JOURNAL),
    "history": Row(plan=REFRESH, role="friend", first=(APPLY,), command=("history", "plan.yml"), rights=JOURNAL),
    "explain": Row(plan=REFRESH, role="friend", first=(APPLY,), command=("explain", "plan.yml"), rights=JOURNAL),
    "doctor": Row(plan=QUERY, role="friend", command=("doctor", "plan.yml"), rights={
        "grant connect on database {db} to friend": "permission denied for database"}),
}  # fmt: skip


def prepare(desk: Desk, row: Row) -> None:
    """Do what goes before with all rights, and leave the role those that it needs from there on."""
    for right in REFRESHING:
        desk.give(right)
    as_mover = conninfo.make_conninfo(desk.target, user="mover")
    for one in row.first:
        if isinstance(one, str):
            desk.fill(one, only="target")
        elif one == ("saved",):
            desk.ok(*APPLY, env={"DATABASE_URL": desk.target, "PLANRUN_TARGET_URL": ""})
        else:
            desk.ok(*one, env={"PLANRUN_TARGET_URL": as_mover, "DATABASE_URL": as_mover})
    for right in REFRESHING:
        if "on users" not in right and "orders" not in right:  # they may be gone by now
            desk.take(right)
    for right in row.rights:
        desk.give(right)


ON_THE_OLDEST_TOO = ("apply of a backup", "apply of a refresh", "backups restore")


@pytest.mark.parametrize("name", ROWS)
def test_exactly_these_are_needed(name: str, desk: Callable[..., Desk], server: Server) -> None:
    if server.major != OLDEST_AND_NEWEST[-1] and name not in ON_THE_OLDEST_TOO:
        return  # nothing that a version changed
    row = ROWS[name]
    made = desk(row.plan, row.role)
    prepare(made, row)
    before = state(made)
    for right, words in row.rights.items():
        made.take(right)
        check_refusal(made, made.here(*row.command), words)
        made.give(right)
        assert state(made) == before, right
    made.ok(*row.command)


def test_hidden_rows_are_not_left_out_in_silence(desk: Callable[..., Desk]) -> None:
    """Row security in the source: refused, for a backup and for a refresh; with BYPASSRLS all rows are there."""
    made = desk(REFRESH, "mover")
    for right in REFRESHING:
        made.give(right)
    for right in rights_to_read("seer"):
        made.fill(right.format(db=made.names["source"]), only="source")
    made.fill("alter table users enable row level security; create policy few on users using (id < 5)", only="source")
    check_refusal(made, made.here("diff", "plan.yml"), "public.users: row security hides rows from reader")
    made.write(BACKUP)
    done = made.here(*APPLY, env={"DATABASE_URL": made.env["PLANRUN_SOURCE_URL"], "PLANRUN_TARGET_URL": ""})
    check_refusal(made, done, "public.users: row security hides rows from reader")
    assert state(made)[2] == []
    made.ok(*APPLY, env={"DATABASE_URL": conninfo.make_conninfo(made.source, user="seer"), "PLANRUN_TARGET_URL": ""})
    assert '"rows": 20' in "".join(path.read_text() for path in made.backups.rglob("manifest.json"))


# ------------------------------------------------------------------ the page

PHRASES = {
    r"connect on database": "CONNECT",
    r"create on database": "CREATE on the database",
    r"usage on schema public": "USAGE on the schema",
    r"create on schema public to app": "CREATE on it, for the owner of the tables",
    r"create on schema public": "CREATE on it",
    r"grant app": "membership in the owner",
    r"select on \w*(orders_id_seq)": "SELECT on their sequences",
    r"select on (users|users, orders) ": "SELECT on the tables",
    r"insert on users": "what its SQL does",
    r"usage on schema planrun": "USAGE on schema `planrun`",
    r"select on planrun.journal": "SELECT on `planrun.journal`",
    r"select on planrun.refresh, planrun.member": "SELECT on `planrun.refresh` and `planrun.member`",
}


def phrases(rights: Iterable[str]) -> str:
    return (
        ", ".join(next(phrase for words, phrase in PHRASES.items() if re.search(words, one)) for one in rights) or "-"
    )


def page_line(name: str, row: Row) -> str:
    """Return the line of the page for a row."""
    source = [one for one in row.rights if one.endswith(" to reader")]
    return f"| {name} | {phrases(source)} | {phrases(one for one in row.rights if one not in source)} |"


def test_the_page_says_what_is_tested_here() -> None:
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text()
    missing = [line for name, row in ROWS.items() if (line := page_line(name, row)) not in page]
    assert not missing, "docs/security.md lacks:\n" + "\n".join(missing)
