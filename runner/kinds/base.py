"""The interface of step kinds: frozen Params, a look that reads, a render that decides. None of them acts."""

from __future__ import annotations

import collections.abc
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from runner.errors import PlanrunError
from runner.fates import Preview
from runner.losses import SqlEffects, Tables
from runner.model import Action, Result
from runner.names import near
from runner.record import dataclass
from runner.sqltext import Inline
from runner.table_name import TableName
from runner.units import absolute, duration, place, size, value_text
from runner.words import shown_name

if TYPE_CHECKING:
    from runner.session_facts import SessionFacts


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """Facts about a server. `version` is PostgreSQL's version number: 150018 is 15.18."""

    version: int
    database: str
    user: str
    in_recovery: bool = False

    @property
    def major(self) -> int:
        return self.version // 10000


@dataclass(frozen=True, kw_only=True)
class StatementFacts:
    """A statement of the plan's SQL, and one relation that it works on.

    verb: "" if it names no relation that is known, else such as `delete from`. text: the statement in one line.
    kind, name, there: the relation, if it exists. analyzed: the server has statistics of it. touched: about how many
    rows the statement changes, None if the server cannot estimate it.
    """

    verb: str
    text: str
    kind: str = ""
    name: str = ""
    there: bool = False
    analyzed: bool = False
    touched: int | None = None


class CatalogReader(Protocol):
    """Read-only access to databases, programs and folders, for `look`. Queries run READ ONLY with a statement timeout.

    stale: earlier steps of this diff change what `look` reads; always false in a run.
    """

    stale: bool

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        """Return the rows of one of planrun's catalog queries, run with an empty search_path."""
        ...

    def ask(self, text: str, *, connection: str = "", limit: int = 1000, detail: bool = False) -> list[dict[str, Any]]:
        """Return the rows of a query that the user wrote, run with the search_path of the role.

        detail: an error about data may repeat values of rows.
        """
        ...

    def explain(self, text: str, *, connection: str = "") -> tuple[StatementFacts, ...]:
        """Return what the statements of a plan's SQL work on, nothing for a text with a secret in it. None of it runs.

        Raises RefusedError for a statement that the server refuses, unless an earlier step may change that.
        """
        ...

    def sql(self, name: str, /, **values: Any) -> str:
        """Turn a template under sql/ into SQL text, as Render does; for the queries of `look`."""
        ...

    def server(self, connection: str = "") -> ServerFacts: ...

    def pg_dump_for(self, server_major: int) -> str:
        """Return the path of the pg_dump for a server of this major version. Raises TargetError if none fits."""
        ...

    def sessions(self, folder: str) -> tuple[SessionFacts, ...]:
        """Return the sessions in a backup folder, oldest first; none if it does not exist."""
        ...

    def tables_of(self, session: str) -> tuple[TableName, ...]:
        """Return schema and name of every table in a session folder. Raises if it is not a session."""
        ...

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a plain text made from a template under the plan's `sql/`; nothing is quoted."""
        ...

    def command(self, verb: str, *options: str) -> str:
        """Return the command to type for this plan: `planrun abort p.yml`."""
        ...

    def file(self, path: str) -> str:
        """Return where a file is that the plan writes: in a rehearsal in a folder of its own, else where it says."""
        ...

    @property
    def start_time(self) -> datetime:
        """When this run began, in UTC."""
        ...

    def others(self, kind: str) -> tuple[Mapping[str, Any], ...]:
        """Return the values of the plan's steps of a kind, as far as they are known without a run, else UNKNOWN."""
        ...

    @property
    def plan(self) -> str:
        """The name of the plan."""
        ...

    @property
    def run(self) -> str:
        """The id of this run; a diff has one that nothing else has."""
        ...

    @property
    def folder(self) -> Path:
        """The folder where the plan's relative paths start."""
        ...

    @property
    def root(self) -> Path:
        """The plan's root folder; the SQL files that a plan names lie in its `sql/`."""
        ...


class Render(Protocol):
    """Turn a template under sql/ into SQL text; every value becomes a whole literal or identifier."""

    def __call__(self, name: str, /, **values: Any) -> str: ...


SqlReader = Callable[[Mapping[str, Any]], SqlEffects]
"""Given the `with:` of a step with SQL, return what the SQL removes and creates. A value may be UNKNOWN."""


