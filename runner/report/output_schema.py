"""The JSON schema of what `-o json` prints: one shape for every command and every failure. Pure.

Every document has the fields of the envelope. Beyond them, `oneOf` lists what each command adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.catalog_difference import Fate as Difference
from runner.comparison import What
from runner.fates import Fate
from runner.impact import MODES
from runner.model import State
from runner.report.envelope import FORMAT_VERSION

Schema = Mapping[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_CODE: Schema = {"type": "integer", "minimum": 0, "maximum": 255}
_ERROR: Schema = {"type": "string", "pattern": "^(PR[0-9]{4})?$", "description": "The kind of error (docs/errors.md)."}
_YES: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_NUMBER_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}
_MAYBE: Schema = {"enum": ["no", "perhaps", "yes"]}


_PLACE: Mapping[str, Schema] = {
    "file": _TEXT, "line": _COUNT, "column": _COUNT, "message": _TEXT, "hint": _TEXT, "code": _ERROR,
}  # fmt: skip


def output_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "planrun -o json",
        **_HEAD,
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in _DOCUMENTS],
        "$defs": {**_DOCUMENTS, **_PARTS},
    }


def _object(description: str, required: Mapping[str, Schema], **optional: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": {**required, **optional},
    }


def _without(made: Schema, *names: str) -> Schema:
    """Return the schema of a document without these fields, which mark another kind of document."""
    return {**made, "not": {"anyOf": [{"required": [name]} for name in names]}}


def _list(ref: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{ref}"}}


_HEAD = _object(
    "What every document has.",
    {
        "format_version": {"const": FORMAT_VERSION},
        "state": {**_TEXT, "description": "How it ended: ok, failed, paused, interrupted, declined, refused ..."},
        "plan": {**_TEXT_OR_NULL, "description": "The name of the plan; null if none could be read."},
        "run": {**_TEXT_OR_NULL, "description": "The id of the run that this is about, if any."},
        "target": {**_TEXT_OR_NULL, "description": "The line of the connection that steps use by default."},
        "databases": {**_TEXTS, "description": "A line for each connection: database, role, where it was defined."},
    },
)

_PARTS: Mapping[str, Schema] = {
    "error": _object(
        "What went wrong, where, and what to type.",
        {"message": _TEXT, "where": _TEXT_OR_NULL, "hint": _TEXT, "code": _ERROR, "exit_code": _CODE},
        problems={
            "type": "array",
            "items": _object("One problem of a plan.", {
                "where": _TEXT, "message": _TEXT, "hint": _TEXT, "code": _ERROR,
            }),
        },
    ),
    "object": _object(
        "What becomes of one object: rows now and afterwards, bytes on disk, added and lost columns.",
        {
            "kind": _TEXT, "name": _TEXT, "fate": {"enum": [fate.value for fate in Fate]}, "rows": _COUNT_OR_NULL,
            "rows_after": _COUNT_OR_NULL, "rows_exact": _YES, "bytes": _COUNT_OR_NULL, "gains": _TEXTS,
            "loses": _TEXTS, "note": _TEXT,
        },
    ),
    "summary": _object(
        "The summary of a diff. later: only a later swap puts it in. holders: who holds a lock that it needs now.",
        {
            "counts": {"type": "object", "additionalProperties": _COUNT}, "later": _YES, "objects": _list("object"),
            "locks": _TEXTS, "holders": _TEXTS,
        },
    ),
    "step": _object(
        "A step: what it would do or has done. actions: only with -v. protection: the guards that make it run after"
        " what protects it. acknowledge: why it needs no protection. rehearsed: its actions are those of a rehearsal.",
        {
            "path": _TEXT, "uses": _TEXT, "because": _TEXT, "stale": _YES, "settled": _YES, "facts": _TEXTS,
            "objects": _list("object"), "state": {"enum": [state.value for state in State]}, "message": _TEXT,
            "hint": _TEXT, "code": _ERROR, "outputs": {"type": "object"}, "seconds": _NUMBER, "protection": _TEXT,
        },
        acknowledge=_TEXT,
        impact={"anyOf": [{"$ref": "#/$defs/impact"}, {"type": "null"}]},
        rehearsed=_YES,
        actions={"type": "array", "items": _object("An action.", {"action": _TEXT})},
    ),
    "warning": _object(
        "What went wrong beside the steps of a run, without a change of how it ended: a hook, a notification.",
        {"about": _TEXT, "message": _TEXT, "hint": _TEXT, "code": _ERROR},
    ),
    "impact": _object(
        "What a step would lock and write anew (docs/locks.md); the times are those of its last success, in seconds.",
        {
            "statements": {"type": "array", "items": _object("A statement, or an action that planrun makes.", {
                "statement": _TEXT, "locks": _list("lock"), "rewrite": _MAYBE, "scan": _MAYBE, "transaction": _MAYBE,
                "disk_bytes": _COUNT_OR_NULL, "opaque": _TEXT, "notes": _TEXTS,
            })},
            "last_seconds": _NUMBER_OR_NULL, "last_locked_seconds": _NUMBER_OR_NULL,
        },
    ),
    "lock": _object(
        "A lock on a relation. certain: false where the catalog or the rows decide. holders: who is in the way now.",
        {
            "relation": _TEXT, "mode": {"enum": list(MODES)}, "certain": _YES, "there": _YES,
            "rows": _COUNT_OR_NULL, "bytes": _COUNT_OR_NULL, "holders": _TEXTS,
        },
    ),
    "run": _object(
        "A run as the journal has it.",
        {
            "run": _TEXT, "plan": _TEXT, "mode": _TEXT, "state": _TEXT, "exit_code": {"type": ["integer", "null"]},
            "digest": _TEXT, "began": _TEXT_OR_NULL, "ended": _TEXT_OR_NULL, "attempts": _COUNT, "message": _TEXT,
            "next": _TEXT,
        },
    ),
    "differences": _object(
        "What differs from the start: objects by the connection of the copy, tables with other rows (null: not"
        " compared), and what planrun keeps.",
        {
            "catalogs": {"type": "object", "additionalProperties": {"type": "array", "items": _object("An object.", {
                "fate": {"enum": [fate.value for fate in Difference]}, "kind": _TEXT, "name": _TEXT, "of": _TEXT,
                "before": _TEXT, "after": _TEXT,
                "parts": {"type": "object", "additionalProperties": _COUNT},
            })}},
            "rows": {"type": ["array", "null"], "items": _TEXT}, "own": _TEXTS,
        },
    ),
    "rehearsed": _object(
        "What a rehearsal found. undone: what the rollback does not give back.",
        {
            "rows": _TEXT, "gives_back_the_start": {"type": ["boolean", "null"]}, "answers": _TEXTS, "moved": _TEXTS,
            "outside": _TEXTS, "applied": {"$ref": "#/$defs/differences"},
            "undone": {"anyOf": [{"$ref": "#/$defs/differences"}, {"type": "null"}]},
            "copies": {"type": "array", "items": _object("A scratch copy.", {
                "connections": _TEXTS, "of": _TEXT, "version": _TEXT, "private": _YES, "same_major": _YES,
                "rows": _COUNT, "tables": _COUNT, "left_out": _TEXTS,
            })},
            "statements": {"type": "array", "items": _object("A statement that a program of a step sent.", {
                "step": _TEXT, "text": _TEXT, "milliseconds": _NUMBER,
            })},
            "locks": {"type": "array", "items": _object("A lock. exact: else it was held for at least so long.", {
                "step": _TEXT, "connection": _TEXT, "schema": _TEXT, "name": _TEXT, "mode": _TEXT,
                "milliseconds": _NUMBER, "exact": _YES, "statement": _TEXT,
            })},
        },
    ),
    "set": _object(
        "Shadow tables or a backup set.",
        {
            "id": _TEXT, "what": _TEXT, "state": _TEXT, "plan": _TEXT, "schema": _TEXT, "since": _TEXT,
            "tables": _COUNT, "rows": _COUNT_OR_NULL, "rows_exact": _YES, "bytes": _COUNT, "missing": _TEXTS,
        },
    ),
    "case": _object(
        "A case of a plan. failures: what did not hold; a line of them begins with - (expected) or + (got).",
        {
            "name": _TEXT, "plan": _TEXT, "file": _TEXT, "line": _COUNT, "state": {"enum": ["ok", "failed"]},
            "seconds": _NUMBER,
            "failures": {"type": "array", "items": _object("A failure.", {
                "where": _TEXT, "message": _TEXT, "lines": _TEXTS, "code": _ERROR, "hint": _TEXT,
            })},
            "runs": {"type": "array", "items": _object("A run of the case.", {
                "run": _TEXT, "state": _TEXT, "exit_code": _CODE, "code": _ERROR, "message": _TEXT,
                "steps": {"type": "object", "additionalProperties": _TEXT},
            })},
        },
    ),
}  # fmt: skip

_DOCUMENTS: Mapping[str, Schema] = {
    "result": _object(
        "diff, apply, rollback, abort, backups restore, backups adopt, backups prune SET",
        {
            "mode": _TEXT, "exit_code": _CODE, "seconds": _NUMBER, "something_to_do": _YES,
            "counts": {"type": "object", "additionalProperties": _COUNT},
            "error": {"anyOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
            "next": _TEXT, "way_back": _TEXT, "steps": _list("step"), "hooks": _list("step"),
            "warnings": _list("warning"),
        },
        summary={"$ref": "#/$defs/summary"}, rehearsal={"$ref": "#/$defs/rehearsed"},
        notes=_TEXTS,
        told={**_TEXTS, "description": "Who would be told of the run, and when."},
        surroundings={**_TEXTS, "description": "What strong locks and rewrites would meet: transactions, slots."},
    ),
    "rehearsal": _object(
        "rehearse",
        {
            "exit_code": _CODE, "seconds": _NUMBER, "next": _TEXT, "steps": _list("step"),
            "error": {"anyOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
            "rollback_steps": _list("step"), "rehearsal": {"$ref": "#/$defs/rehearsed"},
        },
    ),
    "comparison": _without(
        _object(
            "compare, diff --base. grave: a reviewer must look at it. against: what was asked, in words.",
            {
                "exit_code": _CODE, "old": _TEXT, "new": _TEXT, "against": _TEXT, "differs": _YES, "notes": _TEXTS,
                "changes": {"type": "array", "items": _object("One difference.", {
                    "what": {"enum": [what.value for what in What]}, "grave": _YES,
                    "step": _TEXT_OR_NULL, "rollback": _YES, "text": _TEXT,
                    "before": _TEXT, "after": _TEXT,
                })},
            },
        ), "mode", "error",
    ),
    "failure": _without(
        _object("Any command that failed before it had a result", {
            "exit_code": _CODE, "error": {"$ref": "#/$defs/error"},
        }), "mode", "rehearsal",
    ),
    "nothing": _without(
        _object("abort, with nothing to remove", {"exit_code": {"const": 0}}), "error", "mode", "digest",
        "differs", "rehearsal", "cases", "max_age_seconds",
    ),
    "validation": _object(
        "validate",
        {
            "valid": _YES,
            "problems": {"type": "array", "items": _object("One problem.", _PLACE)},
        },
    ),
    "lint": _object(
        "lint",
        {"clean": _YES, "problems": {"type": "array", "items": _object("One finding.", _PLACE)}, "accepted": {
            "type": "array", "items": _object("A finding that a comment accepts.", {**_PLACE, "reason": _TEXT}),
        }},
    ),
    "rendering": _without(_object("render", {"steps": _list("step")}), "mode", "digest", "rehearsal"),
    "status": _object(
        "status",
        {
            "next": _TEXT, "running": _TEXT_OR_NULL, "refreshes": _list("set"),
            "last": {"anyOf": [{"$ref": "#/$defs/run"}, {"type": "null"}]},
        },
    ),
    "history": _object("history", {"runs": _list("run")}),
    "explanation": _object("explain PLAN", {"digest": _TEXT, "steps": {"type": "array"}}),
    "definition": _object(
        "explain CODE, explain NAME",
        {
            "what": _TEXT, "text": _TEXT,
            "error_code": {"anyOf": [{"type": "null"}, _object("The entry of a code.", {
                "code": _ERROR, "title": _TEXT, "cause": _TEXT, "cure": _TEXT, "plan": _TEXT, "example": _TEXT,
            })]},
        },
    ),
    "sessions": _object(
        "backups list, backups prune",
        {"sessions": {"type": "array", "items": {"type": "object"}}}, sets=_list("set"), removed=_TEXTS,
    ),
    "check": _object(
        "backups check",
        {
            "exit_code": _CODE, "status": {"enum": ["OK", "CRITICAL"]}, "max_age_seconds": _NUMBER, "min_level": _COUNT,
            "session": {"anyOf": [{"type": "null"}, _object("The newest session that counts.", {
                "name": _TEXT, "taken": _TEXT_OR_NULL, "age_seconds": _NUMBER_OR_NULL, "verified": _COUNT,
                "tables": _COUNT, "rows": _COUNT, "bytes": _COUNT,
            })]},
            "problems": _TEXTS, "notes": _TEXTS, "counts": {"type": "object", "additionalProperties": _COUNT},
            "bytes": _COUNT,
        },
    ),
    "proof": _without(
        _object("backups verify", {"tables": {"type": "array", "items": _object("A table.", {"name": _TEXT})}}), "mode",
    ),
    "recipients": _object(
        "notify",
        {"recipients": {"type": "array", "items": _object("Somebody in `notify:`. message: how a test was answered.", {
            "recipient": _TEXT, "state": {"enum": ["ok", "failed", "skipped", "not tried"]}, "message": _TEXT,
            "seconds": _NUMBER,
        })}},
    ),
    "tests": _object(
        "test",
        {
            "exit_code": _CODE, "seconds": _NUMBER, "postgres": _TEXTS, "next": _TEXT, "cases": _list("case"),
            "counts": {"type": "object", "additionalProperties": _COUNT},
        },
    ),
    "findings": _object(
        "doctor",
        {"findings": {"type": "array", "items": _object("A finding.", {
            "level": _TEXT, "about": _TEXT, "message": _TEXT,
        })}},
    ),
}  # fmt: skip
