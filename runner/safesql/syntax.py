"""Parse SQL with PostgreSQL's own parser: whether a text is valid, and which kinds of statements it contains.

pg_query calls the parser (libpg_query) and is imported inside functions: not every command needs it.
All offsets here count characters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from runner.errors import Mark, PlanError, Problem
from runner.record import dataclass
from runner.safesql import acting

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node, ParserError

Place = Callable[[int], Mark]
"""Given an offset in the SQL text, return the place of the character in the user's file."""

MAX_CHAIN = 5000
"""Operators in a row. libpg_query's tree is as deep as the chain is long: 20,000 took 0.6 s, 200,000 crashed."""


class BadSql(ValueError):
    """A text that PostgreSQL's parser refuses, at `offset`."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.offset, self.hint = message, offset, hint


class Token(NamedTuple):
    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Statement:
    """One statement. `kind` is libpg_query's name of its node, such as select_stmt; `node` is None when the
    statement is nested too deeply to be read (about 45 operators in a row): then only its first word is known.
    """

    kind: str
    offset: int
    node: Node | None = None


# ------------------------------------------------------------------ tokens


def tokens(text: str) -> list[Token]:
    """Return all tokens, comments too. Raises BadSql for NUL, half surrogate pairs and open quotes."""
    raw = _encode(text)
    from runner.safesql import pg_query

    try:
        found = pg_query.scan(raw)
    except pg_query.ParserError as exc:
        raise _bad(exc, text) from None
    if len(raw) == len(text):
        return list(map(Token._make, found))
    at = _characters(raw)
    return [Token(at(start), at(end), kind) for start, end, kind in found]


def _encode(text: str) -> bytes:
    # libpg_query ends the text at a NUL: `select 1\0; drop table x` would pass for `select 1`
    if (nul := text.find("\0")) >= 0:
        raise BadSql("a NUL character is not allowed in SQL", nul)
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise BadSql("half of a surrogate pair is not text", exc.start) from None


def _characters(raw: bytes) -> Callable[[int], int]:
    """Return a function from byte offsets to character offsets; call it with rising offsets."""
    done = [0, 0]

    def at(offset: int) -> int:
        if offset < done[0]:
            done[:] = [0, 0]
        done[1] += len(raw[done[0] : offset].decode(errors="replace"))
        done[0] = offset
        return done[1]

    return at


def _bad(exc: ParserError, text: str) -> BadSql:
    offset = max(exc.position - 1, 0)
    return BadSql(exc.message, min(offset, len(text)), _hint(text[offset : offset + 2]))


def _hint(found: str) -> str:
    if found.startswith("\\"):
        return "psql's \\commands are not SQL: run psql in a `command` step"
    if found in ("{{", "{%", "{#"):
        return "a text is a template only when the step has `values:`"
    if found == "${" or found.startswith("%"):
        return "give the value under `values:` and write {{ name }}"
    if found.startswith(":"):
        return "psql's :variables are not SQL: give the value under `values:` and write {{ name }}"
    return ""


# ------------------------------------------------------------------ statements


def statements(text: str) -> tuple[Statement, ...]:
    """Parse a text. Raises BadSql with the place of the first error."""
    from runner.safesql import pg_query

    found, raw = tokens(text), text.encode()
    _refuse_chains(found, text)
    try:
        tree = pg_query.parse(raw)
        if tree is None:
            return tuple(_deep(text, raw, found))
    except pg_query.ParserError as exc:
        raise _bad(exc, text) from None
    at, starts = _characters(raw), _starts(found)
    return tuple(_statement(one, _next(starts, at(one.get("stmt_location", 0)))) for one in tree)


def _statement(one: Node, offset: int) -> Statement:
    kind, node = kind_and_node(one["stmt"])
    return Statement(kind, offset, node)


def kind_and_node(wrapped: Node) -> tuple[str, Node]:
    """Return what a node is and its fields: {"SelectStmt": {...}} is a select_stmt."""
    [(name, node)] = wrapped.items()
    return _snake_case(name), node


@cache
def _snake_case(name: str) -> str:
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _deep(text: str, raw: bytes, found: list[Token]) -> Iterator[Statement]:
    """Parse statement by statement, so that a deeply nested one does not hide the others."""
    from runner.safesql import pg_query

    at, starts = _characters(raw), _starts(found)
    for begin, end in pg_query.split(raw):
        start = _next(starts, at(begin))
        tree = pg_query.parse(raw[begin:end])
        if tree is None:
            yield Statement(_WORD.findall(text, start)[0].lower(), start)
        else:
            yield from (_statement(one, start) for one in tree)


def _starts(found: list[Token]) -> list[int]:
    return [token.start for token in found if token.kind not in COMMENTS]


def _next(starts: list[int], offset: int) -> int:
    return starts[bisect_left(starts, offset)]


COMMENTS = ("SQL_COMMENT", "C_COMMENT")
_WORD = re.compile(r"\w+|\W")
_OPEN, _CLOSE = ("ASCII_40", "ASCII_91"), ("ASCII_41", "ASCII_93")
# The text between these is a tree of its own.
_SEPARATE = ("ASCII_44", "AND", "OR", "WHEN", "THEN", "ELSE", "ON", "WHERE")
_LINKS = ("JOIN", "UNION", "INTERSECT", "EXCEPT")
_SIGNS = tuple(f"ASCII_{ord(sign)}" for sign in "+-*/%^<>=")
_OPERATORS = (
    *("Op", "OPERATOR", "TYPECAST", "LESS_EQUALS", "GREATER_EQUALS", "NOT_EQUALS", "COLLATE", "AT"),
    *("IS", "ISNULL", "NOTNULL", "IN_P", "LIKE", "ILIKE", "SIMILAR", "BETWEEN"),
)


def _refuse_chains(found: list[Token], text: str) -> None:
    """Raise BadSql for a chain of operators or joins on which libpg_query would spend minutes, or crash."""
    if len(found) <= MAX_CHAIN:
        return
    levels = [[0, 0]]
    depth = 0
    for token in found:
        level = levels[-1]
        if token.kind in _OPEN:
            levels.append([0, 0])
        elif token.kind in _CLOSE and len(levels) > 1:
            depth -= sum(levels.pop())
        elif token.kind == "ASCII_59":
            levels, depth = [[0, 0]], 0
        elif token.kind in _SEPARATE:
            depth, level[0] = depth - level[0], 0
        elif token.kind in _LINKS or token.kind in _OPERATORS or token.kind in _SIGNS:
            level[token.kind in _LINKS] += 1
            depth += 1
            if depth > MAX_CHAIN:
                hint = "SAME"
                raise BadSql(f"more than {MAX_CHAIN:,} operators in a row", token.start, hint)


# ------------------------------------------------------------------ facts


def own_transaction(one: Statement) -> str:
    """Return the words of a statement that PostgreSQL refuses inside a transaction block, or ""."""
    node = one.node
    if node is None:
        return ""
    if one.kind in _NEVER_INSIDE:
        return _NEVER_INSIDE[one.kind]
    test = _SOMETIMES_INSIDE.get(one.kind)
    return test(node) if test else ""


_NEVER_INSIDE = {
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
}


def _has_option(node: Node, *names: str) -> bool:
    return any(option["DefElem"].get("defname") in names for option in node.get("options", node.get("params", ())))


def _is_off(node: Node, name: str) -> bool:
    options = [option["DefElem"] for option in node.get("options", ())]
    values = [option.get("arg", {}) for option in options if option.get("defname") == name]
    return any(not _boolean(value) and _string(value).lower() in ("", "false", "off") for value in values)


def _boolean(value: Node) -> bool:
    return bool(value.get("Boolean", {}).get("boolval"))


def _string(value: Node) -> str:
    return str(value.get("String", {}).get("sval", ""))


def _detach(node: Node) -> str:
    commands = (command["AlterTableCmd"].get("def", {}) for command in node["cmds"])
    if any(command.get("PartitionCmd", {}).get("concurrent") for command in commands):
        return "DETACH PARTITION ... CONCURRENTLY"
    return ""


def _reindex(node: Node) -> str:
    if _has_option(node, "concurrently"):
        return "REINDEX CONCURRENTLY"
    one = node["kind"] in ("REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE")
    return "" if one else "REINDEX of a schema or database"


def _subscription(node: Node) -> str:
    off = _is_off(node, "create_slot") or _is_off(node, "connect")
    return "" if off else "CREATE SUBSCRIPTION with a slot"


_SOMETIMES_INSIDE: dict[str, Callable[[Node], str]] = {
    "vacuum_stmt": lambda n: "VACUUM" if n.get("is_vacuumcmd") else "",
    "index_stmt": lambda n: "CREATE INDEX CONCURRENTLY" if n.get("concurrent") else "",
    "drop_stmt": lambda n: "DROP INDEX CONCURRENTLY" if n.get("concurrent") else "",
    "cluster_stmt": lambda n: "" if "relation" in n else "CLUSTER of all tables",
    "discard_stmt": lambda n: "DISCARD ALL" if n["target"] == "DISCARD_ALL" else "",
    "alter_database_stmt": lambda n: "ALTER DATABASE SET TABLESPACE" if _has_option(n, "tablespace") else "",
    "alter_table_stmt": _detach,
    "reindex_stmt": _reindex,
    "create_subscription_stmt": _subscription,
    "transaction_stmt": lambda n: _transaction_words(n) if _two_phase(n) else "",
}

_SAVEPOINTS = ("TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO")


def _transaction_words(node: Node) -> str:
    return str(node["kind"]).removeprefix("TRANS_STMT_").replace("_", " ")


def _two_phase(node: Node) -> bool:
    return str(node["kind"]).endswith("_PREPARED")


def controls_transaction(one: Statement) -> str:
    """Return the words of a statement that would begin or end the step's own transaction (BEGIN, COMMIT ...), or ""."""
    if one.node is None or one.kind != "transaction_stmt" or _two_phase(one.node):
        return ""
    return "" if one.node["kind"] in _SAVEPOINTS else _transaction_words(one.node)


