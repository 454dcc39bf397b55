"""The JSON schema (2020-12) of a plan and of a template file, derived from the Params of every kind.

There are two forms. Editors get `anyOf` of closed steps, so that they complete kinds and their fields; every value may
be a `${...}` text. planrun's own checks use `frame` for what all steps share and one closed schema for the `with:` of
each kind, so that one mistake gives one message.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from runner import kinds, resources
from runner.kinds.base import LIMIT_WORDS, hints_of, word
from runner.language import source
from runner.model import MOMENTS
from runner.units import DURATION, END, SIZE

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME = f"^[a-z][a-z0-9_]*{END}"
RESERVED = (
    "params", "env", "item", "steps", "inputs", "run", "on_success", "on_failure", "on_exit",
    "true", "false", "none", "and", "as", "assert", "async",
    "await", "break", "class", "continue", "def", "del", "elif", "else", "except", "finally", "for", "from",
    "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "null", "or", "pass", "raise", "return",
    "try", "while", "with", "yield",
)  # fmt: skip
REFERENCE = r"\$\{[^}]+\}"
VARIABLE = r"^\$\{ *env\.[A-Za-z_][A-Za-z0-9_]* *\}" + END
"""A value that is one variable of the environment, as secrets are."""
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
TYPE = f"^({'|'.join(TYPES)}){END}"
RETRY_ON = ("lock", "deadlock", "connection", "timeout")

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", Path: "string"}
_OWN_WORDS = {"path", "written", "connection", "unit", "none", "place"}


# ------------------------------------------------------------------ types and params


def of_type(hint: Any) -> Schema:
    """Return the schema of one Python type. Raises TypeError for a type that a plan cannot hold."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (tuple, list):
        return {"type": "array", "items": of_type(args[0])}
    if origin in (Union, UnionType):
        return _union([of_type(arg) for arg in args])
    if hint is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        values = of_type(args[1]) if args else {}
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    raise TypeError(f"no JSON schema for {hint!r}")


def _union(parts: list[Schema]) -> Schema:
    """Join alternatives into one flat schema, so that a mistake has one message and not one per alternative."""
    if any("enum" in part for part in parts) and all("enum" in p or p.get("type") in _WORDS for p in parts):
        return {"enum": [one for part in parts for one in part.get("enum", _WORDS.get(part.get("type", ""), []))]}
    if all("type" in part for part in parts):
        words = {k: v for part in parts for k, v in part.items() if k != "type"}
        return {"type": [part["type"] for part in parts], **words}
    return {"anyOf": parts}


_WORDS: dict[str, list[Any]] = {"boolean": [True, False], "null": [None]}


@cache
def _params_schema(params: type) -> Schema:
    fields = dataclasses.fields(params)
    missing = dataclasses.MISSING
    required = [word(f) for f in fields if f.default is missing and f.default_factory is missing]
    return _closed_object({word(f): _of_field(f, hints_of(params)[f.name]) for f in fields}, required)


def params_schema(params: type, *, refs: bool = False) -> Schema:
    """Return the schema of a kind's `with:`; with `refs`, every value may be a `${...}` text."""
    found = _params_schema(params)
    return with_references(found) if refs else found


