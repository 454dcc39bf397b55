"""Where the journal of a plan is: in its database, in a local file, or where the plan says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from runner.database.connections import Connections
from runner.journal.database import DatabaseJournal
from runner.journal.file import FileJournal, state_folder
from runner.journal.records import Journal
from runner.kinds import KINDS
from runner.kinds.base import word
from runner.model import Plan, Step


def changes_database(steps: Sequence[Step]) -> bool:
    """Return whether any step may change the database, so that the journal belongs there."""
    return any(
        changes_database(step.steps) or (step.kind and getattr(KINDS[step.kind], "CHANGES", False)) for step in steps
    )


def uses_database(steps: Sequence[Step]) -> bool:
    """Return whether any step has a connection at all."""
    return any(uses_database(step.steps) or (step.kind and _has_connection(step)) for step in steps)


def _has_connection(step: Step) -> bool:
    return any(
        one.metadata["connection"] != "named" or step.values.get(word(one))
        for one in fields(KINDS[step.kind].Params)
        if one.metadata.get("connection")
    )


def open_journal(plan: Plan, connections: Connections, env: Mapping[str, str]) -> Journal:
    """Return the journal that the plan names; otherwise the database's if a step changes it, else a local file."""
    chosen = plan.journal or ("database" if changes_database(plan.every_step) else "file")
    if chosen == "database":
        return DatabaseJournal(connections, connections.default())
    if chosen == "file":
        safe = re.sub(r"[^\w.-]", "_", plan.name)  # a plan must not name a file elsewhere
        return FileJournal(state_folder(env) / f"{safe}-{_place_digest(plan)}.jsonl")
    return FileJournal(plan.folder / chosen)


def _place_digest(plan: Plan) -> str:
    """Return a digest of the folder, which separates the runs of plans with the same name in different folders."""
    return hashlib.sha256(str(Path(plan.file).resolve()).encode()).hexdigest()[:8]