@dataclass(frozen=True)
class Output:
    """One output of a kind: its JSON type (`object`, `array`, `integer`, ...) and its description.

    `fields` names the fields of the objects in an array, so that `item.x` can be checked offline. measure: what a
    monitor adds up over the steps of a run: rows or bytes that the step moved, locked_ms for milliseconds under its
    locks; "" for any other output.
    """

    type: str
    description: str
    fields: tuple[str, ...] = ()
    measure: str = ""


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What a diff knows of a step. params: None if a value is unknown; facts: None if `look` needs an earlier step.

    values: the resolved `with:`, in which a value may be UNKNOWN. earlier: kind and preview of the steps before it.
    """

    values: Mapping[str, Any]
    params: Any
    facts: Any
    reader: CatalogReader
    earlier: Sequence[tuple[str, Preview]]

    def before(self, kind: str) -> Iterator[Preview]:
        """Yield the previews of the earlier steps of a kind, the last one first."""
        yield from (preview for name, preview in reversed(self.earlier) if name == kind)


class Kind(Protocol):
    """The interface of every module in this folder; editors and the reference show its `__doc__`.

    A kind whose actions change the database has `CHANGES = True`; the journal of its plan is then in that database. A
    kind that works on shadow tables or backup sets has `REFRESHES = True`. `reads` names the tables that it reads, for
    `doctor`. `check_earlier(outputs, reader)` returns what is wrong with the objects that an earlier attempt of the
    step made, "" when they are still there; `expires(outputs)` whether they are gone with the attempt itself.
    `fates(params, facts)` says what becomes of each object; a run stops before a step when this is worse than the diff
    said. `preview(prospect)` says more in a diff, also where `look` cannot succeed before an earlier step has run.

    The following are called before a run with the `with:` of a step, in which a value may be UNKNOWN.
    `destroys(given, read)` returns what a step removes for good (runner.losses.Loss); `protects(given)` what may be
    removed once it has succeeded; `makes(given, read)` the tables that it creates. `read` is a SqlReader.
    """

    Params: type
    OUTPUTS: Mapping[str, Output]
    look: Callable[[Any, CatalogReader], Any]
    render: Callable[[Any, Any, Render], tuple[Action, ...]]
    give: Callable[[Any, Any, Sequence[Result | None]], Mapping[str, Any]]


def param(doc: str, *, default: Any = dataclasses.MISSING, **schema: Any) -> Any:
    """Declare a parameter once: doc, default and limits feed the JSON schema, the reference page and the errors.

    `schema` holds JSON schema keywords (minLength, minimum, examples ...) and six of planrun's own:
    `path=True` (a path, relative to the plan), `written=True` (the step changes what is at that path),
    `connection=True` (a name in `connections:`; the default connection if not given; with "named", no connection if not
    given), `unit="duration"|"size"` (text such as "5min" or "64MB", or a plain number), `none=True` (in a run "" is
    accepted whatever the limits: the output of a step that made nothing), `place=True` (a path or the URL of a store).
    """
    return dataclasses.field(default=default, metadata={"description": doc, **schema})


# ------------------------------------------------------------------ checked data to Params


class BadParam(PlanrunError):
    """A value that a parameter cannot take. `path` leads to it inside `with:`."""

    exit_code = 5
    CODE = "PR0112"

    def __init__(self, path: tuple[str | int, ...], message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.path = path


def refuse_schemas_that_are_not_there(schemas: Sequence[str], reader: CatalogReader, connection: str) -> None:
    """Raise PlanrunError with the schemas that the database lacks, each with the name that was probably meant."""
    if not schemas:
        return
    rows = reader.rows("select nspname::pg_catalog.text as name from pg_catalog.pg_namespace", connection=connection)
    there = {row["name"] for row in rows}
    meant = {name: near(name, there) for name in schemas if name not in there}
    if meant:
        likely = {name: f" (there is {shown_name('', other)})" if other else "" for name, other in meant.items()}
        names = ", ".join(shown_name("", name) + other for name, other in likely.items())
        raise PlanrunError(f"there is no schema {names}", hint="correct `schemas:`", code="PR0701")


def refuse_bad_patterns(patterns: Sequence[str]) -> None:
    """Raise PlanrunError for an entry of `fail_if_output:` that is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise PlanrunError(
                f"`fail_if_output:` {pattern!r} is no regular expression: {exc}", code="PR0112"
            ) from None