def _of_field(field: dataclasses.Field[Any], hint: Any) -> Schema:
    words = dict(field.metadata)
    if unknown := set(words) - LIMIT_WORDS - _OWN_WORDS - {"description"}:
        raise TypeError(f"param {field.name}: unknown words {sorted(unknown)}")
    made = of_type(hint)
    if unit := words.get("unit"):
        types = made["type"] if isinstance(made["type"], list) else [made["type"]]
        made |= {"type": [*types, "string"], "pattern": DURATION if unit == "duration" else SIZE}
    if isinstance(words.get("items"), Mapping):
        words["items"] = {**made.get("items", {}), **words["items"]}
    made |= {k: v for k, v in words.items() if k not in _OWN_WORDS}
    if field.default is not dataclasses.MISSING and field.default is not None:
        made["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    return made


def _closed_object(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return made | ({"required": required} if required else {})


def declared_schema(declared: Any, *, refs: bool = False) -> Schema:
    """Return the schema of the values of `params:` or `inputs:` declarations (JSON schema words of their own)."""
    if not isinstance(declared, Mapping):
        return {"type": "object"}
    entries = {k: v for k, v in declared.items() if isinstance(v, Mapping)}
    required = [name for name, entry in entries.items() if is_required(entry)]
    made = _closed_object({name: value_schema(entry) for name, entry in entries.items()}, required)
    return with_references(made) if refs else made


def value_schema(entry: Mapping[str, Any]) -> Schema:
    """Return the schema of one declared value."""
    return {k: v for k, v in entry.items() if k != "required"}


def types_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the JSON types that a declared value may have."""
    types = entry.get("type", list(TYPES))
    return [types] if isinstance(types, str) else list(types)


def is_required(entry: Mapping[str, Any]) -> bool:
    """Return whether a value must be given: it has no default, and `required: false` does not allow null."""
    return "default" not in entry and entry.get("required") is not False


def with_references(schema: Schema) -> Schema:
    """Return the schema with `${...}` allowed in place of any value that is not a text anyway."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: or_reference(part) for name, part in made["properties"].items()}
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = or_reference(made["additionalProperties"])
    if isinstance(made.get("items"), dict):
        made["items"] = or_reference(made["items"])
    return made


def or_reference(schema: Schema) -> Schema:
    made = with_references(schema)
    if not {"type", "enum", "anyOf"} & set(made):
        return made
    if "enum" in made or "anyOf" in made:
        keep = {k: v for k, v in made.items() if k in ("title", "description", "default", "examples")}
        core = {k: v for k, v in made.items() if k not in keep}
        return {**keep, "anyOf": [core, {"$ref": "#/$defs/reference"}]}
    types = made["type"] if isinstance(made["type"], list) else [made["type"]]
    if "string" not in types:
        return {**made, "type": [*types, "string"], "pattern": REFERENCE}
    return {**made, "pattern": f"{made['pattern']}|{REFERENCE}"} if "pattern" in made else made


# ------------------------------------------------------------------ what steps and plans have in common

_NAME: Schema = {"type": "string", "pattern": NAME, "maxLength": 63}
_DURATION: Schema = {"type": ["number", "string"], "pattern": f"{DURATION}|{REFERENCE}", "exclusiveMinimum": 0}

ID: Schema = {
    **_NAME,
    "not": {"enum": list(RESERVED)},
    "description": "Name of the step in guards, references and reports: lower case letters, digits and _.",
}
RETRY: Schema = {
    "type": "object",
    "additionalProperties": False,
    "description": "Try again after a temporary failure.",
    "properties": {
        "attempts": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 3,
            "description": "The total number of attempts.",
        },
        "delay": {**_DURATION, "default": "1s", "description": "Wait this long before the next attempt."},
        "on": {
            "type": "array",
            "items": {"enum": list(RETRY_ON)},
            "uniqueItems": True,
            "minItems": 1,
            "default": ["lock", "deadlock", "connection"],
            "description": "The kinds of failure that are tried again.",
        },
    },
}
COMMON: dict[str, Schema] = {
    "id": ID,
    "description": {"type": "string", "description": "What the step is for, shown in diffs and reports."},
    "when": {
        "type": ["string", "boolean"],
        "minLength": 1,
        "description": "Guard over the results of earlier steps, such as `save.ok` or `detect.count > 0 and not"
        " ask.failed`. Without it every earlier step must be ok or warned.",
    },
    "on_error": {
        "enum": ["fail", "warn"],
        "default": "fail",
        "description": "`warn` lets later steps run even if this one failed; its own `ok` stays false.",
    },
    "acknowledge": {
        "type": "string",
        "minLength": 1,
        "maxLength": 500,
        "description": "Why this step may remove something that no backup protects, or why SQL that is known only"
        " during the run removes nothing. The journal keeps the reason.",
    },
    "retry": RETRY,
    "timeout": {**_DURATION, "description": "Cancel the step after this time, such as `5min` or a number of seconds."},
    "for_each": {
        "type": ["string", "array"],
        "minLength": 1,
        "minItems": 1,
        "description": "Run once for every item of a list, such as `detect.tables`; `${item}` is the item.",
    },
    "jobs": {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 1000,
        "pattern": REFERENCE,
        "default": 1,
        "description": "How many items of `for_each` run at the same time.",
    },
}
USES: Schema = {
    "type": "string",
    "minLength": 1,
    "description": "A kind, a bundled template, or a template file such as `./steps/nightly.yml`.",
}
WITH: Schema = {"type": "object", "description": "The parameters of the kind or template."}
DECLARATION: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {
            "description": "JSON type of the value, or a list of them.",
            "type": ["string", "array"],
            "pattern": TYPE,
            "items": {"enum": list(TYPES)},
            "minItems": 1,
        },
        "default": {"description": "The value if none is given; without a default, a value is required."},
        "description": {"type": "string", "description": "What the value is for."},
        "enum": {"type": "array", "minItems": 1, "description": "The allowed values."},
        "required": {"type": "boolean", "description": "`false`: the value is null if none is given."},
        "minimum": {"type": "number", "description": "The smallest allowed number."},
        "maximum": {"type": "number", "description": "The largest allowed number."},
        "minLength": {"type": "integer", "minimum": 0, "description": "The minimum length of a text."},
        "pattern": {"type": "string", "description": "A regular expression that a text must match."},
        "minItems": {"type": "integer", "minimum": 0, "description": "The minimum length of a list."},
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"type": {"enum": list(TYPES)}},
            "description": "The type of each item of a list.",
        },
    },
}
DECLARATIONS: Schema = {
    "type": "object",
    "propertyNames": _NAME,
    "additionalProperties": {"$ref": "#/$defs/declaration"},
}
_STEPS: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}
LIBPQ = (
    "host", "hostaddr", "port", "dbname", "user", "service", "passfile", "require_auth", "channel_binding",
    "connect_timeout", "client_encoding", "options", "application_name", "fallback_application_name", "keepalives",
    "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode", "sslmode",
    "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir",
    "sslsni", "requirepeer", "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib",
    "target_session_attrs", "load_balance_hosts", "min_protocol_version", "max_protocol_version",
)  # fmt: skip
"""The libpq parameters, without those that contain a secret, forward credentials or start replication."""

