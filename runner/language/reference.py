"""Generate docs/reference.md: every kind and template with parameters and outputs, the keys, the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from runner import errors, kinds
from runner.kinds.base import Output
from runner.language import schema, source
from runner.units import DURATION, SIZE

HEAD = """# Reference

`planrun reference` generates this page from the parameters of the kinds. Edit those, not this page.

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
    (errors.PlanrunError, "the run failed; the state is known and printed, with the next command to type"),
    (2, "only `diff --detailed-exitcode` and `fmt --check`: there is something to do"),
    (3, "partly done (`--keep-going`)"),
    (errors.ConnectError, "cannot connect, or the server refuses the role"),
    (errors.PlanError, "the plan, a template or a guard is invalid"),
    (errors.VerifyError, "verification failed: data does not match, or a backup does not restore"),
    (errors.LockedError, "another run holds the lock; the message says which"),
    (errors.UsageError, "wrong usage of the command line"),
    (70, "a bug in planrun; the message says where the trace was saved"),
    (errors.UnknownStateError, "the state is unknown and a person must check; the message says where"),
    (130, "interrupted by Ctrl-C (SIGINT)"),
    (143, "terminated (SIGTERM)"),
)


def page() -> str:
    """Return the page as Markdown. The same kinds give the same text."""
    parts = [HEAD, _plan_keys(), _step_keys(), STATES]
    parts.append("\n## Kinds\n")
    parts += [_kind(name) for name in kinds.names()]
    if schema.bundled():
        parts.append("\n## Templates that come with planrun\n")
        parts += [_template(name) for name in schema.bundled()]
    return "".join([*parts, _exit_codes()])


def _plan_keys() -> str:
    rows = ((f"`{key}`", _doc(part)) for key, part in schema.PLAN_KEYS.items())
    return "\n## Keys of a plan\n\n" + _table(("key", "what"), rows)


def _step_keys() -> str:
    rows: list[tuple[str, str, str]] = [(f"`{k}`", _default(v), _doc(v)) for k, v in schema.COMMON.items()]
    rows += [(f"`{k}`", "", _doc(v)) for k, v in (("uses", schema.USES), ("with", schema.WITH))]
    rows.append(("`steps`", "", "Nested steps: the step is a group and has no `uses`."))
    retry = schema.RETRY["properties"]
    rows += [(f"`retry.{k}`", _default(v), _doc(v)) for k, v in retry.items()]
    return "\n## Keys of a step\n\n" + _table(("key", "default", "what"), rows)


def _kind(name: str) -> str:
    kind = kinds.get(name)
    params = schema.params_schema(kind.Params)
    return _section(name, (kind.__doc__ or "").strip(), params, kind.OUTPUTS)


def _template(name: str) -> str:
    path = schema.bundled()[name]
    data = source.read(path, path.name)[0].data
    outputs = {
        key: Output("", str(value.get("description", "")) if isinstance(value, Mapping) else "")
        for key, value in data.get("outputs", {}).items()
    }
    doc = str(data.get("description", "")).strip()
    return _section(name, doc, schema.declared_schema(data.get("inputs", {})), outputs)


def _section(name: str, doc: str, params: Mapping[str, Any], outputs: Mapping[str, Output]) -> str:
    text = f"\n### {name}\n\n{doc}\n"
    properties = params.get("properties", {})
    if properties:
        required = params.get("required", [])
        rows = (
            (f"`{key}`", _type(part), "required" if key in required else _default(part), _doc(part))
            for key, part in properties.items()
        )
        text += "\n" + _table(("with", "type", "default", "what"), rows)
    if outputs:
        rows_ = ((f"`{key}`", output.type, _output_doc(output)) for key, output in outputs.items())
        text += "\n" + _table(("gives", "type", "what"), rows_)
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


def _exit_codes() -> str:
    rows = ((str(code if isinstance(code, int) else code.exit_code), meaning) for code, meaning in _CODES)
    return "\n## Exit codes\n\n" + _table(("code", "meaning"), rows)
