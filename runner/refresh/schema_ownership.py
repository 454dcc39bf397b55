"""Whether schema planrun of a database is one to be believed: who owns it, and what would run when we write there.

Whoever may create a schema could have made it before us, with a journal that is a view, has a trigger or a rule: their
code would run with our rights, and the record of our objects would say what they want. So it must belong to this role,
to one that this role is a member of, or to a superuser, who needs no such way. A superuser is a member of every role,
so for one of them only the first and the last hold. To look is less: no code runs when an ordinary table is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.errors import TargetError

Ask = Callable[[str], Sequence[Mapping[str, Any]]]

QUERY = """
with trusted as (
    select r.oid
    from pg_catalog.pg_roles as r
    join pg_catalog.pg_roles as me on me.rolname = current_user
    where r.rolsuper or r.oid = me.oid or not me.rolsuper and pg_catalog.pg_has_role(r.oid, 'member')
),
ours as (
    select c.oid, c.relname, c.relkind, c.relowner, c.relrowsecurity
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'planrun' and c.relname in ('journal', 'refresh', 'member')
)
select p.problem, p.looking, current_user::pg_catalog.text as role
from (
    select pg_catalog.format('it belongs to %I', pg_catalog.pg_get_userbyid(n.nspowner)) as problem, false as looking
    from pg_catalog.pg_namespace as n
    where n.nspname = 'planrun' and n.nspowner not in (select t.oid from trusted as t)
    union all
    select pg_catalog.format('%I in it belongs to %I', o.relname, pg_catalog.pg_get_userbyid(o.relowner)), false
    from ours as o
    where o.relowner not in (select t.oid from trusted as t)
    union all
    select pg_catalog.format('%I in it is not an ordinary table', o.relname), true from ours as o where o.relkind <> 'r'
    union all
    select pg_catalog.format('%I in it has row security', o.relname), true from ours as o where o.relrowsecurity
    union all
    select pg_catalog.format('%I in it has a rule: %I', o.relname, w.rulename), false
    from ours as o
    join pg_catalog.pg_rewrite as w on w.ev_class = o.oid
    where o.relkind = 'r'
    union all
    select pg_catalog.format('%I in it has a trigger that runs code of %I: %I', o.relname,
                             pg_catalog.pg_get_userbyid(f.proowner), g.tgname), false
    from ours as o
    join pg_catalog.pg_trigger as g on g.tgrelid = o.oid and not g.tgisinternal
    join pg_catalog.pg_proc as f on f.oid = g.tgfoid
    where f.proowner not in (select t.oid from trusted as t)
) as p
order by 1
"""


def refuse_foreign(ask: Ask, *, looking: bool = False) -> None:
    """Raise TargetError when schema planrun, or what we read and write in it, is another role's.

    ask: runs a query of ours, with an empty search_path, and returns its rows. looking: what is read there is only
    shown, and nothing is written.
    """
    found = [row for row in ask(QUERY) if row["looking"] or not looking]
    if not found:
        return
    raise TargetError(
        f"schema planrun is not one that {found[0]['role']} may rely on: {'; '.join(row['problem'] for row in found)}",
        hint="look who made it. Connect as its owner when that is right; else put it aside and run again: "
        "alter schema planrun rename to planrun_of_somebody",
        sqlstate="42501",
    )