CONNECTIONS: Schema = {
    "type": "object",
    "propertyNames": _NAME,
    "description": "Databases by name, each with libpq parameters such as `service`, `host`, `dbname`. Never a"
    " password: use a service file, a passfile, or PLANRUN_<NAME>_URL in the environment.",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "properties": {word: {"type": ["string", "integer"]} for word in LIBPQ},
    },
}
_VARIABLE: Schema = {"type": "string", "pattern": VARIABLE}
RECIPIENT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "url": {
            **_VARIABLE,
            "description": "A URL of Apprise in a variable, `${env.SLACK_URL}`: Slack, mail, ntfy ...",
        },
        "webhook": {**_VARIABLE, "description": "An http(s) URL in a variable; it gets a JSON document by POST."},
        "ping": {
            **_VARIABLE,
            "description": "The URL of a dead-man check, as healthchecks.io has them, in a variable.",
        },
        "secret": {**_VARIABLE, "description": "The key, in a variable, that signs what a webhook gets."},
        "on": {
            "type": "array",
            "items": {"enum": list(MOMENTS)},
            "uniqueItems": True,
            "minItems": 1,
            "description": "When to tell it. Without it: a `url` of each failure, the others of every start and end.",
        },
        "template": {
            "type": "string",
            "minLength": 1,
            "description": "A text file beside this file (a Jinja template) that words the message.",
        },
        "timeout": {
            "type": ["number", "string"],
            "pattern": DURATION,
            "exclusiveMinimum": 0,
            "maximum": 300,
            "default": "20s",
            "description": "How long one message may take, with all attempts.",
        },
    },
    "oneOf": [{"required": [key]} for key in ("url", "webhook", "ping")],
}
PLAN_KEYS: dict[str, Schema] = {
    "name": {
        "type": "string",
        "minLength": 1,
        "maxLength": 100,
        "description": "Name of the plan in journals and reports.",
    },
    "description": {"type": "string", "description": "What the plan is for."},
    "extends": {
        "type": "string",
        "minLength": 1,
        "description": "A plan file to extend, relative to this file. Mappings merge; lists and scalars replace.",
    },
    "connections": CONNECTIONS,
    "params": {
        **DECLARATIONS,
        "description": "Values that `--set name=value` can set; the plan uses them as `${params.name}`.",
    },
    "backup": {
        "type": "object",
        "description": "Settings of the `backup` steps; without `steps`, the plan is one such step.",
    },
    "steps": {**_STEPS, "description": "What to do, in order."},
    "rollback": {**_STEPS, "description": "What `planrun rollback` does."},
    "on_success": {
        **_STEPS,
        "description": "Steps that run when a run has succeeded. They see `run.state`, `run.seconds` and so on, and"
        " cannot change how the run ended.",
    },
    "on_failure": {**_STEPS, "description": "Steps that run when a run has failed or was interrupted."},
    "on_exit": {**_STEPS, "description": "Steps that run when a run has ended, however it ended."},
    "notify": {
        "type": "array",
        "minItems": 1,
        "items": RECIPIENT,
        "description": "Who is told of runs: services by Apprise, webhooks, dead-man pings.",
    },
    "protected": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "uniqueItems": True,
        "description": "Tables that no SQL of this plan may drop, empty or rewrite, `name` or `schema.name`.",
    },
    "journal": {
        "type": "string",
        "pattern": r"^(database|file|\.{0,2}/.+|~/.+)" + END,
        "description": "Where planrun records runs: `database`, `file`, or the path of a JSON Lines file.",
    },
}
TEMPLATE_KEYS: dict[str, Schema] = {
    "name": PLAN_KEYS["name"],
    "description": {
        "type": "string",
        "description": "What the template is for; editors show it where the template is used.",
    },
    "inputs": {
        **DECLARATIONS,
        "description": "Values that a step gives in `with:`; the template uses them as `${inputs.name}`.",
    },
    "outputs": {
        "type": "object",
        "propertyNames": _NAME,
        "description": "What the template gives to later steps, such as `${steps.dump.session}`.",
    },
    "steps": PLAN_KEYS["steps"],
}


