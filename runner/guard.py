"""`when:` of a step: parsed once, names checked offline, evaluated with three truth values. Pure.

The syntax is a part of Python's expression grammar (`and or not in == != < <= > >=`, numbers, strings, lists). The
standard library's parser reads it, and an allow-list of nodes limits it, so that a guard can call nothing.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any

from runner.errors import Mark, PlanError, Problem
from runner.model import UNKNOWN
from runner.record import dataclass
from runner.values import lookup
from runner.words import close_matches

MAX_LENGTH = 500
_LINE_END = re.compile(r"\r\n?|\n")

_NODES = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Name,
    ast.Attribute, ast.Constant, ast.List, ast.Load, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
    ast.In, ast.NotIn,
)  # fmt: skip
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_FOREIGN = {
    "&&": "and",
    "||": "or",
    "{{": "a bare expression, without braces",
    "${": "a bare name, without ${}",
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)

Shape = Mapping[str, Any]
"""The allowed names: name -> {field -> JSON type or a nested shape}; a plain JSON type has no fields."""


@dataclass(frozen=True)
class Guard:
    """A parsed guard. `where` is the place of its first character."""

    text: str
    where: Mark
    tree: ast.expr = field(compare=False, repr=False)
    asked: tuple[tuple[tuple[str, ...], ast.AST], ...] = field(compare=False, repr=False)
    compared: tuple[ast.Compare, ...] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Verdict:
    """The result of a guard. `holds` is None if it is unknown until run; `because` names the values that decided."""

    holds: bool | None
    because: str


def parse(text: str, where: Mark) -> Guard:
    """Parse a guard. Raises PlanError with the column of the mistake."""
    for sign, instead in _FOREIGN.items():
        if (at := text.find(sign)) >= 0:
            raise _error(where, at, f"'{sign}' is not known in a guard", f"write {instead}")
    if len(text) > MAX_LENGTH:
        raise _error(where, 0, f"a guard has at most {MAX_LENGTH} characters", "split it over steps")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own warnings, of `1if` and '\\d', which do not apply to guards
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as exc:
        raise _error(where, min((exc.offset or 1) - 1, len(text)), f"not an expression: {exc.msg}", _EXAMPLE) from None
    except (ValueError, RecursionError, MemoryError) as exc:
        raise _error(where, 0, f"not an expression: {exc}", _EXAMPLE) from None
    asked, compared = _inspect(tree, text.strip(), where)
    return Guard(text.strip(), where, tree, asked, compared)


_EXAMPLE = "for example: prepare.ok and detect.count > 0"


def _error(where: Mark, column: int, message: str, hint: str = "") -> PlanError:
    return PlanError(Problem(where._replace(column=where.column + column), message, hint, code="PR0203"))


def _column(node: ast.AST, text: str) -> int:
    """Return the offset of a node in its line, in characters: Python counts bytes."""
    lines, number = _LINE_END.split(text), getattr(node, "lineno", 1)
    line = lines[number - 1] if number <= len(lines) else text
    return len(line.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))


def _inspect(
    tree: ast.expr, text: str, where: Mark
) -> tuple[tuple[tuple[tuple[str, ...], ast.AST], ...], tuple[ast.Compare, ...]]:
    """Check every node against the allow-list; return the dotted names and the comparisons. Each node is visited once:
    a plan of 3,000 steps has as many guards."""
    asked: list[tuple[tuple[str, ...], ast.AST]] = []
    compared: list[ast.Compare] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, _NODES):
            raise _error(where, _column(node, text), f"{type(node).__name__} is not allowed in a guard", _EXAMPLE)
        if dotted := name_parts(node):
            asked += [(dotted, node)] if dotted[0] not in _WORDS else []
            continue
        if isinstance(node, ast.Attribute):  # a field of a text or of an expression in parentheses
            raise _error(where, _column(node, text), "only a name has fields", _EXAMPLE)
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None):
            raise _error(where, _column(node, text), f"{ast.unparse(node)} is not a value of a guard", _EXAMPLE)
        if isinstance(node, ast.Compare):
            compared.append(node)
        waiting += reversed(list(ast.iter_child_nodes(node)))
    return tuple(asked), tuple(compared)


def names(guard: Guard) -> Iterator[tuple[str, ...]]:
    """Yield every dotted name of the guard, longest form only: `prepare.ok` gives ("prepare", "ok")."""
    yield from (dotted for dotted, _ in guard.asked)


def name_parts(node: ast.AST) -> tuple[str, ...]:
    """Return the parts of a dotted name, () for any other node."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (head := name_parts(node.value)):
        return (*head, node.attr)
    return ()


def check(guard: Guard, shape: Shape, hint_of: Callable[[str], str] | None = None) -> list[Problem]:
    """Return a problem for every unknown name, with the nearest known one, and for comparisons that are never true.

    hint_of: returns the hint for an unknown name of a step; by default, the nearest known name.
    """
    found = [p for dotted, node in guard.asked if (p := _check_name(guard, dotted, node, shape, hint_of))]
    if (
        not found
        and isinstance(guard.tree, ast.Name | ast.Attribute)
        and isinstance(_with_type(guard.tree, shape), Mapping)
    ):
        name = ".".join(name_parts(guard.tree))
        found.append(_problem(guard, guard.tree, f"'{name}' is not true or false", f"did you mean '{name}.ok'?"))
    return found or list(_clashes(guard, shape))