def copies_outside(one: Statement) -> str:
    """Return the words of a COPY that talks to the client or runs a program, or ""."""
    if one.node is None:
        return "COPY of a deeply nested query" if one.kind == "copy" else ""
    if one.kind != "copy_stmt":
        return ""
    way, client = ("FROM", "STDIN") if one.node.get("is_from") else ("TO", "STDOUT")
    if one.node.get("is_program"):
        return f"COPY {way} PROGRAM"
    return "" if one.node.get("filename") else f"COPY {way} {client}"


def writes(one: Statement) -> str:
    """Return why this is not a plain query, or "" for a SELECT, VALUES or TABLE that changes nothing.

    A function that it calls may still write; its READ ONLY transaction refuses that.
    """
    if one.node is None:
        return "" if one.kind in ("select", "with", "values", "(") else f"{one.kind.upper()} is not a query"
    if one.kind != "select_stmt":
        return f"{one.kind.removesuffix('_stmt').replace('_', ' ').upper()} is not a query"
    return _select_writes(one.node)


def _select_writes(node: Node) -> str:
    if "intoClause" in node:
        return "SELECT INTO makes a table"
    if "lockingClause" in node:
        return "SELECT FOR UPDATE or SHARE locks rows"
    for cte in node.get("withClause", {}).get("ctes", ()):
        inner, _ = kind_and_node(cte["CommonTableExpr"]["ctequery"])
        if inner != "select_stmt":
            return f"the WITH query {cte['CommonTableExpr']['ctename']!r} changes rows"
    return _select_writes(node["larg"]) if "larg" in node else ""