def frame(*, template: bool = False) -> Schema:
    """Return the schema that every plan (or template file) must fit, whatever its steps use."""
    step = _closed_object({**COMMON, "uses": USES, "with": WITH, "steps": _STEPS}, ["id"])
    # runner.language.connections and .notifications check these: an error from here would quote a password
    plan_keys = {**PLAN_KEYS, "connections": {"type": "object"}, "notify": {"type": "array", "minItems": 1}}
    keys = _closed_object(TEMPLATE_KEYS if template else plan_keys, ["steps"] if template else [])
    return {**keys, "$defs": {"step": step, "declaration": DECLARATION}}


# ------------------------------------------------------------------ what editors read


@cache
def bundled_templates() -> Mapping[str, Path]:
    """Return the template files that come with planrun, by the name that `uses:` calls them."""
    return {path.stem: path for path in sorted((resources.PLANS / "steps").glob("*.yml"))}


def first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _step_of_kind(name: str) -> Schema:
    kind = kinds.get(name)
    return _branch(name, (kind.__doc__ or "").strip(), params_schema(kind.Params, refs=True))


def _step_of_template(name: str, path: Path) -> Schema:
    data = source.read(path, path.name)[0].data
    return _branch(name, str(data.get("description", "")).strip(), declared_schema(data.get("inputs", {}), refs=True))


def _branch(name: str, doc: str, values: Schema) -> Schema:
    uses = {"const": name, "description": doc}
    properties = {**_common_refs(), "uses": uses, "with": {"description": f"Parameters of `{name}`.", **values}}
    required = ["id", "uses", *(["with"] if values.get("required") else [])]
    return {"title": name, "description": first_line(doc), **_closed_object(properties, required)}


def _common_refs() -> dict[str, Schema]:
    return {key: {"$ref": f"#/$defs/{key}"} for key in COMMON}


def _group() -> Schema:
    properties = {**_common_refs(), "steps": PLAN_KEYS["steps"]}
    return {
        "title": "group",
        "description": "A group of steps.",
        **_closed_object(properties, ["id", "steps"]),
    }


def _template_step() -> Schema:
    uses = {
        "type": "string",
        "pattern": r"^\.{1,2}/.+\.ya?ml" + END,
        "description": "A template file, relative to this file.",
    }
    properties = {**_common_refs(), "uses": uses, "with": {**WITH, "description": "The inputs of the template."}}
    return {
        "title": "template",
        "description": "The steps of a template file.",
        **_closed_object(properties, ["id", "uses"]),
    }


def _definitions() -> Schema:
    templates = {name: _step_of_template(name, path) for name, path in bundled_templates().items()}
    branches = {name: _step_of_kind(name) for name in kinds.names()} | templates
    made = {f"step_{name}": branches[name] for name in sorted(branches)}
    made |= {"step_group": _group(), "step_template": _template_step()}
    return {
        "reference": {"type": "string", "pattern": REFERENCE},
        "declaration": _declaration(),
        **COMMON,
        "step": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in made]},
        **made,
    }


def _declaration() -> Schema:
    """A declaration whose `type` an editor completes."""
    types = {"enum": list(TYPES)}
    choice = {"anyOf": [types, {"type": "array", "items": types, "minItems": 1}]}
    kind = {"description": DECLARATION["properties"]["type"]["description"], **choice}
    return {**DECLARATION, "properties": {**DECLARATION["properties"], "type": kind}}


def plan_schema() -> Schema:
    """Return the published schema of a plan file. The same input gives the same text, key order included."""
    keys = dict(PLAN_KEYS)
    definitions = _definitions()
    if "step_backup" in definitions:
        settings = {k: v for k, v in definitions["step_backup"]["properties"]["with"].items() if k != "required"}
        keys["backup"] = {**settings, "description": PLAN_KEYS["backup"]["description"]}
    head = {"$schema": DIALECT, "title": "planrun plan", "description": "A PostgreSQL operation, step by step."}
    one_of = {"anyOf": [{"required": [key]} for key in ("steps", "backup", "extends")]}
    return {**head, **_closed_object(keys, []), **one_of, "$defs": definitions}


def template_schema() -> Schema:
    """Return the published schema of a template file."""
    head = {"$schema": DIALECT, "title": "planrun template", "description": "Steps with declared inputs and outputs."}
    return {**head, **_closed_object(TEMPLATE_KEYS, ["steps"]), "$defs": _definitions()}


def as_text(made: Schema) -> str:
    """Return a schema as the text of its committed file."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
