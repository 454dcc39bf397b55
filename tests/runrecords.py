"""Records of runs made by hand, as a journal has them: what the tests of reports share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2025, 7, 20, 12, 26, 55, tzinfo=UTC)
RUN = "20250720T122655Z-3f9a"


def at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def record(event: str, when: float = 0.0, /, **fields: Any) -> dict[str, Any]:
    return {"run": RUN, "format_version": 1, "at": at(when), "event": event, **fields}


def began(seconds: float = 0.0, **fields: Any) -> dict[str, Any]:
    known = {
        "plan": "prod", "file": "plans/prod.yml", "mode": "apply", "digest": "d1", "total": 1, "host": "db-admin",
        "pid": 7, "user": "ops", "version": "0.1.0", "sets": [], "options": [],
        "databases": ["target: prod at db1:5432 as app, from PLANRUN_TARGET_URL"], "servers": {"target": "16.4"},
    }  # fmt: skip
    return record("run_began", seconds, **(known | {"run": RUN} | fields))


def ended(seconds: float, state: str = "ok", **fields: Any) -> dict[str, Any]:
    known = {"state": state, "exit_code": 0 if state == "ok" else 1, "seconds": seconds, "message": "", "next": ""}
    return record("run_ended", seconds, **(known | fields))


def step(
    path: str, seconds: float = 0.0, took: float = 1.0, *, text: str = "select 1", state: str = "ok", **fields: Any
) -> Iterator[dict[str, Any]]:
    """Yield the records of a step of one SQL text: how it was planned, done and ended."""
    turn = {"uses": "sql", "because": "", "actions": [{"action": "sql", "text": text}]}
    outcome = {"message": "", "hint": "", "code": "", "outputs": {}}
    of_turn = {"uses", "because", "actions", "objects", "coming", "locks", "acknowledge"}
    told = {name: value for name, value in fields.items() if name in of_turn}
    yield record("turn", seconds, **{"path": path, **turn, **told})
    if state == "ok":
        result = fields.get("result", {"count": 1})
        yield record("action_done", seconds + took, path=path, key="k.0", result=result, seconds=took)
    given = {name: fields.get(name, value) for name, value in outcome.items()}
    yield record("outcome", seconds + took, path=path, state=state, seconds=took, attempts=1, **given)


def fate(name: str, fate: str = "replaced", **fields: Any) -> dict[str, Any]:
    known = {"kind": "table", "name": name, "fate": fate, "rows": 10, "rows_after": 20, "rows_exact": True,
             "bytes": 8192, "gains": [], "loses": [], "note": ""}  # fmt: skip
    return known | fields


def many(steps: int) -> list[dict[str, Any]]:
    """Return a run of many steps, each with an object, a lock and rows of a table."""
    found = [began()]
    for number in range(steps):
        name = f"app.t{number}"
        measure = {"schema": "app", "name": f"t{number}", "rows": 10, "bytes": 100, "seconds": 0.1}
        found += step(f"s{number}", number, text=f"alter table {name} add column c int", objects=[fate(name)],
                      result={"count": 0, "measures": [measure]})  # fmt: skip
    return [*found, ended(steps)]
