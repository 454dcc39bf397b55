"""Generate docs/reference.md: every kind and template with parameters and outputs, the keys, the exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner import errors, kinds
from runner.kinds.base import Output
from runner.language import schema, source
from runner.units import DURATION, SIZE

HEAD = """# Reference

This page lists the keys of a plan, the kinds with their parameters and outputs, and the exit codes.
`planrun reference` generates it from the code. Edit that, not this page.

A value may contain `${params.name}`, `${env.NAME}`, `${item.field}`, `${steps.id.output}`, `${run.id}` and, in a
template, `${inputs.name}`. `$${` stands for a literal `${`. A duration is a number of seconds or a text such as
`250ms`, `30s`, `5min`, `2h`, `30d`; a size is a number of bytes or a text such as `64MB` (1 kB is 1024 bytes).
"""

STATES = """
Every step also gives guards `ok`, `warned`, `failed`, `skipped` (true or false) and `state` (a word). With `for_each`,
a step gives `count` and `results` instead of the outputs of its kind.
"""

_CODES = (
    (0, "done, or nothing to do"),
    (
        errors.PlanrunError,
        "the run failed; the state is known and printed, with the next command to type; or `lint` found something",
    ),
    (2, "only `diff` and `compare` with `--detailed-exitcode`, and `fmt --check`: there is something to do"),
    (3, "partly done (`--keep-going`)"),
    (errors.ConnectError, "cannot connect, or the server refuses the role"),
    (errors.PlanError, "the plan, a template or a guard is invalid"),
    (errors.VerifyError, "verification failed: data does not match, or a backup does not restore"),
    (errors.LockedError, "another run holds the lock; the message says which"),
    (errors.UsageError, "wrong usage of the command line"),
    (69, "planrun does not run on this operating system, Windows: use WSL"),
    (70, "a bug in planrun; the message says where the trace was saved"),
    (errors.UnknownStateError, "the state is unknown and a person must check; the message says where"),
    (130, "interrupted by Ctrl-C (SIGINT)"),
    (143, "terminated (SIGTERM)"),
)


def page() -> str:
    """Return the page as Markdown. The same kinds give the same text."""
    parts = [HEAD, _keys_text(), STATES]
    parts.append("\n## Kinds\n")
    parts += [_section_text(kind_section(name)) for name in kinds.names()]
    if schema.bundled_templates():
        parts.append("\n## Templates that come with planrun\n")
        parts += [_section_text(template_section(name)) for name in schema.bundled_templates()]
    return "".join([*parts, _exit_codes()])


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key, parameter or output. default: as text; "required" if there is none, "" if it does not apply."""

    name: str
    type: str = ""
    default: str = ""
    doc: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A kind or a template with its parameters and outputs."""

    name: str
    doc: str
    params: tuple[Entry, ...]
    outputs: tuple[Entry, ...]


def plan_keys() -> tuple[Entry, ...]:
    """Return the keys of a plan."""
    found = [Entry(name=key, doc=_doc(part)) for key, part in schema.PLAN_KEYS.items()]
    at = next(number for number, entry in enumerate(found) if entry.name == "notify") + 1
    parts = schema.RECIPIENT["properties"].items()
    found[at:at] = [Entry(name=f"notify.{key}", default=_default(part), doc=_doc(part)) for key, part in parts]
    return tuple(found)


def step_keys() -> tuple[Entry, ...]:
    """Return the keys of a step."""
    retry = {f"retry.{key}": part for key, part in schema.RETRY["properties"].items()}
    found = [Entry(name=k, default=_default(v), doc=_doc(v)) for k, v in schema.COMMON.items()]
    found += [Entry(name=k, doc=_doc(v)) for k, v in (("uses", schema.USES), ("with", schema.WITH))]
    found.append(Entry(name="steps", doc="Nested steps: the step is a group and has no `uses`."))
    return (*found, *(Entry(name=k, default=_default(v), doc=_doc(v)) for k, v in retry.items()))


def kind_section(name: str) -> Section:
    """Return the documentation of a kind."""
    kind = kinds.get(name)
    return _section(name, (kind.__doc__ or "").strip(), schema.params_schema(kind.Params), kind.OUTPUTS)


def template_section(name: str) -> Section:
    """Return the documentation of a template that comes with planrun."""
    path = schema.bundled_templates()[name]
    data = source.read(path, path.name)[0].data
    uses = {step["id"]: step.get("uses", "") for step in data["steps"]}
    outputs = {key: _output_of_step(value, uses) for key, value in data.get("outputs", {}).items()}
    doc = str(data.get("description", "")).strip()
    return _section(name, doc, schema.declared_schema(data.get("inputs", {})), outputs)


def _output_of_step(reference: str, uses: Mapping[str, str]) -> Output:
    """Return the output of a kind that an output of a template names, as `${steps.dump.rows}` does.

    uses: the kind of each step of the template, by its id.
    """
    found = _STEP_OUTPUT.fullmatch(reference)
    assert found, f"{reference} is not the output of a step"
    return kinds.get(uses[found[1]]).OUTPUTS[found[2]]


_STEP_OUTPUT = re.compile(r"\$\{steps\.(\w+)\.(\w+)\}")


def _section(name: str, doc: str, params: Mapping[str, Any], outputs: Mapping[str, Output]) -> Section:
    required = params.get("required", [])
    return Section(
        name=name,
        doc=doc,
        params=tuple(
            Entry(
                name=key,
                type=_type(part),
                default="required" if key in required else _default(part),
                doc=_doc(part),
            )
            for key, part in params.get("properties", {}).items()
        ),
        outputs=tuple(Entry(name=key, type=one.type, doc=_output_doc(one)) for key, one in outputs.items()),
    )


def _keys_text() -> str:
    plan = _table(("key", "what"), ((f"`{one.name}`", one.doc) for one in plan_keys()))
    step = _table(("key", "default", "what"), ((f"`{one.name}`", one.default, one.doc) for one in step_keys()))
    return f"\n## Keys of a plan\n\n{plan}\n## Keys of a step\n\n{step}"


def _section_text(section: Section) -> str:
    text = f"\n### {section.name}\n\n{section.doc}\n"
    if section.params:
        rows = ((f"`{one.name}`", one.type, one.default, one.doc) for one in section.params)
        text += "\n" + _table(("with", "type", "default", "what"), rows)
    if section.outputs:
        text += "\n" + _table(("gives", "type", "what"), ((f"`{o.name}`", o.type, o.doc) for o in section.outputs))
    return text


def _output_doc(output: Output) -> str:
    fields = ", ".join(f"`{name}`" for name in output.fields)
    return f"{output.description} Fields: {fields}." if fields else output.description


def _type(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{_json(one)}`" for one in part["enum"])
    if "anyOf" in part:
        return " or ".join(_type(one) for one in part["anyOf"])
    if part.get("pattern") == DURATION:
        return "duration"
    if part.get("pattern") == SIZE:
        return "size"
    types = part.get("type", "any")
    names = types if isinstance(types, list) else [types]
    items = part.get("items", {}).get("type")
    return " or ".join(f"{name} of {items}" if name == "array" and isinstance(items, str) else name for name in names)


def _default(part: Mapping[str, Any]) -> str:
    return f"`{_json(part['default'])}`" if "default" in part else ""


def _doc(part: Mapping[str, Any]) -> str:
    examples = part.get("examples", [])
    shown = f" For example `{_json(examples[0])}`." if examples else ""
    return str(part.get("description", "")) + shown


def _json(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def exit_codes() -> dict[int, str]:
    """Return what each exit code of planrun means, as Markdown."""
    return {code if isinstance(code, int) else code.exit_code: meaning for code, meaning in _CODES}


def _exit_codes() -> str:
    rows = ((str(code), meaning) for code, meaning in exit_codes().items())
    return "\n## Exit codes\n\n" + _table(("code", "meaning"), rows)
