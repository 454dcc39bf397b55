"""What planrun makes is open to nobody else, whatever the default privileges of the role that it runs as."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.refreshes import KEEPING, Pair, shop
from tests.servers import Server

NewDb = Callable[[], str]
HOSTILE = """
alter default privileges grant all on tables to {anon};
alter default privileges grant all on sequences to {anon};
alter default privileges grant all on functions to {anon};
alter default privileges grant all on schemas to {anon};
alter default privileges in schema public grant select, insert on tables to public;
"""
OPEN = """
select o.what
from (
    select 'schema ' || n.nspname as what, n.nspname as schema, n.nspowner as owner, n.nspacl as acl from pg_namespace n
    union all
    select c.relkind::text || ' ' || c.oid::regclass::text, n.nspname, c.relowner, c.relacl
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    union all
    select 'function ' || f.oid::regprocedure::text, n.nspname, f.proowner,
           coalesce(f.proacl, acldefault('f', f.proowner))
    from pg_proc f join pg_namespace n on n.oid = f.pronamespace
) o, lateral aclexplode(o.acl) a
where a.grantee <> o.owner and (o.schema like 'planrun%' and o.schema not like 'planrun_undone%' or o.schema = 'backup'
                            or o.what like 'schema planrun%')
order by 1
"""
LIVE = """
select c.relname::text, coalesce(array_agg(a.grantee::regrole::text || ' ' || a.privilege_type order by 1)
                                 filter (where a.grantee <> c.relowner), '{}')
from pg_class c left join lateral aclexplode(c.relacl) a on true
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'S')
group by c.relname order by 1
"""


@pytest.fixture
def anon(pg_server: Server) -> Iterator[str]:
    """A role whom every new object is given to."""
    name = f"anon_{uuid.uuid4().hex[:8]}"
    with pg_server.admin() as conn:
        conn.execute(f"create role {name}".encode())
    yield name


@pytest.fixture
def pair(new_db: NewDb, tmp_path: Path, anon: str) -> Iterator[Pair]:
    """A target whose tables nobody but their owner may read; the source has one more, which `anon` may read."""
    made = shop(tmp_path, new_db, KEEPING)
    made.fill(f"create table only_there (id serial primary key, t text); grant select on only_there to {anon}",
              "insert into only_there (t) values ('x')", only="source")  # fmt: skip
    made.fill(HOSTILE.format(anon=anon), only="target")
    yield made
    made.fill("drop owned by " + anon)


def test_nothing_of_ours_is_open_and_live_tables_are_as_they_were(pair: Pair, anon: str) -> None:
    before = dict(pair.ask(LIVE))
    pair.apply("--until", "prepare")
    assert pair.ask(OPEN) == []
    pair.apply("--resume")
    assert pair.ask(OPEN) == []
    after = dict(pair.ask(LIVE))
    assert after.pop("only_there") == [f"{anon} SELECT"], "what it has in the source, no more"
    assert after.pop("only_there_id_seq") == []
    assert {name: acl for name, acl in after.items() if not name.startswith("backup_")} == before
    pair.ok("rollback", "plan.yml", "--yes")
    assert pair.ask(OPEN) == []
    now = dict(pair.ask(LIVE))
    assert {name: acl for name, acl in now.items() if name in before} == before
    pair.apply()
    pair.ok(
        "backups",
        "prune",
        "plan.yml",
        str(pair.ask("select id from planrun.refresh where state = 'swapped'")[0][0]),
        "--yes",
    )
    assert pair.ask(OPEN) == []


def test_a_set_in_a_schema_of_its_own_is_closed(pair: Pair) -> None:
    pair.write(KEEPING.replace("uses: swap_tables", "uses: swap_tables, with: {naming: schema}"))
    pair.apply()
    assert [what for (what,) in pair.ask(OPEN) if what == "schema backup"] == []


# ------------------------------------------------------------------ restored tables

BACKUP = "backup: {path: backups, tables: [secret, open_to_one]}\n"
TABLES = """
create table secret (id serial primary key, t text);
insert into secret (t) values ('x');
create table open_to_one (id int primary key);
insert into open_to_one values (1);
revoke all on secret, open_to_one, secret_id_seq from {anon}, public;
grant select on open_to_one to {anon};
"""
GRANTS = """
select c.relname::text, array_agg(distinct a.privilege_type order by a.privilege_type)
from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('public', 'beside')
cross join lateral aclexplode(c.relacl) a
where a.grantee <> c.relowner and c.relkind in ('r', 'S')
group by 1 order by 1
"""


@pytest.mark.parametrize("how", [(), ("--as-schema", "beside"), ("--replace",)], ids=["dropped", "beside", "replaced"])
def test_restored_tables_are_open_to_whom_they_were(
    new_db: NewDb, tmp_path: Path, anon: str, how: tuple[str, ...]
) -> None:
    pair = Pair(tmp_path, new_db(), new_db(), BACKUP)
    pair.fill(HOSTILE.format(anon=anon), TABLES.format(anon=anon), only="target")
    pair.ok("apply", "plan.yml", "--yes")
    assert pair.ask(GRANTS) == [("open_to_one", ["SELECT"])]
    defaults = "select defaclrole, defaclnamespace, defaclobjtype, defaclacl::text from pg_default_acl order by 1, 2, 3"
    before = pair.ask(defaults)
    if how != ("--replace",):
        pair.fill("drop table secret, open_to_one", only="target")
    pair.ok("backups", "restore", "plan.yml", "latest", "--yes", *how)
    assert pair.ask(GRANTS) == ([] if "beside" in how else [("open_to_one", ["SELECT"])])
    assert pair.ask(defaults) == before, "the default privileges are what they were"
    usable = f"select has_schema_privilege('{anon}', oid, 'usage') from pg_namespace where nspname = 'beside'"
    assert pair.ask(usable) == ([(False,)] if "beside" in how else [])
    pair.fill(f"drop owned by {anon}", only="target")


EVENT_TRIGGER = """
create function secure() returns event_trigger language plpgsql as $$
declare it record;
begin
    for it in select * from pg_event_trigger_ddl_commands() where command_tag = 'CREATE TABLE' loop
        execute format('alter table %s enable row level security', it.objid::regclass);
    end loop;
