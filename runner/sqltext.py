"""Turn values into SQL: whole identifiers and whole literals, the same text on every connection.

psycopg's `sql.Literal` is not used for this: without a connection it quotes by the encoding and by the
standard_conforming_strings of whatever connection was opened last. After one in GBK, `漢'` came out as the
unclosed literal `'漢''`. What is written here depends on the value alone, so a diff shows what apply runs, and
is read alike by every server whatever its standard_conforming_strings and backslash_quote say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from runner.errors import PlanrunError

MAX_NAME_BYTES = 63


class SqlText(str):
    """Finished SQL. Every string operation on it returns plain text, which is then quoted."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Inline(str):
    """A SQL template written in the plan itself, where a template's file name is expected."""

    __slots__ = ()


class UnsafeValue(PlanrunError):
    """A value that cannot be written as SQL. The message never repeats a literal, because it may be a secret."""

    exit_code = 5
    CODE = "PR0307"


def ident(name: Any) -> SqlText:
    """Return a quoted identifier. Raises UnsafeValue unless it is a name of 1 to 63 bytes.

    PostgreSQL would truncate a longer one silently, and the name would mean something else.
    """
    if isinstance(name, SqlText):
        raise UnsafeValue("this is finished SQL already, not a name", hint="use `ident` once")
    if not isinstance(name, str):
        raise UnsafeValue(f"a name must be a text, not {_type_name(name)}")
    text = _clean(name, "a name")
    if not text:
        raise UnsafeValue("a name must not be empty")
    if (size := len(text.encode())) > MAX_NAME_BYTES:
        shown = text[:20]
        raise UnsafeValue(f"the name {shown!r}... has {size} bytes; PostgreSQL keeps {MAX_NAME_BYTES} of a name")
    return SqlText('"' + text.replace('"', '""') + '"')


def qualified(schema: Any, name: Any) -> SqlText:
    """Return `"schema"."name"`. Raises UnsafeValue as `ident` does."""
    return SqlText(f"{ident(schema)}.{ident(name)}")


def idents(names: Any) -> SqlText:
    """Return identifiers separated by commas; a value with `schema` and `name` becomes a qualified one.

    Raises UnsafeValue for an empty list, which no SQL clause takes.
    """
    return _join(names, lambda one: qualified(one["schema"], one["name"]) if _is_table(one) else ident(one))


def join_statements(statements: Iterable[str]) -> SqlText:
    """Return statements as one text, separated by semicolons; a line break ends a last line that may be a comment."""
    return SqlText(";\n".join(f"{one}\n" if "--" in one.rpartition("\n")[2] else one for one in statements))


def literals(values: Any) -> SqlText:
    """Return literals separated by commas, as `IN (...)` needs them. Raises UnsafeValue for an empty list."""
    return _join(values, literal)


def literal(value: Any) -> SqlText:
    """Return a value as one literal; a list becomes an array literal, whose type depends on its context.

    Takes None, bool, int, float, str, Decimal, date, datetime, UUID and lists of these. Finished SQL becomes
    the literal of its text: `literal(qualified(s, t))` is an argument for to_regclass(). Raises UnsafeValue for a
    mapping, bytes or any other object, and for text that contains NUL or half a surrogate pair.
    """
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return SqlText(write(value))
    hint = "name one of its fields" if isinstance(value, Mapping) else ""
    raise UnsafeValue(f"{_type_name(value)} cannot be written as a SQL literal", hint=hint)


# ------------------------------------------------------------------ one writer per type


def _string_constant(text: str) -> str:
    r"""Return a string constant.

    With a backslash it is E'' with the backslash doubled, which means the same for every
    standard_conforming_strings; a quote is doubled and never `\'`, which backslash_quote may refuse.
    The space separates the E from the text before it.
    """
    clean = _clean(text, "a value").replace("'", "''")
    return " E'" + clean.replace("\\", "\\\\") + "'" if "\\" in clean else f"'{clean}'"


def _integer(value: int) -> str:
    try:
        return _with_sign(str(int(value)))
    except ValueError:  # more than 4300 digits
        raise UnsafeValue("an integer of thousands of digits cannot be written as a SQL literal") from None


def _with_sign(number: str) -> str:
    # a space before the minus: `1-{{ n }}` with -1 would become the comment `1--1`
    return f" {number}" if number.startswith("-") else number


def _float(value: float) -> str:
    return _with_sign(repr(float(value))) if math.isfinite(value) else _typed_literal(str(float(value)), "float8")


def _decimal(value: Decimal) -> str:
    if value.is_snan():
        raise UnsafeValue("a signalling NaN cannot be written as a SQL literal")
    return _with_sign(str(value)) if value.is_finite() else _typed_literal(str(value), "numeric")


def _datetime(value: datetime) -> str:
    return _typed_literal(value.isoformat(), "timestamptz" if value.tzinfo else "timestamp")


def _typed_literal(text: str, name: str) -> str:
    return f"{_string_constant(text)}::pg_catalog.{name}"


def _array(items: Iterable[Any]) -> str:
    return _string_constant(_array_text(list(items)))


def _array_text(items: list[Any]) -> str:
    return "{" + ",".join(map(_element, items)) + "}"


def _element(value: Any) -> str:
    """Return one element of an array's text, always in double quotes except for NULL and inner arrays."""
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return _array_text(list(value))
    if isinstance(value, bool):
        return '"t"' if value else '"f"'
    if isinstance(value, datetime | date):
        return f'"{value.isoformat()}"'
    if isinstance(value, str | float | Decimal | UUID):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int):
        return f'"{_integer(value).strip()}"'
    raise UnsafeValue(f"{_type_name(value)} cannot be an element of an array")


_WRITERS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (type(None), lambda _: "NULL"),
    (str, _string_constant),
    (bool, lambda value: "true" if value else "false"),
    (int, _integer),
    (float, _float),
    (Decimal, _decimal),
    (datetime, _datetime),
    (date, lambda value: _typed_literal(value.isoformat(), "date")),
    (UUID, lambda value: _typed_literal(str(value), "uuid")),
    ((list, tuple), _array),
)


# ------------------------------------------------------------------ helpers


def _clean(text: str, what: str) -> str:
    """Return the plain characters of a text (a subclass may override them). Raises UnsafeValue."""
    plain = str.__str__(text)
    if "\0" in plain:
        raise UnsafeValue(f"{what} must not contain a NUL character: PostgreSQL would end the text there")
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise UnsafeValue(f"{what} must not contain half of a surrogate pair: it is not text") from None
    return plain


def _join(values: Any, write: Callable[[Any], str]) -> SqlText:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UnsafeValue(f"expected a list, not {_type_name(values)}")
    if not (written := [write(value) for value in values]):
        raise UnsafeValue("the list is empty, and SQL has no empty list", hint="put `{% if %}` around it")
    return SqlText(", ".join(written))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and "schema" in value and "name" in value


def _type_name(value: Any) -> str:
    names = {"dict": "a mapping", "str": "a text", "list": "a list", "NoneType": "null"}
    return names.get(type(value).__name__, f"a value of type {type(value).__name__}")
