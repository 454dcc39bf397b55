"""Render files under sql/: to SQL text, with every value a whole literal or identifier, or to plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import Mark, PlanError, PlanrunError, Problem
from runner.safesql.standin import NAME, StandIn, fill_standins, has_stand_in, stand_in
from runner.sqltext import Inline, SqlText, UnsafeValue, ident, idents, literal, literals, qualified

if TYPE_CHECKING:
    from runner.safesql.sandbox import Chunk, Sandbox

MAX_BYTES = 4 * 1024 * 1024

At = Callable[[str, int], Mark]
"""The place of an offset of an inline template's source: (source, offset) -> Mark."""

_UNKNOWN_LITERALS = ("'1'", "1")
"""How an unknown value is written: a string constant is valid nearly everywhere, a number elsewhere."""


class BadTemplateName(PlanrunError):
    """A template that is not in the folders, or is outside them."""

    exit_code = 5
    CODE = "PR0310"


class Rendered(str):
    """The output of a template, as text that knows where each character comes from."""

    chunks: tuple[Chunk, ...]
    _mark: Callable[[str, int], Mark]

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """A copy is plain text: only the original knows where its characters come from."""
        return str, (str.__str__(self),)

    def place(self, offset: int) -> Mark:
        """Return the line and column of the template for the character at `offset`."""
        before, chunk = 0, None
        for chunk in self.chunks:
            if offset < before + len(chunk):
                break
            before += len(chunk)
        if chunk is None:
            return self._mark("", 0)
        inside = min(offset - before, len(chunk)) if not chunk.value else 0
        return self._mark(chunk.template, chunk.offset + inside)

    def with_number(self, offset: int) -> Rendered | None:
        """Return the text with the unknown value at `offset` written as a number, or None if there is no such value."""
        before = 0
        for index, chunk in enumerate(self.chunks):
            if before == offset and chunk.unknown and chunk == _UNKNOWN_LITERALS[0]:
                number = type(chunk)(_UNKNOWN_LITERALS[1])
                number.__dict__.update(chunk.__dict__)
                return _join_chunks((*self.chunks[:index], number, *self.chunks[index + 1 :]), self._mark)
            before += len(chunk)
        return None


def _join_chunks(chunks: Iterable[Chunk], mark: Callable[[str, int], Mark]) -> Rendered:
    kept = tuple(chunk for chunk in chunks if chunk)
    made = Rendered("".join(kept))
    made.chunks, made._mark = kept, mark
    return made


