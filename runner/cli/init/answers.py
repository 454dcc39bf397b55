"""What a new plan is for: the answers of a person, or the options of the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

JOBS = {
    "migration": "back up what a migration would lose, then run the migration",
    "refresh": "replace the tables of a database by those of another one, without downtime",
    "nightly": "back up tables every night, and prove each backup by a restore",
}

ENVIRONMENT = "env"
"""In place of a service: the connection comes from the environment."""

CI = ("none", "github", "gitlab")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """job: a key of JOBS. file: the plan. start: the folder where planrun was started. root: that of the repository.

    target, source: a service of libpq, or ENVIRONMENT. command: argv of the migration. tables: a glob. preserved:
    tables that keep the rows of the target. at: HH:MM of the nightly run. package: what pip installs planrun from.
    """

    job: str
    file: Path
    start: Path
    root: Path
    target: str = ENVIRONMENT
    source: str = ENVIRONMENT
    command: Sequence[str] = ()
    tables: str = "*"
    schema: str = "public"
    preserved: Sequence[str] = ()
    ci: str = "none"
    systemd: bool = False
    at: str = "03:00"
    package: str = ""

    @property
    def name(self) -> str:
        """The name of the plan: that of its file, in the letters of a name."""
        plain = re.sub(r"[^a-z0-9]+", "_", self.file.stem.lower()).strip("_")
        return plain if plain[:1].isalpha() else f"plan_{plain}".rstrip("_")


_SERVICE = re.compile(r"[\w.][\w.-]*")
_TABLE = re.compile(r"[\w$]+(\.[\w$]+)?")
_GLOB = re.compile(r"([\w$]+\.)?[\w$*?]+")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def service_problem(text: str) -> str:
    """Return why a text cannot name a database in a plan, "" if it can. The text is not repeated: it may be secret."""
    if "://" in text or "=" in text:
        return "a URL may hold a password, so no plan contains one; set it in the environment, and answer env"
    return "" if _SERVICE.fullmatch(text) else "the name of a service has only letters, digits and . _ -"


def table_problem(text: str) -> str:
    return "" if _TABLE.fullmatch(text) else "a table is written as name or schema.name"


def glob_problem(text: str) -> str:
    good = _GLOB.fullmatch(text)
    return "" if good else "a pattern is written as name or schema.name; in the name, * stands for any characters"


def time_problem(text: str) -> str:
    return "" if _TIME.fullmatch(text) else "a time is written as 03:00"


def package_problem(text: str) -> str:
    bad = not text.isprintable() or not text.strip() or "'" in text
    return "what pip installs, such as planrun[embedded]==0.1.0" if bad else ""
