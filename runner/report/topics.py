"""The topics of `planrun help`: each is a page of docs/, or a section of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner import resources
from runner.errors import PlanrunError

DOCS = resources.ROOT / "docs"


@dataclass(frozen=True)
class Topic:
    """A page of docs/ by its file's name, and the heading of one of its sections; "" stands for the whole page."""

    doc: str
    page: str
    section: str = ""


TOPICS: Mapping[str, Topic] = {
    "backup": Topic("How a backup is made, proved and restored.", "backup.md"),
    "cases": Topic("How to write the tests of a plan.", "testing-plans.md"),
    "changes": Topic("What a change of a plan does, and diffs without a database.", "compare.md"),
    "connections": Topic("Which database planrun connects to, and as whom.", "connections.md"),
    "deadlines": Topic("How long planrun waits for what.", "deadlines.md"),
    "environment": Topic("The environment variables that planrun reads.", "environment.md"),
    "exit-codes": Topic("What the exit codes mean.", "reference.md", "Exit codes"),
    "formats": Topic("The formats of the output: text, JSON, Markdown, and those of code hosts.", "formats.md"),
    "glossary": Topic("The words of planrun, each with its one meaning.", "glossary.md"),
    "guards": Topic("When a step runs, and when it does not.", "guards.md"),
    "hooks": Topic("Steps that follow a run, and who is told of it.", "notifications.md"),
    "keys": Topic("The keys of a plan and of a step.", "reference.md", "Keys of a plan"),
    "locks": Topic("What each statement locks and rewrites.", "locks.md"),
    "managed": Topic("What works on RDS, Cloud SQL, Azure, Supabase and Neon.", "how-to/managed-services.md"),
    "migrations": Topic("How to back up what a migration would lose.", "safe-migrations.md"),
    "monitoring": Topic("Metrics for Prometheus, checks for Nagios, logs as JSON.", "monitoring.md"),
    "notifications": Topic("Who is told of a run, and how.", "notifications.md"),
    "progress": Topic("How far a run is, and how to watch it from elsewhere.", "progress.md"),
    "reading-a-diff": Topic("What the lines of a diff mean.", "diff.md"),
    "reports": Topic("A run as one HTML file, and a page over all runs.", "reports.md"),
    "resume": Topic("What to do after a failure, a Ctrl-C or a kill.", "resuming.md"),
    "rights": Topic("The rights that each command needs.", "security.md", "Rights that each command needs"),
    "saved-plans": Topic("How to review a diff now and apply exactly that later.", "saved-plans.md"),
    "schedules": Topic("How to run a plan from cron.", "how-to/cron.md"),
    "security": Topic("What planrun protects, and what it leaves to you.", "security.md"),
    "swap": Topic("How to replace a live database's tables, and how to go back.", "replace-tables.md"),
    "tutorial": Topic("A first plan in ten minutes.", "quickstart.md"),
    "values": Topic("What `${...}` may name, durations and sizes.", "reference.md", "Reference"),
    "when-not": Topic("What other tools do better.", "when-not.md"),
}


def markdown(name: str) -> str:
    """Return the text of a topic as Markdown. Raises PlanrunError if this installation has no pages."""
    topic = TOPICS[name]
    try:
        page = (DOCS / topic.page).read_text(encoding="utf-8")
    except OSError as exc:
        raise PlanrunError(
            f"the page {DOCS / topic.page} cannot be read: {exc.strerror}",
            hint="install planrun again, as a wheel or from a whole checkout",
            code="PR0903",
        ) from exc
    return section(page, topic.section) if topic.section else page


def section(page: str, heading: str) -> str:
    """Return a section of a page: from its heading to the next one of the same or a higher level.

    The section of the page's own title ends at the next heading of any level.
    """
    taken: list[str] = []
    depth = 0
    for line, level in _lines(page):
        if taken and level and (level <= depth or depth == 1):
            break
        if taken or (level and line.lstrip("# ").rstrip() == heading):
            depth = depth or level
            taken.append(line)
    if not taken:
        raise LookupError(heading)
    return "".join(taken)


def _lines(page: str) -> Iterator[tuple[str, int]]:
    """Yield each line with the level of the heading that it is; 0 if it is none, as within a block of code."""
    code = False
    for line in page.splitlines(keepends=True):
        code ^= line.startswith("```")
        hashes = re.match(r"#+(?= )", line)
        yield line, len(hashes[0]) if hashes and not code else 0


def rows(page: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a page's tables whose first cell is code: that code, and the last cell."""
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| `([^`]+)`[^|]* \|.*?([^|]+) \|$", line):
            yield found[1], found[2].strip()