end $$;
create event trigger secure_all on ddl_command_end when tag in ('CREATE TABLE') execute function secure();
"""


def test_what_an_event_trigger_does_to_restored_tables_is_put_right_and_told(
    new_db: NewDb, tmp_path: Path, anon: str
) -> None:
    pair = Pair(tmp_path, new_db(), new_db(), BACKUP)
    pair.fill(TABLES.format(anon=anon), "alter table open_to_one enable row level security", only="target")
    pair.ok("apply", "plan.yml", "--yes")
    pair.fill("drop table secret, open_to_one", EVENT_TRIGGER, only="target")
    done = pair.ok("backups", "restore", "plan.yml", "latest", "--yes")
    assert "event trigger secure_all" in done.output, done.output
    assert pair.ask("select relname::text, relrowsecurity from pg_class where relname in ('secret', 'open_to_one')"
                    " order by 1") == [("open_to_one", True), ("secret", False)]  # fmt: skip
    pair.fill(f"drop owned by {anon}", only="target")


def test_ours_is_not_hidden_by_an_event_trigger(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db, KEEPING)
    pair.fill(EVENT_TRIGGER, only="target")
    live = pair.ask("select relname::text, relrowsecurity from pg_class where relnamespace = 'public'::regnamespace")
    pair.apply()
    now = dict(pair.ask("select relname::text, relrowsecurity from pg_class"
                        " where relnamespace = 'public'::regnamespace"))  # fmt: skip
    assert {name: now[name] for name, _ in live} == dict(live)
    pair.ok("rollback", "plan.yml", "--yes")
