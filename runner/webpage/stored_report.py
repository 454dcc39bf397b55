"""A report that was written to a file: its name, what it says of itself, and whether it fits the journal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

from runner import __version__, files
from runner.errors import PlanrunError, VerifyError
from runner.journal.records import Record
from runner.webpage import digest, run_page
from runner.words import PLAN

INDEX = "index.html"
LARGEST = 1 << 30
"""Bytes of a file that is read as a report."""

_HEAD = 64 << 10
"""Bytes at the beginning of a report, in which all that it says of itself is found."""

_WORDS = {"plan", "run", "mode", "state", "began", "ended", "digest", "records", "made", "planrun"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a report says of itself. records: how many records of the run it was made from."""

    file: Path
    plan: str
    run: str
    mode: str
    state: str
    began: str
    ended: str
    digest: str
    records: int
    made: datetime
    planrun: str


def file_name(plan: str, run: str) -> str:
    """Return the name of the report of a run: `prod-20250720T122655Z-3f9a.html`."""
    return f"{_safe(plan).lstrip('.') or 'plan'}-{_safe(run)}.html"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:80]


class _Meta(HTMLParser):
    """Collects the values of <meta name="planrun-...">."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "meta" and name.startswith("planrun-"):
            self.found.setdefault(name.removeprefix("planrun-"), given.get("content") or "")


def read(file: Path) -> Stored:
    """Return what a report says of itself. Raises PlanrunError for a file that is no report of a run."""
    found = _meta(file)
    if not found.keys() >= _WORDS:
        raise _no_report(file)
    try:
        made, records = datetime.fromisoformat(found["made"]), int(found["records"])
    except ValueError:
        raise _no_report(file) from None
    words = {name: found[name] for name in _WORDS - {"made", "records"}}
    return Stored(file=file, made=made, records=records, **words)


def _meta(file: Path) -> Mapping[str, str]:
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
    except OSError as exc:
        raise PlanrunError(
            f"cannot read {file}: {exc.strerror}", hint="name the file of a report", code="PR1105"
        ) from exc
    parser = _Meta()
    parser.feed(head.decode("utf-8", "replace").partition("<title>")[0])
    return parser.found


def _no_report(file: Path) -> PlanrunError:
    return PlanrunError(
        f"{file} is no report of a run",
        hint="name a file that `planrun report PLAN -o FILE.html` or `--report DIR` wrote",
        code="PR1105",
    )


def write(file: Path, text: str) -> None:
    """Write a page to a file atomically; readable for its owner alone, as the journal. Raises PlanrunError.

    A file that is no page of planrun is not replaced.
    """
    if file.exists() and not _is_page(file):
        raise PlanrunError(
            f"{file} exists and is no page that planrun wrote",
            hint="name another file, or remove that one",
            code="PR1109",
        )
    files.make_folder(file.parent)
    files.write_text(file, text, 0o600)


def _is_page(file: Path) -> bool:
    try:
        return "made" in _meta(file)
    except PlanrunError:
        return False


def check(stored: Stored, records: Sequence[Record]) -> list[str]:
    """Return how a report fits the records of its run, a line each.

    The digest is compared, and, if the same version of planrun made it, every byte. Raises VerifyError when it does
    not fit.
    """
    sums = list(digest.digests(records[: stored.records]))
    if len(sums) < stored.records or sums[-1:] != [stored.digest]:
        what = "other records" if records else "no records"
        raise _misfit(stored, f"its journal has {what} of run {stored.run}", "PR1106")
    lines = [f"{stored.file} fits the {stored.records:,} records of run {stored.run}"]
    if stored.planrun == __version__:
        _compare_bytes(stored, records[: stored.records])
        lines.append("a report made of them now is the same, byte by byte")
    else:
        lines.append(f"planrun {stored.planrun} made it, so its text was not compared: this is {__version__}")
    if more := len(records) - stored.records:
        lines.append(f"the run went on afterwards: {more:,} more records")
    return lines


def _compare_bytes(stored: Stored, records: Sequence[Record]) -> None:
    with stored.file.open("rb") as opened:
        there = opened.read(LARGEST + 1)
    if there != run_page.page(records, made=stored.made).encode():
        raise _misfit(stored, "its text is not what the journal tells", "PR1107")


def _misfit(stored: Stored, why: str, code: str) -> VerifyError:
    return VerifyError(
        f"{stored.file} does not fit: {why}",
        hint=f"compare the databases in its first lines; what this journal tells: planrun report {PLAN} -o -",
        code=code,
    )


def reports_in(folder: Path) -> Mapping[tuple[str, str], Stored]:
    """Return the reports in a folder by plan and run; other files are left out."""
    found: dict[tuple[str, str], Stored] = {}
    for file in sorted(folder.glob("*.html")):
        try:
            stored = read(file)
        except PlanrunError:
            continue
        found[stored.plan, stored.run] = stored
    return found
