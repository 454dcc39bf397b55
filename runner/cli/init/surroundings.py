"""What is around a new plan: the migration tool of the project, its CI, services of libpq, the package planrun."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from runner import __version__

_TOOLS: Mapping[str, tuple[str, ...]] = {
    "drizzle.config.*": ("npx", "drizzle-kit", "migrate"),
    "alembic.ini": ("alembic", "upgrade", "head"),
    "prisma/schema.prisma": ("npx", "prisma", "migrate", "deploy"),
    "manage.py": ("python", "manage.py", "migrate"),
    "knexfile.*": ("npx", "knex", "migrate:latest"),
    "bin/rails": ("bin/rails", "db:migrate"),
    "flyway.*": ("flyway", "migrate"),
    "sqitch.conf": ("sqitch", "deploy"),
}
"""A file of a project -> the command of the migration tool whose file that is."""


def find_migration(folder: Path) -> tuple[str, ...]:
    """Return the migration command of a project, () if its tool is not known."""
    return next((argv for pattern, argv in _TOOLS.items() if any(folder.glob(pattern))), ())


def find_root(folder: Path) -> Path:
    """Return the folder of the git repository around a folder, or the folder itself."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def find_ci(root: Path) -> str:
    if (root / ".github").is_dir():
        return "github"
    return "gitlab" if (root / ".gitlab-ci.yml").is_file() else "none"


def find_services(env: Mapping[str, str], home: Path) -> list[str]:
    """Return the services that libpq knows from the file of the user (PostgreSQL docs 34.17)."""
    file = Path(env.get("PGSERVICEFILE") or home / ".pg_service.conf")
    try:
        return re.findall(r"^\[([^\]\n]+)\]", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return []


def find_package() -> tuple[str, bool]:
    """Return what pip installs this planrun from, and whether that is known: where it was installed from itself."""
    try:
        text = metadata.distribution("planrun").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        text = "{}"
    return package_of(json.loads(text))


def package_of(origin: Mapping[str, object]) -> tuple[str, bool]:
    """Return the requirement of a `direct_url.json` (PEP 610), without a user or password of its URL."""
    url, version = origin.get("url"), origin.get("vcs_info")
    if not isinstance(url, str) or not isinstance(version, dict):
        return f"planrun[embedded]=={__version__}", False
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return f"planrun[embedded] @ {version.get('vcs')}+{plain}@{version.get('commit_id')}", True


def dotenv_has_url(folder: Path) -> bool:
    """Return whether a shell may read the folder's `.env`, and it sets DATABASE_URL there."""
    try:
        lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return all(map(_is_plain, lines)) and any(re.match(r"(export )?DATABASE_URL=", line) for line in lines)


_ASSIGNMENT = re.compile(r"""\s*(#.*)?|(export )?\w+=([\w./:@%+,?=-]*|"[^"$`\\]*"|'[^']*')\s*""")


def _is_plain(line: str) -> bool:
    """Return whether a shell reads a line of `.env` as the libraries that read such files."""
    return bool(_ASSIGNMENT.fullmatch(line))


def has_address(env: Mapping[str, str]) -> bool:
    """Return whether the environment names a database."""
    return any(env.get(name) for name in ("DATABASE_URL", "PGSERVICE", "PGHOST", "PGDATABASE"))
