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
