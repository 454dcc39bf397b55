"""Let the triggers and rules of a table sleep while rows are put into it: they are to be as they are elsewhere.

Source: PostgreSQL docs, ALTER TABLE (ENABLE TRIGGER, ENABLE RULE); COPY fires triggers as INSERT does.
"""

from __future__ import annotations

from runner.sqltext import SqlText, literal


def asleep(into: SqlText) -> str:
    """Return plpgsql that lets triggers and rules of a table sleep and keeps in `texts` how to wake them.

    It wants `it record` and `texts text[]` declared. A clone on a partition follows its root. What foreign keys and
    constraints are made of is not touched.
    """
    return f"""\
    texts := '{{}}';
    for it in
        select t.tgrelid::pg_catalog.regclass as tab, 'trigger' as what, t.tgname as name, t.tgenabled as state
        from pg_catalog.pg_trigger as t
        where t.tgenabled <> 'D' and t.tgparentid = 0 and not t.tgisinternal and t.tgrelid in ({tree(named(into))})
        union all
        select r.ev_class::pg_catalog.regclass, 'rule', r.rulename, r.ev_enabled
        from pg_catalog.pg_rewrite as r
        where r.ev_enabled <> 'D' and r.ev_class in ({tree(named(into))})
    loop
        execute pg_catalog.format('alter table %s disable %s %I', it.tab, it.what, it.name);
        texts := texts || pg_catalog.format('alter table %s enable %s%s %I', it.tab,
            case it.state when 'A' then 'always ' when 'R' then 'replica ' end, it.what, it.name);
    end loop;
"""


def awake() -> str:
    """Return plpgsql that wakes what `asleep` put to sleep."""
    return "    for n in 1 .. pg_catalog.cardinality(texts) loop\n        execute texts[n];\n    end loop;\n"


def sleep(into: SqlText) -> SqlText:
    """Return a statement that lets triggers and rules of a table sleep until `wake` in the same transaction."""
    body = (
        f"\ndeclare\n    it record;\n    texts text[];\nbegin\n{asleep(into)}"
        "    perform pg_catalog.set_config('planrun.asleep', texts::pg_catalog.text, true);\nend\n"
    )
    return SqlText(f"do {dollars(body)}")


def wake() -> SqlText:
    body = f"\ndeclare\n    texts text[] := pg_catalog.current_setting('planrun.asleep');\nbegin\n{awake()}end\n"
    return SqlText(f"do {dollars(body)}")


def tree(table: str) -> str:
    """Return a query for the OIDs of a table and its partitions. table: an SQL expression of type regclass."""
    return f"select {table}::pg_catalog.oid union all select relid from pg_catalog.pg_partition_tree({table})"


def named(table: SqlText) -> str:
    return f"{literal(table)}::pg_catalog.regclass"


def dollars(text: str) -> str:
    """Return a text in dollar quotes that it does not hold: a name may hold any."""
    number = 0
    while (tag := f"$planrun{number or ''}$") in text:
        number += 1
    return f"{tag}{text}{tag}"
