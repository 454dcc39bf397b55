"""Write a text file; an existing file is replaced as a whole or not at all.

The text is in the plan (`text`, which may contain `${}` values) or comes from a Jinja template under the plan's `sql/`
folder (`template`, with `values`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from runner.kinds.base import BadParam, CatalogReader, Output, Render, param
from runner.model import Action, Result, Write
from runner.record import dataclass

OUTPUTS: Mapping[str, Output] = {
    "path": Output("string", "The file that was written."),
    "bytes": Output("integer", "The size of the file."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    to: str = param("The file; planrun creates its folder if it is missing.", path=True, written=True, minLength=1)
    text: str = param("The text to write.", default="")
    template: str = param("A template under the plan's sql/ folder, instead of `text`.", default="")
    values: Mapping[str, Any] = field(default_factory=dict, metadata={"description": "Values that the template uses."})

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.template):
            raise BadParam((), "give either `text` or `template`", code="PR0119")


def look(params: Params, reader: CatalogReader) -> str:
    return reader.text(params.template, params.values) if params.template else params.text


def render(params: Params, facts: str, sql: Render) -> tuple[Action, ...]:
    return (Write(path=params.to, text=facts),)


def give(params: Params, facts: str, results: Sequence[Result | None]) -> Mapping[str, Any]:
    return {"path": params.to, "bytes": len(facts.encode())}
