"""Ask the person at the terminal before the run continues; without a terminal, the step succeeds only with `--yes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, param
from runner.model import UNKNOWN, Action, Confirm, Result
from runner.record import dataclass

OUTPUTS: Mapping[str, Output] = {
    "accepted": Output("boolean", "True if the answer was yes."),
    "declined": Output("boolean", "True if the answer was no; the step has then failed."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    message: str = param("The question for the person at the terminal.", minLength=1, examples=["Drop 3 tables?"])
    expect: str = param("A word that the person must type instead of y, such as the name of the database.", default="")


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    return (Confirm(message=params.message, expect=params.expect),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {"accepted": True, "declined": False}
