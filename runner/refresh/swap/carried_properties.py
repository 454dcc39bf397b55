"""The properties that stay as they are in the target when a relation is replaced: owner, grants, triggers and so on.

The SQL has two parts. `before` yields what can be done to the entering relation while no application sees it. `after`
yields what names other relations and must wait until those have their names, such as policies of row security.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.refresh.catalog.relations import Relation, Row, as_text
from runner.sqltext import SqlText, ident, idents, literal, qualified
from runner.table_name import TableName

_STORAGE = {"p": "plain", "e": "external", "x": "extended", "m": "main"}
_ENABLED = {"O": "enable", "D": "disable", "R": "enable replica", "A": "enable always"}
_REPLICA = {"d": "default", "n": "nothing", "f": "full"}


def before(leaving: Relation, entering: Relation, names: Mapping[int, str]) -> Iterator[str]:
    """Yield the statements on the entering relation, under its current name.

    names: the future names of its indexes and statistics objects, by OID; those of the leaving one have these names.
    """
    indexes, statistics = (_by_live_name(rows, names) for rows in (entering.indexes, entering.statistics))
    it = SqlText(f"{entering.word} {entering.sql}")
    if leaving.owner != entering.owner:
        yield f"alter {it} owner to {ident(leaving.owner)}"
    yield from _table_grants(leaving, entering)
    yield from _options(leaving, entering, it)
    yield from _columns(leaving, entering, it)
    yield from _sequences(leaving, entering)
    if entering.is_table:
        yield from _disable_row_security(entering)
        yield from _replica_identity(leaving, entering, indexes)
        yield from _cluster(leaving, entering, indexes)
    yield from _of_indexes(leaving, entering, indexes)
    yield from _of_statistics(leaving, statistics)
    yield from _comments(leaving, entering)
    yield from _labels(leaving, entering)


def after(
    leaving: Relation, entering: Relation, states: Mapping[str, str], rule_states: Mapping[str, str]
) -> Iterator[str]:
    """Yield the statements that follow the renames, when every relation has its live name.

    states, rule_states: how triggers and rules that only the entering relation has are enabled ("O", "D", "R", "A").
    """
    live = leaving.full_name.sql
    it = SqlText(f"{entering.word} {live}")
    yield from _triggers(leaving, entering, live, states)
    yield from _rules(leaving, entering, it, rule_states)
    yield from (f"drop policy {ident(one['name'])} on {live}" for one in entering.policies)
    yield from policies(leaving.policies, live)
    yield from _enable_row_security(leaving, it)


def enable_new(
    entering: Relation, live: SqlText, states: Mapping[str, str], rule_states: Mapping[str, str]
) -> Iterator[str]:
    """Yield the statements that enable triggers and rules of a new table, which were disabled while it was filled."""
    for what, have, wanted in (("trigger", entering.triggers, states), ("rule", entering.rules, rule_states)):
        for one in have:
            if (state := wanted.get(one["name"], one["enabled"])) != one["enabled"]:
                yield f"alter {entering.word} {live} {_ENABLED[state]} {what} {ident(one['name'])}"


# ------------------------------------------------------------------ owner and grants


def _grants(
    wanted: Sequence[Row] | None, have: Sequence[Row] | None, what: str, owner: str, owners: Mapping[str, str]
) -> Iterator[str]:
    """Change the grants on `what` to those wanted; None stands for the default rights of the owner.

    owners: old owner -> new owner. No application uses `what` yet, so a REVOKE may CASCADE to dependent grants.
    """
    if _set(wanted, {}) != _set(have, owners):
        yield from _grant_anew(wanted, _rename_roles(have, owners), what, owner)


def _table_grants(leaving: Relation, entering: Relation) -> Iterator[str]:
    """Make the grants on a table and its columns the same; a column that only the entering table has keeps its own.

    All are granted again, because revoking a privilege on a table revokes it on the columns as well.
    """
    owner, owners, what = leaving.owner, {entering.owner: leaving.owner}, f"table {entering.sql}"
    old = {one["name"]: one["acl"] or () for one in leaving.columns}
    have = {one["name"]: _rename_roles(one["acl"], owners) for one in entering.columns}
    wanted = {name: old.get(name, acl) for name, acl in have.items()}
    if _set(leaving.acl, {}) == _set(entering.acl, owners) and all(
        _set(wanted[name], {}) == _set(have[name], {}) for name in have
    ):
        return
    there = [*_rename_roles(entering.acl, owners), *(one for acl in have.values() for one in acl)]
    yield from _grant_anew(leaving.acl, there, what, owner)
    for name, acl in wanted.items():
        yield from _grant(acl, what, owner, f" ({ident(name)})")


def _rename_roles(acl: Sequence[Row] | None, owners: Mapping[str, str]) -> list[Row]:
    words = ("grantor", "grantee")
    return [{**one, **{word: owners.get(one[word], one[word]) for word in words}} for one in acl or ()]


def _grant_anew(wanted: Sequence[Row] | None, have: Sequence[Row], what: str, owner: str) -> Iterator[str]:
    for grantee in sorted({one["grantee"] for one in have} | {owner}):
        yield f"revoke all on {what} from {_role(grantee)} cascade"
    if wanted is None:
        yield f"grant all on {what} to {ident(owner)}"
        return
    yield from _grant(wanted, what, owner)


def _set(acl: Sequence[Row] | None, owners: Mapping[str, str]) -> frozenset[tuple[str, str, str, bool]] | None:
    if acl is None:
        return None
    return frozenset((a["grantor"], a["grantee"], a["privilege"], a["grantable"]) for a in _rename_roles(acl, owners))


def _grant(wanted: Sequence[Row], what: str, owner: str, columns: str = "") -> Iterator[str]:
    """Grant with the same grantors: first the owner's grants, then those of roles with the grant option."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for one in sorted(wanted, key=lambda a: (a["grantor"] != owner, a["grantor"], a["grantee"], a["grantable"])):
        groups.setdefault((one["grantor"], one["grantee"], one["grantable"]), []).append(one["privilege"])
    for (grantor, grantee, grantable), privileges in groups.items():
        words = ", ".join(f"{privilege.lower()}{columns}" for privilege in sorted(privileges))
        text = f"grant {words} on {what} to {_role(grantee)}{' with grant option' if grantable else ''}"
        if grantor == owner:
            yield text
        else:
            yield f"set local role {ident(grantor)}"
            yield text
            yield "reset role"