class Templates:
    """Templates of the given folders; each is read and compiled once. Nothing outside of them is read."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folder.resolve() for folder in folders))
        self._files: dict[str, Path] = {}

    def sql(self, name: str, /, **values: Any) -> Rendered:
        """Return the SQL of a template, runner.kinds.base.Render.

        Raises BadTemplateName if it does not exist, and PlanError at the template's line.
        """
        return self.render(name, values)

    def text(self, name: str, /, **values: Any) -> str:
        """Return a plain text: nothing is quoted. Raises PlanError at the template's line."""
        return self._render(self._text, name, values, None)

    def render(self, name: str, values: Mapping[str, Any], at: At | None = None) -> Rendered:
        """Return SQL whose every value is whole tokens. `at` is for an Inline text, see At. Raises PlanError."""
        rendered = self._render(self._sql, name, values, at)
        self._check_values(rendered)
        return rendered

    def probe(self, name: str, values: Mapping[str, Any], at: At | None = None, *, truth: bool = True) -> Rendered:
        """Render with a stand-in for each UNKNOWN; every test of one gives `truth`. Raises PlanError."""
        return self.render(name, stand_in(values, truth), at)

    def source(self, name: str) -> str:
        """Return the source of a template. Raises BadTemplateName if there is none."""
        inline = self._inline_source(name)
        return self._read(name) if inline is None else inline

    def missing_names(self, name: str, values: Mapping[str, Any], at: At | None = None) -> list[Problem]:
        """Return a problem for every name that the template uses and `values` does not give.

        Raises BadTemplateName when there is no such template.
        """
        inline = self._inline_source(name)
        mark = self._marker(self._sql, name, inline, at)
        try:
            faults = list(self._sql.missing_names(_key(name), inline, values))
        except PlanrunError as exc:
            return [_problem(exc, _key(name), mark)]
        return sorted({Problem(mark(f.template, f.offset), f.message, f.hint, code=f.code) for f in faults})

    # -------------------------------------------------------------- inside

    @cached_property
    def _sql(self) -> Sandbox:
        from runner.safesql.sandbox import Sandbox

        return Sandbox(self._read, _finish_sql, _SQL_FILTERS)

    @cached_property
    def _text(self) -> Sandbox:
        from runner.safesql.sandbox import Sandbox

        return Sandbox(self._read, _finish_text, _TEXT_FILTERS)

    def _render(self, sandbox: Sandbox, name: str, values: Mapping[str, Any], at: At | None) -> Rendered:
        inline = self._inline_source(name)
        mark = self._marker(sandbox, name, inline, at)
        try:
            chunks = sandbox.chunks(_key(name), inline, values)
        except PlanrunError as exc:
            raise PlanError(_problem(exc, _key(name), mark)) from None
        return _join_chunks(chunks, mark)

    def _inline_source(self, name: str) -> str | None:
        """Return the source of an inline template, None for a file. Raises BadTemplateName when there is none."""
        if isinstance(name, Inline):
            return str.__str__(name)
        if name not in self._files:
            self._files[name] = self._find(name)
        return None

    def _marker(self, sandbox: Sandbox, name: str, inline: str | None, at: At | None) -> Callable[[str, int], Mark]:
        def mark(template: str, offset: int) -> Mark:
            if template:
                return _mark(self._display_name(template), sandbox.sources.get(template, ""), offset)
            if at and inline is not None:
                return at(inline, offset)
            return _mark("text" if inline is not None else self._display_name(_key(name)), inline or "", offset)

        return mark

    def _check_values(self, rendered: Rendered) -> None:
        from runner.safesql import whole_tokens
        from runner.safesql.syntax import BadSql

        spans, end = [], 0
        for chunk in rendered.chunks:
            start, end = end, end + len(chunk)
            if chunk.value:
                spans.append(whole_tokens.Span(start + len(chunk) - len(chunk.lstrip()), end, start))
        try:
            whole_tokens.check(rendered, spans)
        except BadSql as exc:
            raise PlanError(Problem(rendered.place(exc.offset), exc.message, exc.hint, code="PR0306")) from None

    def _read(self, name: str) -> str:
        path = self._files[name] = self._find(name)
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
            text = raw.decode("utf-8-sig")
        except OSError as exc:
            raise BadTemplateName(f"cannot read the template {name!r}: {exc.strerror}") from None
        except UnicodeDecodeError as exc:
            raise BadTemplateName(f"the template {name!r} is not UTF-8: byte {exc.start}") from None
        if len(raw) > MAX_BYTES:
            raise BadTemplateName(f"the template {name!r} is larger than {MAX_BYTES // 1024**2} MiB")
        return text

    def _find(self, name: str) -> Path:
        parts = name.split("/")
        if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
            hint = "give a path under the sql/ folder, such as checks/orders.sql"
            raise BadTemplateName(f"{name!r} is not a template's name", hint=hint)
        found = [path for folder in self._folders if (path := _inside(folder, name))]
        if len(found) > 1:
            # a user's file must not replace one of planrun's own
            raise BadTemplateName(f"the template {name!r} is in two folders", hint=f"rename {found[0]}")
        if not found:
            raise BadTemplateName(f"there is no template {name!r}", hint=self._similar(name))
        return found[0]

    def _similar(self, name: str) -> str:
        from runner.safesql.sandbox import near

        own = [folder for folder in self._folders if folder.is_dir()][:1]
        known = [path.relative_to(own[0]).as_posix() for path in own[0].rglob("*.*")][:1000] if own else []
        return near(name, known) if known else "templates are in the folder sql/ at the root of the plan"

    def _display_name(self, name: str) -> str:
        path = self._files.get(name, Path(name))
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _inside(folder: Path, name: str) -> Path | None:
    """Return the file if it exists. Raises BadTemplateName if a symlink leads out of the folder."""
    try:
        real = (folder / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # ValueError: half of a surrogate pair
        return None
    if not real.is_relative_to(folder):
        raise BadTemplateName(
            f"the template {name!r} is a link to a file outside of {folder}", hint="copy the file into the folder"
        )
    return real if real.is_file() else None


def _key(name: str) -> str:
    return "" if isinstance(name, Inline) else name


def _mark(file: str, source: str, offset: int) -> Mark:
    before = source[:offset]
    return Mark(file, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _problem(exc: PlanrunError, name: str, mark: Callable[[str, int], Mark]) -> Problem:
    from runner.safesql.sandbox import TemplateFault

    where = mark(exc.template, exc.offset) if isinstance(exc, TemplateFault) else mark(name, 0)
    return Problem(where, exc.message, exc.hint, code=exc.code)


# ------------------------------------------------------------------ how a value is printed


def _finish_sql(value: Any) -> tuple[str, bool]:
    """Return the SQL of a printed value, and whether it is unknown."""
    if isinstance(value, SqlText):
        return value, False
    if has_stand_in(value):
        return _UNKNOWN_LITERALS[0], True
    return literal(value), False


def _finish_text(value: Any) -> tuple[str, bool]:
    if isinstance(value, bool):
        return ("true" if value else "false"), False
    if not isinstance(value, str | int | float | StandIn):
        raise UnsafeValue(f"a value of type {type(value).__name__} has no plain text", hint="name one of its fields")
    return str(value), False


def _ident(name: Any) -> SqlText:
    return ident(fill_standins(name))


def _idents(names: Any) -> SqlText:
    return idents([NAME] if isinstance(names, StandIn) else fill_standins(names))


def _literal(value: Any) -> Any:
    return value if has_stand_in(value) else literal(value)


def _literals(values: Any) -> SqlText:
    return literals([NAME] if isinstance(values, StandIn) else fill_standins(values))


def _qualify(table: Any) -> SqlText:
    """`{{ table|qualified }}`: the name of a value with `schema` and `name`."""
    if isinstance(table, StandIn):
        return qualified(NAME, NAME)
    if not isinstance(table, Mapping) or "schema" not in table or "name" not in table:
        raise UnsafeValue("`qualified` needs a table: a value with `schema` and `name`", hint="use `ident` for a name")
    return qualified(fill_standins(table["schema"]), fill_standins(table["name"]))


_SQL_FILTERS: Mapping[str, Callable[..., Any]] = {
    "ident": _ident,
    "idents": _idents,
    "literal": _literal,
    "literals": _literals,
    "qualified": _qualify,
}
_TEXT_FILTERS: Mapping[str, Callable[..., Any]] = {
    "join": lambda values, by="": str(by).join(str(value) for value in values),
    "ljust": lambda value, width: str(value).ljust(width),
    "rjust": lambda value, width: str(value).rjust(width),
}