@cache
def hints_of(params: type) -> Mapping[str, Any]:
    """Return the type of every field of a Params class."""
    return get_type_hints(params)


def build(params: type, data: Mapping[str, Any], folder: Path) -> Any:
    """Make Params from resolved data: lists to tuples, paths absolute, durations to seconds, sizes to bytes.

    Raises BadParam for a value of the wrong type or outside its limits: values that are known only in a run were not
    checked before.
    """
    fields = {word(field): field for field in dataclasses.fields(params)}
    for name in data:
        if name not in fields:
            raise BadParam((name,), f"'{name}' is not known here", hint=f"known: {', '.join(fields)}", code="PR0110")
    made = {}
    for name, field in fields.items():
        if name in data:
            hint = hints_of(params)[field.name]
            made[field.name] = _convert(data[name], hint, field.metadata, (name,), folder)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BadParam((), f"'{name}' is missing", hint=str(field.metadata.get("description", "")), code="PR0111")
        elif "unit" in field.metadata or "path" in field.metadata:
            made[field.name] = _default(field, folder)
    return params(**made)


def move_files(params: Any, place: Callable[[str], str]) -> Any:
    """Return Params whose paths that the step writes to are those that `place` gives for them."""
    written = [field.name for field in dataclasses.fields(params) if field.metadata.get("written")]
    moved = {name: new for name in written if (old := getattr(params, name)) and (new := place(old)) != old}
    return dataclasses.replace(params, **moved) if moved else params


def word(field: dataclasses.Field[Any]) -> str:
    """Return the name of a parameter in a plan: `from` is a keyword of Python, so its field is `from_`."""
    return field.name.removesuffix("_")


def _default(field: dataclasses.Field[Any], folder: Path) -> Any:
    if isinstance(field.default, str) and field.default:
        return _special(field.default, field.metadata, folder)
    return field.default


def _convert(value: Any, hint: Any, words: Mapping[str, Any], path: tuple[str | int, ...], folder: Path) -> Any:
    if value == "" and words.get("none"):
        return value
    try:
        made = _with_type(value, hint, words, folder)
        _limits(made, words)
    except ValueError as exc:
        raise BadParam(path, f"{'.'.join(map(str, path))}: {exc}", code="PR0112") from None
    return made


