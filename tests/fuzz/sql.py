"""Targets: SQL templates, names and values as SQL, and SQL in which relations get other names."""

from __future__ import annotations

from random import Random
from typing import Any

from runner import names, resources, words
from runner.model import UNKNOWN
from runner.refresh import naming
from runner.safesql import renaming
from runner.safesql.syntax import COMMENTS, BadSql, tokens
from runner.safesql.templates import Templates
from runner.sqltext import Inline, ident, idents, literal, literals, qualified
from runner.table_name import TableName
from tests.fuzz import corpus, mutating
from tests.fuzz.running import Target

_TABLE = {"schema": "public", "name": "Area"}
_VALUES = ("schema", "names", "name", "oids", "tables", "table", "rows", "columns", "v", "n", "values")
_PIECES = (
    *("{{ v }}", "{{ v|ident }}", "{{ names|idents }}", "{{ names|literals }}", "{{ table|qualified }}", "'{{ v }}'"),
    *(
        "{% for t in tables %}",
        "{% endfor %}",
        "{% if n > 1 %}",
        "{% endif %}",
        "{% set x = v ~ 'a' %}",
        "{{ x }}",
        "{# ",
    ),
    *(
        "{{ v.__class__ }}",
        "{{ n * 9 }}",
        "{{ [1]|map('abs')|list }}",
        "{{ rows|batch(3)|list }}",
        "{{ v|replace('a','b') }}",
    ),
    *("select ", "do $$ ", " $$", " from ", ";", "-- ", "/* ", '"', "'", "E'\\", "$1", " as ", "language plpgsql"),
    *("{{ v[0:3] }}", "{{ tables|sort(attribute='name') }}", "{{ names|max }}", "{% include v %}", "{{ n|int }}"),
)


def _template(rng: Random) -> tuple[str, dict[str, Any], int]:
    if rng.random() < 0.6:
        text = mutating.tokens(rng, rng.choice(corpus.sql_templates()), corpus.sql_templates() + _PIECES)
    else:
        text = mutating.tokens(rng, "".join(rng.choice(_PIECES) for _ in range(rng.randrange(1, 8))), _PIECES)
    return text, {key: _value(rng) for key in _VALUES if rng.random() < 0.9}, rng.randrange(3)


def _value(rng: Random) -> Any:
    pool: tuple[Any, ...] = (1, "orders", ["a", "b"], [_TABLE, _TABLE], _TABLE, UNKNOWN, None, [], True)
    return rng.choice(pool) if rng.random() < 0.6 else mutating.anything(rng, 2)


def _render(case: tuple[str, dict[str, Any], int]) -> None:
    text, values, way = case
    templates = Templates((resources.SQL,))
    if way == 0:
        assert all(one.where.line >= 1 for one in templates.missing_names(Inline(text), values))
        templates.probe(Inline(text), values)
    elif way == 1:
        known = {key: value for key, value in values.items() if value is not UNKNOWN}
        assert str.__str__(templates.render(Inline(text), known)) == str.__str__(templates.render(Inline(text), known))
    else:
        templates.sql(text[:300], **values)


def _scalars(rng: Random) -> list[Any]:
    return [mutating.anything(rng, 2) if rng.random() < 0.4 else mutating.text(rng) for _ in range(3)]


def _write(given: list[Any]) -> None:
    """Check that the SQL of a value is one token, or one name, with this value."""
    for write in (literal, ident, literals, idents):
        for value in given:
            _scans(write, value)
    qualified(*given[:2])


def _scans(write: Any, value: Any) -> None:
    from runner.errors import PlanrunError

    try:
        text = str(write(value))
    except PlanrunError:
        return
    found = tokens(f"select {text} ;")
    assert found[-1].kind == "ASCII_59" and not any(token.kind in COMMENTS for token in found), text
    if write is ident:
        assert len(found) == 3 and found[1].kind == "IDENT" and text[1:-1].replace('""', '"') == value, text
    if write is literal and isinstance(value, str):
        assert len(found) == 3 and found[1].kind == "SCONST", text


def _names(rng: Random) -> tuple[list[TableName], str, str]:
    found = [TableName(mutating.name(rng), mutating.name(rng)) for _ in range(rng.randrange(1, 6))]
    found += [TableName(schema.upper()[:20] or "S", name.lower()[:20] or "n") for schema, name in found[:2]]
    return list(dict.fromkeys(found)), mutating.text(rng), mutating.tokens(rng, 'sales."a.b"', mutating.HOSTILE)


def _fit(case: tuple[list[TableName], str, str]) -> None:
    tables, glob, written = case
    files = names.file_names(tables, ".dump")
    assert len(set(files.values())) == len(tables) and all(
        len(f.encode()) < 250 and "/" not in f for f in files.values()
    )
    taken: set[str] = set()
    for schema, name in tables:
        for made in (naming.shadow_schema(schema), naming.undone_schema(name), naming.aside(name, taken)):
            assert 0 < len(made.encode()) <= 63 and tokens(ident(made))[0].kind == "IDENT"
        assert naming.aside(name, taken) not in taken
        taken.add(naming.aside(name, taken))
        assert TableName.parse(f"{names.literally(schema)}.{names.literally(name)}") == (schema, name)
        assert "\n" not in words.shown_name(schema, name) and "\x1b" not in words.shown_name(schema, name)
    names.glob_regex(glob)
    assert TableName.parse(written)[1]


_RENAMED: dict[TableName, TableName] = {
    TableName("public", "orders"): TableName("planrun_shadow_public", "orders"),
    TableName("public", "a"): TableName('x"y', "a'b\\"),
    TableName("s", "t"): TableName("漢", "T.t"),
}
_NEW = (
    *(
        "public.orders",
        '"public"."orders"',
        "public . a",
        "PUBLIC.A",
        "'public.a'::regclass",
        "'s.t'::pg_catalog.regclass",
    ),
    *(
        "E'public.a'::regclass",
        "$$public.a$$::regclass",
        "U&'public.a'::regclass",
        "'s.t'::text",
        "s.t(",
        "s.t.c",
        "on",
    ),
    *(
        "create index i on s.t (a)",
        "references public.a (id)",
        "-- public.a\n",
        "/* s.t */",
        "'s.t'",
        "insert into s.t (a)",
    ),
    *(
        "B'1'::regclass",
        "X'1f'::regtype",
        "N'public.a'::regclass",
        "'s.'\n't'::regclass",
        'U&"public".a',
        "collate s.t",
    ),
)


def _sql(rng: Random) -> str:
    text = rng.choice((rng.choice(corpus.sql()), " ".join(rng.choice(_NEW) for _ in range(rng.randrange(1, 5)))))
    return mutating.tokens(rng, text, corpus.sql() + _NEW) if rng.random() < 0.9 else text


def _rename(text: str) -> None:
    before = renaming.relations(text)
    made = renaming.rename(text, _RENAMED)
    assert renaming.relations(made) == [_RENAMED.get(name, name) for name in before], made
    assert renaming.rename(text, {}) == text
    assert len(renaming.statements(made)) == len(renaming.statements(text))


TEMPLATES = Target("templates", _template, _render, weight=8)
SQLTEXT = Target("sqltext", _scalars, _write, weight=8)
NAMES = Target("names", _names, _fit, weight=8)
RENAMED = Target("renamed", _sql, _rename, weight=10, allowed=(BadSql,))