def executable(function: str, acl: Sequence[Row], owner: str) -> Iterator[str]:
    """Yield the grants of the old function for the new one; PUBLIC may execute a new function by default."""
    yield f"revoke all on {function} from public"
    yield f"revoke all on {function} from {ident(owner)}"
    yield from _grant(acl, function, owner)


def _role(name: str) -> str:
    return ident(name) if name else "public"


def roles(leaving: Iterable[Relation]) -> set[str]:
    """Return the roles that will own the entering relation or grant rights on it; they need USAGE on its schema."""
    found = set()
    for one in leaving:
        found.add(one.owner)
        for acl in (one.acl, *(c["acl"] for c in one.columns), *(s["acl"] for s in one.sequences)):
            found |= {a["grantor"] for a in acl or ()}
    return found


def _sequences(leaving: Relation, entering: Relation) -> Iterator[str]:
    for old, new in sequence_pairs(leaving, entering):
        it = TableName.of(new).sql
        if old["has_acl"] or new["has_acl"]:
            wanted, have = (one["acl"] or [] if one["has_acl"] else None for one in (old, new))
            owners = {entering.owner: leaving.owner}
            yield from _grants(wanted, have, f"sequence {it}", leaving.owner, owners)
        if old["comment"] and not new["comment"]:
            yield f"comment on sequence {it} is {literal(old['comment'])}"


def sequence_pairs(leaving: Relation, entering: Relation) -> list[tuple[Row, Row]]:
    """Return the owned sequences of the same column on both sides."""
    by_column = {one["column"]: one for one in entering.sequences}
    return [(one, by_column[one["column"]]) for one in leaving.sequences if one["column"] in by_column]


# ------------------------------------------------------------------ options and columns


def _options(leaving: Relation, entering: Relation, it: str) -> Iterator[str]:
    if entering.kind in "vp":  # a view got its options when it was created, and a partitioned table has none
        return
    for prefix, wanted, have in (
        ("", leaving.options, entering.options),
        ("toast.", leaving.toast_options, entering.toast_options),
    ):
        yield from _option_list(f"alter {it}", prefix, _pairs(wanted), _pairs(have))
    if leaving.tablespace != entering.tablespace:
        yield f"alter {it} set tablespace {ident(leaving.tablespace or 'pg_default')}"


def _pairs(options: Sequence[str]) -> dict[str, str]:
    return dict(option.split("=", 1) for option in options)


