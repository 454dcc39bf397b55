"""Targets: rows as planrun's catalog queries return them: any names, references to missing objects and in circles."""

from __future__ import annotations

from random import Random
from typing import Any

from runner.refresh.catalog import dependents, relations
from runner.safesql.syntax import BadSql, tokens
from tests.fuzz import mutating
from tests.fuzz.running import Target

_COLUMN = {"name": "id", "type": "integer", "collation": "", "default": ""}
_INDEX = {
    "name": "i",
    "definition": "CREATE INDEX i ON public.v USING btree (id)",
    "tablespace": "",
    "clustered": False,
}
_ABOUT: dict[str, tuple[str, dict[str, Any]]] = {
    "replaced": ("table", {}),
    "derived": ("materialized view", {
        "definition": " SELECT id FROM public.orders;", "options": ["a=b"], "columns": [_COLUMN], "populated": True,
        "owner": "app",
        "method": "", "tablespace": "", "indexes": [_INDEX], "statistics": [], "functions": ["pg_proc/5"],
        "runs_text": ["ts_stat"],
        "filtered": ["pg_class/1"],
    }),
    "function": ("function", {
        "definition": "CREATE FUNCTION public.f(a public.orders)", "arguments": "a public.orders", "owner": "o",
        "comment": "c", "taken": ["backup_f"], "signature": "a public.orders returns integer",
    }),
    "routine": ("function", {"definition": "CREATE FUNCTION public.g()"}),
    "default": ("default value", {"column": "c", "default": "nextval('public.s'::regclass)"}),
    "policy": ("policy", {"name": "p", "using": "true", "check": ""}),
    "rule": ("rule", {"definition": "CREATE RULE r AS ON INSERT TO public.x DO NOTHING;"}),
    "foreign key": ("table constraint", {"name": "fk"}),
    "carried": ("trigger", {}),
    "parent": ("partition", {"parent": "public.whole"}),
    "subscription": ("table", {"subscription": "s"}),
    "late": ("function", {}),
    "opaque": ("function", {}),
    "disabled": ("foreign key", {}),
    "outside": ("materialized view", {
        "calls": ["public.f()"], "named": True, "depth": 1, "mine": True, "concurrently": False,
    }),
    "other": ("view", {"part": False, "generated": False}),
}  # fmt: skip
_CATALOGS = ("pg_class", "pg_proc", "pg_attrdef", "pg_trigger", "pg_policy", "pg_rewrite", "pg_constraint")


def _row(rng: Random) -> dict[str, Any]:
    kind = rng.choice(sorted(_ABOUT))
    word, about = _ABOUT[kind]
    schema, name = mutating.name(rng), mutating.name(rng)
    needs = [f"{rng.choice(_CATALOGS[:2])}/{rng.randrange(9)}" for _ in range(rng.randrange(4))]
    theirs = {"theirs": mutating.name(rng)} if rng.random() < 0.05 else {}
    catalog = rng.choice(_CATALOGS[:2] if rng.random() < 0.8 else _CATALOGS)
    word = word if rng.random() < 0.9 else rng.choice(("table", "view", "procedure"))
    return {
        "kind": kind, "catalog": catalog, "oid": rng.randrange(9), "type": word, "identity": f"{schema}.{name}",
        "schema": schema, "name": name, "temporary": rng.random() < 0.1, "needs": needs,
        "extension": mutating.name(rng) if rng.random() < 0.1 else "",
        "about": {**mutating.change_values(rng, about), **theirs},
        "columns": [[schema, name, mutating.name(rng), "int"] for _ in range(rng.randrange(3))],
    }  # fmt: skip


def _dependents(rng: Random) -> tuple[list[dict[str, Any]], list[str]]:
    rows = [_row(rng) for _ in range(rng.choice((0, 1, 3, 10, 30)))]
    lose = [f"{row['type']} {row['identity']}" for row in rows if rng.random() < 0.2]
    return rows, [*lose, *([mutating.text(rng)] if rng.random() < 0.3 else [])]


def _sort(case: tuple[list[dict[str, Any]], list[str]]) -> None:
    rows, lose = case
    found = dependents.from_rows(rows, lose=lose)
    again = dependents.from_rows(list(reversed(rows)), lose=lose)
    assert set(found.replaced) == set(again.replaced) and len(found.lost) == len(again.lost)
    assert all("\n" not in line and "\x1b" not in line for line in found.lines())
    assert all(name in lose for name in found.unknown)
    assert len(found.losses_to_refuse) <= len(found.lost) and list(found.locks) == sorted(set(found.locks))


_RELATION: dict[str, Any] = {
    "oid": 16400, "schema": "public", "name": "orders", "kind": "r", "owner": "o", "persistence": "p",
    "partition": False, "row_security": False, "force_row_security": False, "replica_identity": "d",
    "options": ["fillfactor=70"], "toast_options": [], "tablespace": None, "comment": "c", "has_acl": True,
    "acl": [{"grantor": "o", "grantee": "", "privilege": "SELECT", "grantable": False}], "columns": [_COLUMN],
}  # fmt: skip
_KEY: dict[str, Any] = {
    "name": "fk", "schema": "public", "table": "orders", "columns": ["a", "b"], "ref_schema": "public",
    "ref_table": "x", "ref_columns": ["a", "b"], "validated": True, "partitioned": False, "comment": None,
    "plain": True, "oid": 1, "ref_oid": 2,
}  # fmt: skip


def _relation(rng: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    made = {**mutating.change_values(rng, _RELATION), "kind": rng.choice("rpvmSf")}
    made["acl"] = None if rng.random() < 0.3 else made["acl"]
    return made, {**mutating.change_values(rng, _KEY), "tail": rng.choice(("", " on delete cascade", " match full"))}


def _make(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    row, key = case
    found = relations.relation(row)
    assert (found.acl is None) == (not row["has_acl"]) and "\n" not in str(found) and found.word
    assert len(tokens(f"{found.sql}")) == 3 and tokens(relations.as_text(found.comment))
    made = relations.foreign_key(key)
    assert tokens(made.definition())[0].kind == "FOREIGN" and str(made)


DEPENDENTS = Target("dependents", _dependents, _sort, weight=8)
RELATIONS = Target("relations", _relation, _make, weight=6, allowed=(BadSql,))
