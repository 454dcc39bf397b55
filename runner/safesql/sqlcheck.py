"""Check `sql`, `query` and `check` steps offline: values, template and SQL, each problem with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner.errors import Mark, PlanError, PlanrunError, Problem
from runner.language.source import Place
from runner.model import UNKNOWN
from runner.safesql import syntax
from runner.safesql.templates import BadTemplateName, Rendered, Templates
from runner.sqltext import Inline

KINDS = ("sql", "query", "check")
_NUMBERS = 200
"""How many unknown values of one template are tried as a number where a string constant does not fit."""


def check_step_sql(kind: str, data: Any, place: Place, templates: Templates) -> list[Problem]:
    """Return what is wrong with the SQL of a step, in the order of its lines; nothing for other kinds.

    kind: what the step uses. data: its `with:` as the file has it (or resolved, with UNKNOWN): a string with
    `${}` counts as unknown. place: where `data` stands. templates: of the plan's root, kept for all its steps.
    """
    if kind not in KINDS or not isinstance(data, Mapping):
        return []
    text, file = data.get("text"), data.get("file")
    if (text is None) == (file is None):
        return [
            Problem(place.mark, f"`{kind}` takes either `text` or `file`", "give exactly one of them", code="PR0119")
        ]
    if not isinstance(data.get("values", {}), Mapping):
        return []  # the schema reports this already
    values = _unknowns(data.get("values", {}))
    transaction = data.get("transaction") is not False
    found = _text_problems if text is not None else _file_problems
    return sorted(set(found(kind, text if text is not None else file, values, transaction, place, templates)))


def _text_problems(
    kind: str, text: Any, values: Mapping[str, Any], transaction: bool, place: Place, templates: Templates
) -> Iterator[Problem]:
    here = place.part("text") or place
    if text is UNKNOWN:
        yield _fixed_text_problem(here.mark)
    if not isinstance(text, str):
        return
    reference = text.replace("$${", "$$ ").find("${")
    if reference >= 0:
        yield _fixed_text_problem(here.inside(text, reference))
        return
    plain = text.replace("$${", "${")
    if not values:
        yield from syntax.problems(plain, lambda at: here.inside(plain, at), use=kind, transaction=transaction)
        return

    def inside(source: str, offset: int) -> Mark:
        return here.inside(source, offset)

    yield from _template_problems(kind, Inline(plain), values, transaction, templates, inside)


def _fixed_text_problem(where: Mark) -> Problem:
    hint = "give the value under `values:` and write {{ name }}, or {{ name|ident }} for a table or column"
    return Problem(where, "`text` is fixed: ${} has no place in SQL", hint, code="PR0305")


def _file_problems(
    kind: str, file: Any, values: Mapping[str, Any], transaction: bool, place: Place, templates: Templates
) -> Iterator[Problem]:
    if not isinstance(file, str) or _is_reference(file):
        return  # it is known only during the run
    where = (place.part("file") or place).mark
    try:
        yield from _template_problems(kind, file, values, transaction, templates, None)
    except BadTemplateName as exc:
        yield Problem(where, exc.message, exc.hint, code=exc.code)


def _template_problems(
    kind: str, name: str, values: Mapping[str, Any], transaction: bool, templates: Templates, at: Any
) -> Iterator[Problem]:
    """Yield missing names, else the problems of the template's SQL. Raises BadTemplateName if it does not exist."""
    if missing := templates.missing_names(name, values, at):
        yield from missing
        return
    first = _probe(kind, name, values, transaction, templates, at, True)
    # false for every test of an unknown value selects other branches: valid SQL in one of the two ways is enough
    if first and _has_unknown(values) and not _probe(kind, name, values, transaction, templates, at, False):
        return
    yield from first


def _probe(
    kind: str, name: str, values: Mapping[str, Any], transaction: bool, templates: Templates, at: Any, truth: bool
) -> list[Problem]:
    try:
        rendered = templates.probe(name, values, at, truth=truth)
    except PlanError as exc:
        return list(exc.problems)
    except PlanrunError as exc:
        return [Problem(Mark(name, 1, 1), exc.message, exc.hint, code=exc.code)]
    rendered = _with_numbers(rendered)
    return syntax.problems(rendered, rendered.place, use=kind, transaction=transaction)


def _with_numbers(rendered: Rendered) -> Rendered:
    """Write unknown values as numbers where PostgreSQL's grammar needs one, as in SET STATISTICS."""
    for _ in range(_NUMBERS):
        try:
            syntax.statements(rendered)
        except syntax.BadSql as exc:
            if changed := rendered.with_number(exc.offset):
                rendered = changed
                continue
        break
    return rendered


def step_texts(
    data: Mapping[str, Any], place: Place, templates: Templates
) -> Iterator[tuple[str, Callable[[int], Mark]]]:
    """Yield the SQL of a step that check_step_sql finds right, each text with the place of the character at an offset.

    Unknown values are stand-ins; a template with tests of them gives a text for each way. data, place, templates: as
    for check_step_sql.
    """
    text, file, values = data.get("text"), data.get("file"), _unknowns(data.get("values", {}))
    here = place.part("text") or place
    if isinstance(text, str) and not values:
        plain = text.replace("$${", "${")
        yield plain, lambda at: here.inside(plain, at)
        return
    name, at = (Inline(text.replace("$${", "${")), here.inside) if isinstance(text, str) else (file, None)
    if not isinstance(name, str) or (text is None and _is_reference(name)):
        return
    seen = set()
    for truth in (True, False) if _has_unknown(values) else (True,):
        try:
            rendered = _with_numbers(templates.probe(name, values, at, truth=truth))
            syntax.statements(rendered)
        except (PlanrunError, syntax.BadSql):
            continue  # one of the two ways is enough
        if rendered not in seen:
            yield rendered, rendered.place
        seen.add(rendered)


# ------------------------------------------------------------------ values


def _is_reference(text: str) -> bool:
    return "${" in text.replace("$${", "")


def _unknowns(data: Any) -> Any:
    """Return the values with UNKNOWN in place of each `${}`."""
    if isinstance(data, str):
        return UNKNOWN if _is_reference(data) else data.replace("$${", "${")
    if isinstance(data, Mapping):
        return {key: _unknowns(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_unknowns(value) for value in data]
    return data


def _has_unknown(data: Any) -> bool:
    if isinstance(data, Mapping):
        return any(map(_has_unknown, data.values()))
    return any(map(_has_unknown, data)) if isinstance(data, list) else data is UNKNOWN