def _option_list(alter: str, prefix: str, wanted: dict[str, str], have: dict[str, str]) -> Iterator[str]:
    if changed := {name: value for name, value in wanted.items() if have.get(name) != value}:
        yield f"{alter} set ({', '.join(f'{prefix}{ident(n)} = {literal(v)}' for n, v in changed.items())})"
    if gone := sorted(have.keys() - wanted.keys()):
        yield f"{alter} reset ({', '.join(f'{prefix}{ident(name)}' for name in gone)})"


def _columns(leaving: Relation, entering: Relation, it: str) -> Iterator[str]:
    old = {one["name"]: one for one in leaving.columns}
    for new in entering.columns:
        if one := old.get(new["name"]):
            yield from _column(one, new, entering, it)


def _column(old: Row, new: Row, entering: Relation, it: str) -> Iterator[str]:
    alter = f"alter {it} alter column {ident(old['name'])}"
    if entering.kind == "v":
        return
    if old["statistics"] != new["statistics"]:
        yield f"{alter} set statistics {old['statistics']}"
    yield from _option_list(alter, "", _pairs(old["options"]), _pairs(new["options"]))
    if old["type"] == new["type"]:
        if old["storage"] != new["storage"]:
            yield f"{alter} set storage {_STORAGE[old['storage']]}"
        if old["compression"] != new["compression"]:
            how = {"p": "pglz", "l": "lz4"}.get(old["compression"], "default")
            yield f"{alter} set compression {how}"


def _disable_row_security(entering: Relation) -> Iterator[str]:
    """Rows are still written to it before the swap, and FORCE would hide them from planrun as well."""
    if entering.row_security:
        yield f"alter table {entering.sql} disable row level security"
    if entering.force_row_security:
        yield f"alter table {entering.sql} no force row level security"


def _by_live_name(rows: Sequence[Row], names: Mapping[int, str]) -> dict[str, Row]:
    return {names.get(row["oid"], row["name"]): row for row in rows}


def _replica_identity(leaving: Relation, entering: Relation, indexes: Mapping[str, Row]) -> Iterator[str]:
    alter = f"alter table {entering.sql} replica identity"
    if leaving.replica_identity == "i":
        wanted = next((i["name"] for i in leaving.indexes if i["replica_identity"]), "")
        if wanted in indexes and not indexes[wanted]["replica_identity"]:
            yield f"{alter} using index {ident(indexes[wanted]['name'])}"
    elif leaving.replica_identity != entering.replica_identity:
        yield f"{alter} {_REPLICA[leaving.replica_identity]}"


def _cluster(leaving: Relation, entering: Relation, indexes: Mapping[str, Row]) -> Iterator[str]:
    for one in leaving.indexes:
        if one["clustered"] and one["name"] in indexes and not indexes[one["name"]]["clustered"]:
            yield f"alter table {entering.sql} cluster on {ident(indexes[one['name']]['name'])}"


def _of_indexes(leaving: Relation, entering: Relation, indexes: Mapping[str, Row]) -> Iterator[str]:
    """Yield comments, statistics targets of expressions, and options that the new index lacks, such as fillfactor."""
    for one in leaving.indexes:
        if new := indexes.get(one["name"]):
            name = qualified(entering.schema, new["name"])
            if one["comment"] and not new["comment"]:
                yield f"comment on index {name} is {literal(one['comment'])}"
            if one["method"] == new["method"]:
                have = _pairs(new["options"])
                yield from _option_list(f"alter index {name}", "", _pairs(one["options"]) | have, have)
            for number, target in one["targets"].items():
                if new["targets"].get(number) != target:
                    yield f"alter index {name} alter column {number} set statistics {target}"


def _of_statistics(leaving: Relation, statistics: Mapping[str, Row]) -> Iterator[str]:
    old = {one["name"]: one for one in leaving.statistics}
    for live, new in statistics.items():
        name, one = TableName.of(new).sql, old.get(live)
        if one and one["comment"] and not new["comment"]:
            yield f"comment on statistics {name} is {literal(one['comment'])}"
        if one and one["target"] != new["target"]:
            yield f"alter statistics {name} set statistics {one['target']}"
        if new["owner"] != (owner := one["owner"] if one else leaving.owner):
            yield f"alter statistics {name} owner to {ident(owner)}"


# ------------------------------------------------------------------ comments and labels


