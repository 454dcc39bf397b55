"""Jinja reduced to for, if, set, include and data. The only importer of jinja2.

What is printed passes through one function (`finish`), and every printed piece knows its place in the template.
Import this inside functions: jinja2 takes 70 ms.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from types import CodeType
from typing import Any, cast

import jinja2
from jinja2 import nodes, pass_context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.errors import PlanrunError
from runner.safesql.budget import Budget, check_filter, check_size, fits, replace_text
from runner.safesql.standin import StandIn
from runner.words import close_matches

INLINE = ""
"""The name of a template that has no file."""

_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.Include),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
    *(nodes.Filter, nodes.Test, nodes.Keyword, nodes.Compare, nodes.Operand, nodes.CondExpr),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg),
)
FILTERS = (
    *("abs", "batch", "count", "default", "first", "int", "items", "last", "length", "list", "lower", "map"),
    *("max", "min", "reject", "rejectattr", "replace", "reverse", "select", "selectattr", "sort", "sum", "trim"),
    *("unique", "upper"),
)
TESTS = (
    *("defined", "undefined", "none", "true", "false", "boolean", "integer", "number", "string", "mapping"),
    *("sequence", "in", "eq", "==", "ne", "!=", "lt", "<", "le", "<=", "gt", ">", "ge", ">="),
    *("equalto", "lessthan", "greaterthan", "odd", "even", "divisibleby"),
)
_BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)
"""The remaining limits of the template that is being rendered; none while one is compiled."""

_CODES: dict[tuple[object, str, str], CodeType] = {}
"""The code of each source, by what it depends on: the finish and filters of its sandbox, its name and its text."""

_MOST_CODES = 500
_RESERVED = ("self", "super", "caller", "varargs", "kwargs")
_WHY = {
    "Call": "a template calls nothing; use a filter",
    "FilterBlock": "use the filter on one value: {{ name|upper }}",
    "Macro": "put the text into a file of its own and {% include %} it",
    "AssignBlock": "use {% set name = value %}",
    "Mod": "give the value under `values:`, or use ~ to join texts",
}
_FILTER_WHY = {
    "join": "use `literals` or `idents` for a list",
    "safe": "every value is quoted; write a name with `ident`",
    "raw": "every value is quoted; write a name with `ident`",
    "tojson": "build the JSON in SQL: jsonb_build_object(...)",
}


class TemplateFault(PlanrunError):
    """Something wrong in a template; `template` is its name and `offset` the place in its source."""

    exit_code = 5
    CODE = "PR0308"

    def __init__(self, template: str, offset: int, message: str, hint: str = "", *, code: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.template, self.offset = template, offset


class Chunk(str):
    """A piece of the output of a template: where it comes from, and whether it is a value."""

    template: str
    offset: int
    value: bool
    unknown: bool

    def __str__(self) -> str:
        return self


def _chunk(text: str, template: str, offset: int, value: bool, unknown: bool = False) -> Chunk:
    made = Chunk(text)
    made.template, made.offset, made.value, made.unknown = template, offset, value, unknown
    return made


class Sandbox(ImmutableSandboxedEnvironment):
    """One kind of template: SQL or plain text.

    read: returns the source of a template by name, or raises PlanrunError. finish: turns a printed value into text.
    """

    def __init__(
        self,
        read: Callable[[str], str],
        finish: Callable[[Any], tuple[str, bool]],
        filters: Mapping[str, Callable[..., Any]],
    ) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._read, self._finish = read, finish
        self._dialect = (finish, *filters.items())
        self.loader = _Loader()
        self.sources: dict[str, str] = {}
        self._inlines: dict[str, jinja2.Template] = {}
        self.globals.clear()
        self.known_filters = sorted({*FILTERS, *filters})
        known: dict[str, Callable[..., Any]] = {name: self.filters[name] for name in FILTERS}
        known |= {"replace": replace_text, **filters}
        self.filters = {name: _charge(name, one) for name, one in known.items()}
        self.filters |= {"_wrap": self._wrap, "_each": _each, "_concat": _concat, "_list": check_size}
        self.tests = {name: self.tests[name] for name in TESTS}

    intercepted_binops = frozenset("+")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`row.items` is the field `items`, never the method of a mapping."""
        if isinstance(obj, StandIn):
            return obj
        if isinstance(obj, Mapping):
            if attribute not in obj:
                return self.undefined(f"there is no field '{attribute}'; {near(attribute, obj)}")
            return obj[attribute]
        found = super().getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute) if callable(found) else found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`+` also joins texts and lists, and a few lines of it could double one thirty times."""
        for one in (left, right):
            fits(one)
        return check_size(super().call_binop(context, operator, left, right))

    def get_template(self, name: Any, parent: Any = None, globals: Any = None) -> jinja2.Template:
        """An include counts as a round, because files that include each other twice multiply."""
        _spend(1)
        return super().get_template(name, parent, globals)

    @pass_context
    def _wrap(self, context: Any, value: Any, offset: int, is_value: bool) -> Chunk:
        """The filter around every printed piece. It takes the context, so that Jinja cannot evaluate it at compile
        time."""
        try:
            if not is_value:
                _spend(1, len(value))
                return _chunk(value, context.name or INLINE, offset, False)
            if isinstance(value, jinja2.Undefined):
                str(value)
            text, unknown = self._finish(value)
            _spend(1, len(text))
        except jinja2.TemplateRuntimeError as exc:
            raise _undefined_fault(exc, context.name or INLINE, offset, context.get_all()) from None
        except PlanrunError as exc:
            raise TemplateFault(context.name or INLINE, offset, exc.message, exc.hint, code=exc.code) from None
        return _chunk(text, context.name or INLINE, offset, True, unknown)

    # -------------------------------------------------------------- compiling

    def compile_source(self, name: str, source: str) -> jinja2.Template:
        """Check, mark and compile one source. Raises TemplateFault."""
        source = source.replace("\r\n", "\n")
        self.sources[name] = source
        try:
            return jinja2.Template.from_code(self, self._code(name, source), {})
        except jinja2.TemplateSyntaxError as exc:
            raise TemplateFault(name, _line_start(source, exc.lineno), exc.message or "cannot be read") from None
        except (RecursionError, SyntaxError, MemoryError):
            raise TemplateFault(name, 0, "the template is nested too deeply") from None
        except ValueError:
            raise TemplateFault(name, 0, "the template cannot be read", "a number may have too many digits") from None

    def _code(self, name: str, source: str) -> CodeType:
        """Return the code of a source; another sandbox of the same finish and filters may have compiled it already."""
        key = (self._dialect, name, source)
        code = _CODES.get(key)
        if code is None:
            tree = self.parse(source, name)
            self._refuse(tree, name, source)
            _limit_loops(tree)
            _mark(tree, source)
            if len(_CODES) >= _MOST_CODES:
                _CODES.clear()
            code = _CODES[key] = self.compile(tree, name, _file(name))
        return code

    def _refuse(self, tree: nodes.Template, name: str, source: str) -> None:
        for node in _walk(tree):
            if found := self._refusal(node):
                raise TemplateFault(name, _line_start(source, node.lineno or 1), *found)

    def _refusal(self, node: nodes.Node) -> tuple[str, str] | None:
        what = type(node).__name__
        if not isinstance(node, _ALLOWED):
            return f"{what} is not allowed in a template", _WHY.get(what, "a template has for, if, set and include")
        if isinstance(node, nodes.Filter) and node.name not in self.known_filters:
            return f"no filter is called '{node.name}'", _FILTER_WHY.get(node.name, near(node.name, self.known_filters))
        if isinstance(node, nodes.Test) and node.name not in self.tests:
            return f"no test is called '{node.name}'", near(node.name, self.tests)
        if isinstance(node, nodes.Getattr) and node.attr.startswith("__"):
            return f"'{node.attr}' is not a field", ""
        if isinstance(node, nodes.Name) and node.name in _RESERVED:
            return f"'{node.name}' cannot be the name of a value", ""
        if isinstance(node, nodes.For) and node.recursive:
            return "a recursive loop is not allowed in a template", ""
        if isinstance(node, nodes.Include) and not _plain_include(node):
            return "an include names one template as a plain text", "{% include 'part.sql' %}"
        return None

    # -------------------------------------------------------------- rendering

    def chunks(self, name: str, source: str | None, values: Mapping[str, Any]) -> list[Chunk]:
        """Render a template by name, or `source` under that name. Raises TemplateFault."""
        token = _BUDGET.set(Budget())
        try:
            template = self.get_template(name) if source is None else self._inline(name, source)
            made = template.generate(dict(values))
            return [_only_chunk(piece) for piece in made]
        except TemplateFault:
            raise
        except PlanrunError as exc:
            raise TemplateFault(*self._where(exc, name), exc.message, exc.hint, code=exc.code) from None
        except jinja2.TemplateRuntimeError as exc:
            raise _undefined_fault(exc, *self._where(exc, name), values) from None
        except NameError as exc:  # jinja2 writes 1e999 into its code as inf
            raise TemplateFault(*self._where(exc, name), "a number is too large") from None
        except RecursionError:
            raise TemplateFault(name, 0, "the template includes itself without end") from None
        except (TypeError, ValueError, ArithmeticError, LookupError) as exc:  # such as 1 + 'a'
            raise TemplateFault(*self._where(exc, name), f"{type(exc).__name__}: {exc}") from None
        finally:
            _BUDGET.reset(token)

    def _inline(self, name: str, source: str) -> jinja2.Template:
        if source not in self._inlines:
            self._inlines[source] = self.compile_source(name, source)
        self.sources[name] = source
        return self._inlines[source]

    def _where(self, exc: BaseException, name: str) -> tuple[str, int]:
        """Return the template and offset an error came from: jinja2 puts template lines into the traceback."""
        for frame in reversed(traceback.extract_tb(exc.__traceback__)):
            for template, source in self.sources.items():
                if frame.filename == _file(template):
                    return template, _line_start(source, frame.lineno or 1)
        return name, 0

    # -------------------------------------------------------------- names

    def missing_names(self, name: str, source: str | None, given: Iterable[str]) -> Iterator[TemplateFault]:
        """Yield every name that a template uses, in any branch, and that has no value."""
        todo = {name: (set(given), TemplateFault(name, 0, ""))}
        seen: set[str] = set()
        while left := todo.keys() - seen:
            name = left.pop()
            seen.add(name)
            given, include = todo[name]
            self._ready(name, source, include)
            tree = self.parse(self.sources[name], name)
            known = {*given, *_assignments(tree)}
            yield from _missing_names(tree, name, self.sources[name], known)
            for node in tree.find_all(nodes.Include):
                at = TemplateFault(name, _line_start(self.sources[name], node.lineno), "")
                todo.setdefault(node.template.as_const(), (known, at))

    def _ready(self, name: str, source: str | None, include: TemplateFault) -> None:
        """Compile a template. Raises TemplateFault at the tag that includes it when it cannot be read."""
        try:
            if name == INLINE and source is not None:
                self._inline(name, source)
            else:
                self.get_template(name)
        except TemplateFault:
            raise
        except PlanrunError as exc:
            raise TemplateFault(include.template, include.offset, exc.message, exc.hint, code=exc.code) from None


def _missing_names(tree: nodes.Template, name: str, source: str, known: set[str]) -> Iterator[TemplateFault]:
    optional = _optional(tree)
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name not in known | optional:
            yield TemplateFault(
                name, _find_name(source, node), f"'{node.name}' is undefined", near(node.name, known - {"loop"})
            )


class _Loader(jinja2.BaseLoader):
    """Load through the environment's own reader, and compile what passed the check."""

    def load(self, environment: jinja2.Environment, name: str, globals: Any = None) -> jinja2.Template:
        assert isinstance(environment, Sandbox)
        return environment.compile_source(name, environment._read(name))


