"""Explain a kind, a template, or one of their keys, as text for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import fill

from runner import kinds
from runner.language import schema
from runner.language.reference import Entry, Section, kind_section, plan_keys, step_keys, template_section

WIDTH = 80
"""Columns of a line of prose."""


def explanation(name: str) -> str | None:
    """Return what a name means in a plan, or None if it means nothing.

    name: a kind or template (`find_tables`), a parameter or output of one (`find_tables.prefix`), or a key of a plan or
    a step (`connections`, `retry.on`). A name may mean several of these; each is explained.
    """
    head, _, field = name.partition(".")
    found = [_keys("Key of a plan", plan_keys(), name), _keys("Key of a step", step_keys(), name)]
    if section := _section(head):
        found.append(_field(section, field) if field else _whole(section))
    return "\n".join(filter(None, found)) or None


def names() -> Iterator[str]:
    """Yield every name that can be explained."""
    yield from dict.fromkeys(entry.name for entry in (*plan_keys(), *step_keys()))
    for name in (*kinds.names(), *schema.bundled_templates()):
        section = _section(name)
        assert section
        yield name
        yield from dict.fromkeys(f"{name}.{entry.name}" for entry in (*section.params, *section.outputs))


def _section(name: str) -> Section | None:
    if name in kinds.names():
        return kind_section(name)
    return template_section(name) if name in schema.bundled_templates() else None


def _keys(title: str, entries: Iterable[Entry], name: str) -> str:
    """Return the key of this name; for `retry`, also its own keys."""
    found = [entry for entry in entries if entry.name == name or entry.name.startswith(f"{name}.")]
    return f"{title}:\n{''.join(map(_entry, found))}" if found else ""


def _whole(section: Section) -> str:
    parts = [f"{section.name}: {section.doc}\n"]
    if section.params:
        parts.append("with:\n" + "".join(map(_entry, section.params)))
    if section.outputs:
        parts.append("gives:\n" + "".join(map(_entry, section.outputs)))
    return "\n".join(parts)


def _field(section: Section, field: str) -> str:
    params = [entry for entry in section.params if entry.name == field]
    outputs = [entry for entry in section.outputs if entry.name == field]
    texts = [f"Parameter of {section.name}:\n{_entry(one)}" for one in params]
    return "\n".join(texts + [f"Output of {section.name}:\n{_entry(one)}" for one in outputs])


def _entry(entry: Entry) -> str:
    default = entry.default if entry.default in ("", "required") else f"default {entry.default}"
    facts = ", ".join(filter(None, (entry.type, default)))
    head = f"  {entry.name}" + (f" ({facts})" if facts else "")
    doc = fill(entry.doc, WIDTH, initial_indent="      ", subsequent_indent="      ", break_long_words=False)
    return f"{head}\n{doc}\n" if entry.doc else f"{head}\n"