def _comments(leaving: Relation, entering: Relation) -> Iterator[str]:
    """Yield comments that only the leaving relation has; where both have one, the new one is more recent."""
    if leaving.comment and not entering.comment:
        yield f"comment on {entering.word} {entering.sql} is {literal(leaving.comment)}"
    for old, new in _same(leaving.columns, entering.columns):
        yield f"comment on column {entering.sql}.{ident(new['name'])} is {literal(old['comment'])}"
    for old, new in _same(leaving.constraints, entering.constraints):
        yield f"comment on constraint {ident(new['name'])} on {entering.sql} is {literal(old['comment'])}"


def _same(leaving: Sequence[Row], entering: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of the same name of which only the leaving one has a comment."""
    new = {one["name"]: one for one in entering}
    for one in leaving:
        if one["comment"] and one["name"] in new and not new[one["name"]]["comment"]:
            yield one, new[one["name"]]


def _labels(leaving: Relation, entering: Relation) -> Iterator[str]:
    columns = {one["name"] for one in entering.columns}
    for one in leaving.labels:
        of = f"column {entering.sql}.{ident(one['column'])}" if one["column"] else f"{entering.word} {entering.sql}"
        if one["column"] is None or one["column"] in columns:
            yield f"security label for {ident(one['provider'])} on {of} is {literal(one['label'])}"


# ------------------------------------------------------------------ triggers, rules, policies


def _triggers(leaving: Relation, entering: Relation, live: SqlText, states: Mapping[str, str]) -> Iterator[str]:
    old, new = ({one["name"]: one for one in side.triggers} for side in (leaving, entering))
    for name, one in old.items():
        if name not in new and not one["cloned"]:  # a trigger of a partition follows that of its root
            yield one["definition"]
            if one["comment"]:
                yield f"comment on trigger {ident(name)} on {live} is {literal(one['comment'])}"
    if entering.kind == "v":
        return  # triggers of views cannot be disabled
    for name in old.keys() | new.keys():
        now = new[name]["enabled"] if name in new else "O"
        wanted = old[name]["enabled"] if name in old else states.get(name, now)
        if wanted != now or (name in old and old[name]["cloned"]):  # by an ALTER of the root's
            only = "only " if name in old and entering.is_table else ""
            yield f"alter {entering.word} {only}{live} {_ENABLED[wanted]} trigger {ident(name)}"


def _rules(leaving: Relation, entering: Relation, it: SqlText, states: Mapping[str, str]) -> Iterator[str]:
    old, new = ({one["name"]: one for one in side.rules} for side in (leaving, entering))
    live = leaving.full_name.sql
    for name, one in old.items():
        if name not in new:
            yield one["definition"].rstrip(";")
            if one["comment"]:
                yield f"comment on rule {ident(name)} on {live} is {literal(one['comment'])}"
    if entering.kind == "v":
        return
    for name in old.keys() | new.keys():
        now = new[name]["enabled"] if name in new else "O"
        wanted = old[name]["enabled"] if name in old else states.get(name, now)
        if wanted != now:
            yield f"alter {it} {_ENABLED[wanted]} rule {ident(name)}"


def policies(rows: Sequence[Row], live: SqlText) -> Iterator[str]:
    for one in rows:
        kind = "permissive" if one["permissive"] else "restrictive"
        to = ", ".join(_role(role) for role in one["roles"])
        using = f" using ({one['using']})" if one["using"] is not None else ""
        check = f" with check ({one['check']})" if one["check"] is not None else ""
        yield f"create policy {ident(one['name'])} on {live} as {kind} for {one['command']} to {to}{using}{check}"
        if one["comment"]:
            yield f"comment on policy {ident(one['name'])} on {live} is {literal(one['comment'])}"


def _enable_row_security(leaving: Relation, it: str) -> Iterator[str]:
    if leaving.row_security:
        yield f"alter {it} enable row level security"
    if leaving.force_row_security:
        yield f"alter {it} force row level security"


def publish(leaving: Relation, aside: SqlText) -> Iterator[str]:
    """Replace the leaving relation in its publications by the entering one, with its columns and row filter."""
    live = leaving.sql
    for one in leaving.publications:
        columns = f" ({idents(one['columns'])})" if one["columns"] else ""
        where = f" where ({one['where']})" if one["where"] is not None else ""
        yield f"alter publication {ident(one['name'])} drop table only {aside}"
        yield f"alter publication {ident(one['name'])} add table only {live}{columns}{where}"


def remove_comment(relation: Relation, comment: str | None) -> str:
    return f"comment on {relation.word} {relation.sql} is {as_text(comment)}"