def _check_name(
    guard: Guard, dotted: tuple[str, ...], node: ast.AST, shape: Shape, hint_of: Callable[[str], str] | None
) -> Problem | None:
    level: Any = shape
    for depth, name in enumerate(dotted):
        known_as = ".".join(dotted[:depth])
        if not isinstance(level, Mapping):
            if level in ("object", "array", ""):
                return None
            return _problem(guard, node, f"'{known_as}' is a {level} and has no fields", "")
        if name not in level:
            if known_as:
                return _problem(guard, node, f"'{known_as}' has no '{name}'", nearest(name, level))
            hint = hint_of(name) if hint_of else nearest(name, level)
            return _problem(guard, node, f"no step '{name}' comes before this one", hint)
        level = level[name]
    return None


def nearest(name: str, known: Iterator[str] | Mapping[str, Any] | list[str]) -> str:
    """Return "did you mean 'x'?" or the list of known names."""
    options = sorted(known)
    if close := close_matches(name, options):
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(options[:12])}" if options else ""


def _problem(guard: Guard, node: ast.AST, message: str, hint: str) -> Problem:
    return Problem(
        guard.where._replace(column=guard.where.column + _column(node, guard.text)), message, hint, code="PR0204"
    )


def _clashes(guard: Guard, shape: Shape) -> Iterator[Problem]:
    for node in guard.compared:
        if len(node.ops) != 1:
            continue
        sides, op = (node.left, node.comparators[0]), node.ops[0]
        left, right = (_with_type(side, shape) for side in sides)
        if isinstance(left, Mapping) or isinstance(right, Mapping):
            whole = sides[0] if isinstance(left, Mapping) else sides[1]
            yield _problem(
                guard, whole, f"'{'.'.join(name_parts(whole))}' has fields and is not a value", "name one of them"
            )
        elif left in _SCALAR and right in _SCALAR and _SCALAR[left] != _SCALAR[right]:
            yield _problem(guard, node, f"compares a {left} with a {right}", "")
        elif isinstance(op, _ORDERED) and "boolean" in (left, right):
            yield _problem(guard, node, "true and false have no order", "")


_SCALAR = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}


def _with_type(node: ast.AST, shape: Shape) -> Any:
    if isinstance(node, ast.Constant):
        return {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(node.value), "")
    if not (dotted := name_parts(node)):
        return ""
    if dotted[0] in _WORDS:
        return "boolean" if isinstance(_WORDS[dotted[0]], bool) else ""
    level: Any = shape
    for name in dotted:
        level = level.get(name, "") if isinstance(level, Mapping) else ""
    return level if isinstance(level, str | Mapping) else ""


def evaluate(guard: Guard, scope: Mapping[str, Any]) -> Verdict:
    """Return whether the guard is true with these values. An unknown value makes it unknown, never true.

    `false and unknown` is false and `true or unknown` is true: no run can change that.
    """
    found = _value(guard.tree, scope)
    if found is UNKNOWN:
        return Verdict(None, _because(guard, scope, unknown_only=True))
    return Verdict(found is True, _because(guard, scope))


def value_of(part: ast.AST, scope: Mapping[str, Any]) -> Any:
    """Return the value of a part of a guard, UNKNOWN if it depends on an unknown value."""
    return _value(part, scope)


def _because(guard: Guard, scope: Mapping[str, Any], *, unknown_only: bool = False) -> str:
    told = {".".join(dotted): _lookup(dotted, scope) for dotted in names(guard)}
    return ", ".join(f"{k} is {_describe(v)}" for k, v in told.items() if v is UNKNOWN or not unknown_only)


def _describe(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _lookup(dotted: tuple[str, ...], scope: Mapping[str, Any]) -> Any:
    try:
        return lookup(dotted, scope)
    except KeyError:
        return None


def _value(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    if dotted := name_parts(node):
        return _WORDS[dotted[0]] if dotted[0] in _WORDS else _lookup(dotted, scope)
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_value(item, scope) for item in items]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _value(operand, scope)
            return UNKNOWN if inner is UNKNOWN else inner is not True
        case ast.UnaryOp(operand=operand):
            inner = _value(operand, scope)
            return -inner if isinstance(inner, int | float) else inner
        case ast.BoolOp(op=op, values=values):
            return _boolean([_value(value, scope) for value in values], decides=isinstance(op, ast.Or))
        case ast.Compare():
            return _compare(node, scope)
        case _:
            raise AssertionError(f"the parser rejects {type(node).__name__}")


def _boolean(found: list[Any], *, decides: bool) -> Any:
    truths = [value if value is UNKNOWN else value is True for value in found]
    if decides in [value for value in truths if value is not UNKNOWN]:
        return decides
    return UNKNOWN if UNKNOWN in truths else not decides


def _compare(node: ast.Compare, scope: Mapping[str, Any]) -> Any:
    values = [_value(part, scope) for part in (node.left, *node.comparators)]
    if any(value is UNKNOWN for value in values):
        return UNKNOWN
    pairs = zip(node.ops, values, values[1:], strict=False)
    return all(_compare_pair(type(op), left, right) for op, left, right in pairs)


def _compare_pair(op: type, left: Any, right: Any) -> bool:
    try:
        return bool(_COMPARE[op](left, right))
    except TypeError:
        return False
