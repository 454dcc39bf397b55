"""The table "How fast" of README.md, made of the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench import results
from bench.results import GroupResult, Result
from bench.subjects import SUBJECTS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by `make bench-table` -->", "<!-- end of what `make bench-table` made -->"

NONE = "No results are kept yet: `make bench` measures them on your machine.\n"


def write(file: Path = README) -> None:
    """Put the table of the kept results between the markers."""
    file.write_text(with_block(file.read_text(), block(results.read())))


def with_block(text: str, made: str) -> str:
    """Return a page with another block between its markers. Raises ValueError when it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{made}{END}{after}"


def block(found: Mapping[str, Result]) -> str:
    """Return the lines between the markers: one for each headline, then the machines and what is said of them."""
    if not found:
        return NONE
    order = [subject.name for subject in SUBJECTS]
    ordered = sorted(found.values(), key=lambda one: order.index(one.subject) if one.subject in order else len(order))
    head = "| job | planrun | seconds | times the peer's | CPU | peer |", "| --- | --- | --- | --- | --- | --- |"
    said = (f"Measured on {one.date}: {one.machine}. {one.note}".strip() for one in ordered)
    rows = (row for one in ordered for group in one.groups for row in _rows(group))
    return "\n".join([*head, *rows, "", *dict.fromkeys(said)]) + "\n"


def _rows(group: GroupResult) -> Iterator[str]:
    seconds = {way.name: way.seconds for way in group.ways}
    for ratio in group.ratios:
        if ratio.headline:
            spread = f"{_number(ratio.median)} ({_number(ratio.least)} to {_number(ratio.greatest)})"
            cpu = "" if ratio.cpu is None else _number(ratio.cpu)
            name, took = ratio.of.removeprefix("planrun "), _number(seconds[ratio.of])
            yield f"| {group.title} | {name} | {took} | {spread} | {cpu} | {ratio.to} |"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