def _only_chunk(piece: str) -> Chunk:
    assert isinstance(piece, Chunk), "a template printed something that was not quoted"
    return piece


def _undefined_fault(
    exc: jinja2.TemplateRuntimeError, template: str, offset: int, values: Iterable[str]
) -> TemplateFault:
    message = exc.message or "a value is undefined"
    parts = message.split("'")
    hint = near(parts[1], values) if message.endswith("is undefined") and len(parts) == 3 else ""
    return TemplateFault(template, offset, message, hint)


def _file(name: str) -> str:
    return f"<template {name}>"


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint with the name that was probably meant."""
    names = sorted(known)
    if found := close_matches(name, names):
        return f"did you mean '{found[0]}'?"
    return f"known: {', '.join(names[:20])}" if names else "give it under `values:`"


# ------------------------------------------------------------------ bounds


def _spend(rounds: int, characters: int = 0) -> None:
    if budget := _BUDGET.get():
        budget.spend(rounds, characters)


def _charge(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that counts its input against the limits, and whose result and numbers are checked."""
    place = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def checked_call(*args: Any, **kwargs: Any) -> Any:
        value = args[place]
        _spend(1 + (len(value) // 16 if isinstance(value, str | list | tuple | Mapping) else 0))
        fits(value)
        for one in (*args[place + 1 :], *kwargs.values()):
            check_filter(name, one)
        return check_size(function(*args, **kwargs))

    return checked_call


def _each(value: Any) -> Any:
    """The filter around the items of a loop: it counts each round against the limits."""
    if not isinstance(value, Iterator):
        _spend(len(value) if isinstance(value, str | list | tuple | Mapping) else 1)
        return value
    return _pay(value)


def _pay(values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        _spend(1)
        yield value


def _concat(parts: Iterable[Any]) -> str:
    """`a ~ b`: refuse a result that is too long before building it."""
    texts = [str(part) for part in check_size(list(parts))]
    text: str = check_size("".join(check_size(texts)))
    return text


def _limit_loops(tree: nodes.Template) -> None:
    """Wrap loops and concatenations in the filters that count."""
    for node in list(_walk(tree)):
        for field, child in node.iter_fields():
            if isinstance(child, list):
                child[:] = [_count_call(one) for one in child]
            elif isinstance(child, nodes.Node):
                setattr(node, field, _count_call(child))
        if isinstance(node, nodes.For):
            node.iter = _filter_call(cast(nodes.Expr, node.iter), "_each")


def _count_call(node: Any) -> Any:
    if isinstance(node, nodes.Concat):
        return _filter_call(nodes.List(node.nodes, lineno=node.lineno), "_concat")
    if isinstance(node, nodes.List | nodes.Tuple) and getattr(node, "ctx", "load") == "load":
        return _filter_call(node, "_list")
    return node


def _filter_call(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


# ------------------------------------------------------------------ the tree of a template


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _plain_include(node: nodes.Include) -> bool:
    name = node.template.value if isinstance(node.template, nodes.Const) else None
    return isinstance(name, str) and node.with_context and not node.ignore_missing


def _mark(tree: nodes.Template, source: str) -> None:
    """Wrap each printed piece in the filter that knows its offset in the source."""
    starts = [0, *(at + 1 for at, sign in enumerate(source) if sign == "\n")]
    cursor = 0
    for output in tree.find_all(nodes.Output):
        for index, child in enumerate(output.nodes):
            data = child.data if isinstance(child, nodes.TemplateData) else None
            line = starts[min(child.lineno, len(starts)) - 1]
            offset = source.find("{{" if data is None else data, max(cursor, line if data else cursor))
            offset = line if offset < 0 else offset
            cursor = offset + (2 if data is None else len(data))
            inner: nodes.Expr = child if data is None else nodes.Const(data, lineno=child.lineno)
            args: list[nodes.Expr] = [nodes.Const(offset), nodes.Const(data is None)]
            output.nodes[index] = nodes.Filter(inner, "_wrap", args, [], None, None, lineno=child.lineno)


def _line_start(source: str, line: int) -> int:
    """Return the offset of the first tag of a line, or of its first character."""
    lines = source.split("\n")
    number = min(max(line, 1), len(lines)) - 1
    start = sum(len(text) + 1 for text in lines[:number])
    tags = [at for at in (lines[number].find("{{"), lines[number].find("{%")) if at >= 0]
    return start + min(tags, default=0)


def _find_name(source: str, node: nodes.Name) -> int:
    lines = source.split("\n")
    start = sum(len(text) + 1 for text in lines[: node.lineno - 1])
    column = lines[node.lineno - 1].find(node.name) if node.lineno <= len(lines) else 0
    return start + max(column, 0)


def _optional(tree: nodes.Template) -> set[str]:
    """Return the names that a template tests before it uses them."""
    asked = [node.node for node in tree.find_all(nodes.Test) if node.name in ("defined", "undefined")]
    asked += [node.node for node in tree.find_all(nodes.Filter) if node.name == "default" and node.node]
    return {node.name for node in asked if isinstance(node, nodes.Name)}


def _assignments(tree: nodes.Template) -> set[str]:
    return {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"} | {"loop"}
