"""The licences of everything that an installation brings with it, from the metadata of the installed packages.

`python -m tests.release.licences` writes docs/licences.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"
EXTRAS = ("embedded", "lint", "metrics", "notify", "storage")
"""Of the package; `dev` and `release` are for those who work on planrun."""

HEAD = """# Licences

planrun itself has the [PostgreSQL licence](../LICENSE). An installation brings these packages with it, with Python
3.11, the oldest that planrun runs on. The licences are those that their own metadata names. `make licences` writes this
page, and `make release-check` compares it.

No required package has the GPL or AGPL. psycopg has the LGPL: planrun imports it and does not contain it.
"""

_FORBIDDEN = re.compile(r"(?<![A-Za-z])A?GPL")
_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}


def required_by(name: str, extra: str = "") -> dict[str, str]:
    """Return the packages that a package needs, and what those need, with their licences; extra: with this extra."""
    found: dict[str, str] = {}
    waiting = [(name, extra)]
    while waiting:
        package, wanted = waiting.pop()
        for requirement in _requirements(package, wanted):
            key = requirement.name.lower().replace("_", "-")
            if key not in found:
                found[key] = licence(distribution(requirement.name))
                waiting += [(requirement.name, one) for one in ("", *requirement.extras)]
            else:
                waiting += [(requirement.name, one) for one in requirement.extras if f"{key}[{one}]" not in found]
            found |= {f"{key}[{one}]": "" for one in requirement.extras}
    return {package: text for package, text in found.items() if text}


def _requirements(package: str, extra: str) -> Iterator[Requirement]:
    """Yield what a package needs on any system that planrun runs on; only what is installed can be asked."""
    for text in distribution(package).requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        if extra and marker is not None and marker.evaluate({"extra": ""}):
            continue
        try:
            distribution(requirement.name)
        except PackageNotFoundError as exc:
            raise SystemExit(f"{package} needs {requirement.name}, which is not installed: make .venv/.dev") from exc
        yield requirement


def licence(of: Distribution) -> str:
    """Return the licence of a package: an SPDX expression, else what its metadata calls it."""
    meta = of.metadata.json
    if expression := meta.get("license_expression"):
        return str(expression)
    classified = [_CLASSIFIERS.get(one, one.rpartition(" :: ")[2]) for one in meta.get("classifier", [])
                  if one.startswith("License ::")]  # fmt: skip
    text = str(meta.get("license") or "").strip()
    return (text if text and len(text) < 60 and "\n" not in text else "") or ", ".join(classified) or "unknown"


def page() -> str:
    """Return docs/licences.md."""
    parts = [HEAD]
    known = required_by("planrun")
    parts.append(_table("What every installation has", known))
    for extra in EXTRAS:
        more = {name: text for name, text in required_by("planrun", extra).items() if name not in known}
        parts.append(_table(f"With the extra `{extra}`", more))
    return "\n".join(parts)


def _table(title: str, found: dict[str, str]) -> str:
    rows = "".join(f"| {name} | {text} |\n" for name, text in sorted(found.items()))
    return f"## {title}\n\n| package | licence |\n| --- | --- |\n{rows}"


def problems() -> list[str]:
    """Return what is wrong: a required package with a licence that planrun must not need, or a page that is old."""
    bad = [
        f"{name}: {text}"
        for name, text in required_by("planrun").items()
        if _FORBIDDEN.search(text) or text == "unknown"
    ]
    stale = (
        [] if PAGE.is_file() and PAGE.read_text() == page() else ["docs/licences.md is not up to date: make licences"]
    )
    return bad + stale


if __name__ == "__main__":
    PAGE.write_text(page())
