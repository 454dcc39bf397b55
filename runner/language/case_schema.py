"""The JSON schema (2020-12) of a file of cases: what `planrun test` checks, and what editors read."""

from __future__ import annotations

from typing import Any

from runner.language.schema import DIALECT, NAME, REFERENCE, Schema, or_reference
from runner.units import DURATION, END, TEXT_FILE

VERBS = ("apply", "diff", "rollback", "resume", "abort")
FAULTS = ("error", "connection", "lock", "kill", "exit")
STATES = ("ok", "failed", "paused", "interrupted", "refused", "declined", "cut off")
STEP_STATES = ("ok", "warned", "failed", "skipped", "would run", "unknown until run", "cut off")

_CODE = f"^PR[0-9]{{4}}{END}"
_NAME: Schema = {"type": "string", "pattern": NAME, "maxLength": 63}
_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"type": ["string", "array"], "items": _TEXT, "minLength": 1, "minItems": 1}
_CELL: Schema = {"type": ["string", "number", "boolean", "null", "array", "object"]}


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": list(required)} if required else {}) | more


def _mapping(values: Schema, description: str) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


FIXTURE: Schema = _object(
    {
        "like": {**_TEXT, "description": "A file or folder that pg_dump wrote; it is restored first."},
        "file": {**_TEXTS, "description": "SQL files, run in this order. Paths start at the file of the case."},
        "sql": {**_TEXT, "description": "SQL, run last."},
    },
    type=["string", "object"],
    minLength=1,
    minProperties=1,
    description="What the database holds before the run: SQL, or where it comes from.",
)
FAIL: Schema = _object(
    {
        "step": {**_TEXT, "description": "The path of the step, such as `prepare.load`."},
        "with": {
            "enum": list(FAULTS),
            "description": "`error`: the step fails before it does anything. `connection`: the databases are cut off"
            " while it works. `lock`: another session holds a lock on `table`. `kill`: planrun gets SIGKILL when the"
            " step begins. `exit`: its program is replaced by one that ends with `code`.",
        },
        "table": {**_TEXT, "description": "lock: the table, `name` or `schema.name`."},
        "on": {**_NAME, "description": "connection, lock: the connection whose database it is."},
        "hold": {
            "type": ["number", "string"],
            "pattern": DURATION,
            "exclusiveMinimum": 0,
            "description": "lock: let it go after this time; by default, when the step has ended.",
        },
        "code": {"type": "integer", "minimum": 1, "maximum": 255, "default": 1, "description": "exit: the exit code."},
        "times": {
            "type": "integer",
            "minimum": 1,
            "description": "How many attempts of the step fail; by default, each one of this run.",
        },
        "after": {
            "type": "boolean",
            "default": False,
            "description": "kill: when the first action of the step is done and recorded, not before.",
        },
    },
    "step",
    "with",
    description="Make a step fail.",
)
_TEXT_CHECK: Schema = _object(
    {
        "contains": {**_TEXTS, "description": "Texts that it contains."},
        "lacks": {**_TEXTS, "description": "Texts that it does not contain."},
        "file": {
            "type": "string",
            "pattern": TEXT_FILE,
            "description": "A file that holds the whole text; `--update` writes it. Its name ends in .txt or .md.",
        },
    },
    minProperties=1,
)
_STEP: Schema = _object(
    {
        "state": {"enum": list(STEP_STATES), "description": "How it ended."},
        "error": {"type": "string", "pattern": _CODE, "description": "The code of its error."},
        "message": {**_TEXT, "description": "A text that its message contains."},
    },
    type=["string", "object"],
    pattern=f"^({'|'.join(STEP_STATES)}){END}",
    minProperties=1,
)
OUTCOME: dict[str, Schema] = {
    "exit_code": {"type": "integer", "minimum": 0, "maximum": 255, "description": "The exit code of the command."},
    "state": {"enum": list(STATES), "description": "How the run ended; `cut off` is that of a killed one."},
    "error": {"type": "string", "pattern": _CODE, "description": "The code of the error that ended it."},
    "message": {**_TEXT, "description": "A text that the error message contains."},
    "steps": _mapping(_STEP, "How steps ended, by path: a state, or `{state, error, message}`."),
    "diff": {**_TEXT_CHECK, "description": "The diff that was shown before the run, as text."},
    "report": {**_TEXT_CHECK, "description": "What the command prints at its end, as text."},
}
_QUERY: Schema = _object(
    {
        "sql": {**_TEXT, "description": "A query; nothing that it changes stays."},
        "rows": {
            "type": "array",
            "items": _CELL,
            "description": "Its rows in order: a list of values each, a mapping of columns, or the value of the only"
            " column. What is no number, text, truth value or null compares as text.",
        },
    },
    "sql",
    "rows",
)
DATABASE: dict[str, Schema] = {
    "rows": _mapping({"type": "integer", "minimum": 0}, "How many rows tables hold, by name."),
    "tables": {"type": "array", "items": _TEXT, "minItems": 1, "description": "Tables or views that exist."},
    "missing": {"type": "array", "items": _TEXT, "minItems": 1, "description": "Tables or views that do not exist."},
    "columns": _mapping(
        {"type": "array", "items": _TEXT, "minItems": 1}, "The columns of tables, by name, in their order."
    ),
    "queries": {"type": "array", "items": _QUERY, "minItems": 1, "description": "Queries and their rows."},
}
_SESSION: Schema = _object(
    {
        "count": {"type": "integer", "minimum": 0, "description": "How many complete sessions there are."},
        "tables": _mapping(
            {"type": "integer", "minimum": 0}, "Exactly the tables of the newest one, with their number of rows."
        ),
    },
    minProperties=1,
    description="The backup sessions that the runs of the case made.",
)
EXPECT: Schema = _object(
    {
        **OUTCOME,
        **DATABASE,
        "databases": _mapping(_object(DATABASE, minProperties=1), "The same of other connections, by name."),
        "sessions": _SESSION,
        "files": _mapping(
            {"type": ["boolean", "string"]},
            "Files, by their path from the plan: `true`, `false` if there must be none, or a text in it.",
        ),
    },
    description="What must hold after the last run. Without an exit code, a state or an error, it must be ok.",
)
_MOVE: Schema = _object(
    {
        "run": {"enum": list(VERBS), "description": "A command of planrun."},
        "until": {**_TEXT, "description": "apply, resume, diff: stop after this step."},
        "fail": FAIL,
        "expect": _object(OUTCOME, minProperties=1, description="How this run must end."),
        "sql": {**_TEXT, "description": "Instead of a run: SQL that changes the database between two runs."},
        "on": {**_NAME, "description": "sql: the connection whose database it is."},
    },
    type=["string", "object"],
    pattern=f"^({'|'.join(VERBS)}){END}",
    minProperties=1,
)
CASE_KEYS: dict[str, Schema] = {
    "name": {**_TEXT, "maxLength": 100, "description": "What the case shows, in a few words."},
    "description": {"type": "string", "description": "Why it matters."},
    "plan": {**_TEXT, "description": "The plan, relative to this file."},
    "params": {
        "type": "object",
        "propertyNames": _NAME,
        "description": "Values that the case uses as `${params.name}`; each of `cases:` may give others.",
    },
    "set": {
        "type": "object",
        "description": "Params and settings of the plan, as `--set` gives them: `backup.path: ./elsewhere`.",
    },
    "env": _mapping({"type": ["string", "integer"]}, "Variables of the environment. No other of yours gets in."),
    "postgres": {"type": "integer", "minimum": 14, "description": "The major version of PostgreSQL."},
    "roles": {"type": "array", "items": _TEXT, "minItems": 1, "description": "Roles to create, who may log in."},
    "role": {**_TEXT, "description": "The plan connects as this role, which owns what the fixtures create."},
    "databases": _mapping(FIXTURE, "What each database holds before the run, by connection; `target` by default."),
    "answers": _mapping(
        {"type": ["boolean", "string"]}, "Answers to `confirm` steps, by path: true, false, or what is typed."
    ),
    "commands": _mapping(
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "Programs that run instead of those of `command` steps, by path.",
    ),
    "run": {
        "type": ["string", "object", "array"],
        "items": _MOVE,
        "minItems": 1,
        "default": "apply",
        "description": "What to do, in order: apply, diff, rollback, resume, abort, or SQL in between.",
        **{key: value for key, value in _MOVE.items() if key not in ("type", "description")},
    },
    "fail": {**FAIL, "description": "Make a step of the first run fail."},
    "timeout": {
        "type": ["number", "string"],
        "pattern": DURATION,
        "exclusiveMinimum": 0,
        "default": "2min",
        "description": "How long the case may take.",
    },
    "expect": EXPECT,
}


def case_checks() -> Schema:
    """Return the schema of one case, with what its file says for all of them."""
    return _object(CASE_KEYS, "name", "plan")


def case_schema() -> Schema:
    """Return the published schema of a file of cases. The same input gives the same text, key order included."""
    keys = or_reference(_object(CASE_KEYS))["properties"]
    cases = {"type": "array", "minItems": 1, "items": _object(keys), "description": "Cases that share what is above."}
    return {
        "$schema": DIALECT,
        "title": "planrun cases",
        "description": "Tests of a plan, which planrun test runs on a throw-away server.",
        **_object({**keys, "cases": cases}),
        "$defs": {"reference": {"type": "string", "pattern": REFERENCE}},
    }