# ------------------------------------------------------------------ problems


def problems(text: str, place: Place, *, use: str = "", transaction: bool = True) -> list[Problem]:
    """Return what is wrong with a text. `use` is the kind it is for (sql, query, check), or "" for syntax only.

    transaction: whether a `sql` step runs in one transaction.
    """
    try:
        found = statements(text)
    except BadSql as exc:
        return [Problem(place(exc.offset), exc.message, exc.hint, code="PR0301")]
    if not use:
        return []
    if not found:
        return [Problem(place(0), "there is no SQL statement here", code="PR0302")]
    if use == "sql":
        return [p for one in found for p in _step_problems(one, place, len(found), transaction)]
    return _query_problems(text, found, place, use)


def refuse(text: str, *, use: str, transaction: bool = True) -> None:
    """Raise PlanError for a text that is about to run and that `use` does not accept.

    When planrun read the plan, it could not try every branch of a template: an `{% if %}` may add a COMMIT, which
    would end the READ ONLY transaction of the query, or the transaction with the journal row.
    """
    where = getattr(text, "place", None) or (lambda offset: Mark("the SQL of this step", 1, offset + 1))
    if found := problems(text, where, use=use, transaction=transaction):
        raise PlanError(*found)


def _step_problems(one: Statement, place: Place, count: int, transaction: bool) -> Iterator[Problem]:
    where = place(one.offset)
    if words := controls_transaction(one):
        yield Problem(
            where, f"{words} has no place in a step", "a step is one transaction; use several steps", code="PR0303"
        )
    if words := copies_outside(one):
        yield Problem(
            where, f"{words} cannot be used in a step", "run psql or a program in a `command` step", code="PR0303"
        )
    if not (words := own_transaction(one)):
        return
    if transaction:
        yield Problem(
            where, f"{words} cannot run inside a transaction", "give the step `transaction: false`", code="PR0303"
        )
    elif count > 1:
        # for the server, several statements in one message are one transaction, even without BEGIN
        yield Problem(
            where, f"{words} cannot run together with other statements", "give it a step of its own", code="PR0303"
        )


def _query_problems(text: str, found: tuple[Statement, ...], place: Place, use: str) -> list[Problem]:
    if len(found) > 1:
        return [Problem(place(found[1].offset), f"`{use}` takes one statement, this is the second", code="PR0302")]
    shows = use == "query" and found[0].kind in ("explain_stmt", "variable_show_stmt")
    if reason := "" if shows else writes(found[0]):
        return [Problem(place(found[0].offset), reason, "use a `sql` step for what changes something", code="PR0304")]
    plain = [token for token in tokens(text) if token.kind not in COMMENTS]
    hint = "use a `sql` step, which no diff runs"
    return [
        Problem(place(at), f"{name}() has effects even in a READ ONLY transaction", hint, code="PR0304")
        for at, name in acting.calls(text, plain)
    ]