def _with_type(value: Any, hint: Any, words: Mapping[str, Any], folder: Path) -> Any:
    """Return `value` with the type `hint`. Raises ValueError with the expected type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _convert_union(value, args, words, folder)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in args):
            raise ValueError(f"{value_text(value)} is not one of {', '.join(map(value_text, args))}")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ValueError(f"{value_text(value)} is not a list")
        return tuple(_with_type(one, args[0] if args else Any, words, folder) for one in value)
    if origin in (dict, Mapping, collections.abc.Mapping) or hint is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{value_text(value)} is not a mapping")
        return {str(k): _with_type(v, args[1] if args else Any, {}, folder) for k, v in value.items()}
    if "unit" in words and isinstance(value, str) and hint in (int, float):
        return _special(value, words, folder)
    return _scalar(value, hint, words, folder)


def _convert_union(value: Any, args: tuple[Any, ...], words: Mapping[str, Any], folder: Path) -> Any:
    for arg in args:
        if arg is type(None):
            if value is None:
                return None
            continue
        try:
            return _with_type(value, arg, words, folder)
        except ValueError as exc:
            problem = exc
    raise problem


_TYPE_NAMES = {str: "a text", int: "an integer", float: "a number", bool: "true or false", Path: "a path"}


def _scalar(value: Any, hint: Any, words: Mapping[str, Any], folder: Path) -> Any:
    if hint is str and type(value) in (int, float):
        return str(value)  # a number that came through a reference: argv: ["-j", "${params.jobs}"]
    if hint is int and type(value) is float and value.is_integer():
        return int(value)  # 3.0 is an integer in JSON schema
    wanted: Any = {float: (int, float), Path: str}.get(hint, hint)
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{value_text(value)} is not {_TYPE_NAMES.get(hint, hint)}")
    if isinstance(value, str) and (words.get("path") or words.get("place")) and value:
        value = _special(value, words, folder)
    return hint(value)


def _special(text: str, words: Mapping[str, Any], folder: Path) -> Any:
    if words.get("path"):
        return absolute(text, folder)
    if words.get("place"):
        return place(text, folder)
    return duration(text) if words.get("unit") == "duration" else size(text)


_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minLength": (lambda v, n: not isinstance(v, str) or len(v) >= n, "is shorter than {} characters"),
    "maxLength": (lambda v, n: not isinstance(v, str) or len(v) <= n, "is longer than {} characters"),
    "pattern": (lambda v, n: not isinstance(v, str) or bool(re.search(n, v)), "does not match {}"),
    "minimum": (lambda v, n: not isinstance(v, int | float) or v >= n, "is less than {}"),
    "maximum": (lambda v, n: not isinstance(v, int | float) or v <= n, "is more than {}"),
    "exclusiveMinimum": (lambda v, n: not isinstance(v, int | float) or v > n, "is not more than {}"),
    "minItems": (lambda v, n: not isinstance(v, tuple) or len(v) >= n, "has fewer than {} items"),
    "maxItems": (lambda v, n: not isinstance(v, tuple) or len(v) <= n, "has more than {} items"),
    "enum": (lambda v, n: v in n, "is not one of {}"),
}
LIMIT_WORDS = frozenset(_LIMITS) | {"uniqueItems", "items", "examples", "minProperties", "title", "deprecated"}
"""JSON schema keywords that a param may use."""


def _limits(value: Any, words: Mapping[str, Any]) -> None:
    if value is None:
        return
    for word, (holds, message) in _LIMITS.items():
        if word in words and not holds(value, words[word]):
            raise ValueError(f"{value_text(value)} {message.format(words[word])}")
    if words.get("uniqueItems") and isinstance(value, tuple) and len({repr(v) for v in value}) < len(value):
        raise ValueError("an item is given twice")
    if isinstance(value, tuple) and "items" in words:
        for one in value:
            _limits(one, words["items"])


def tables_given(given: Any) -> Tables:
    """Return the tables that `tables:` of a step names, None if not all are known before the run."""
    if not isinstance(given, list | tuple):
        return None
    try:
        return tuple(TableName.parse(one) for one in given)
    except (PlanrunError, TypeError):  # one of them is UNKNOWN, or wrong in a way that is reported elsewhere
        return None


# ------------------------------------------------------------------ SQL that a plan brings


@dataclass(frozen=True, kw_only=True)
class SqlParams:
    """The parameters that `sql`, `query` and `check` share: SQL in the plan or in a file, and its values."""

    text: str = param(
        "The SQL text; with `values` it is a template.",
        default="",
        minLength=1,
        examples=["select count(*) as n from public.orders"],
    )
    file: str = param(
        "A file under the plan's sql/ folder, instead of `text`.", default="", minLength=1, examples=["stale.sql"]
    )
    values: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={"description": "Values by name; with them, the SQL is a template: {{ name }}, {{ name|ident }}."},
    )
    connection: str = param("The connection to use.", default="", connection=True)
    error_detail: bool = param(
        "Show the values of rows in an error about data (such as a duplicate key or a value that does not fit), in the "
        "output and in the journal.",
        default=False,
    )

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.file):
            raise BadParam((), "give either `text` or `file`", code="PR0119")

    def render_sql(self, sql: Render) -> str:
        """Return the SQL with its values filled in. A text without `values` is plain SQL and not a template."""
        if self.file:
            return sql(self.file, **self.values)
        return sql(Inline(self.text), **self.values) if self.values else self.text


# ------------------------------------------------------------------ locks on live tables


@dataclass(frozen=True, kw_only=True)
class LockParams:
    """The parameters, in seconds, of kinds that lock live tables by an Exchange."""

    lock_timeout: float = param(
        "How long one attempt waits for all its locks; 0: half a second, which is below other connections' "
        "deadlock_timeout.",
        default=0.0,
        unit="duration",
        minimum=0,
    )
    deadline: float = param("How long planrun tries to get the locks.", default="10min", unit="duration", minimum=0)
    hold_timeout: float = param(
        "How long the work under the locks may take; after that it is undone and the locks are released.",
        default="30s",
        unit="duration",
        minimum=0.1,
    )
