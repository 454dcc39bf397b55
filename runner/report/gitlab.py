"""Format problems of plans as a code quality report of GitLab. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.report.findings import ERROR, Finding, with_fingerprints
from runner.words import safe


def as_json(every: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return the report as JSON data; each error is a blocker, because the plan cannot run."""
    return [
        {
            "description": one.message,
            "check_name": one.rule,
            "fingerprint": fingerprint,
            "severity": "blocker" if one.level == ERROR else "major",
            "location": {"path": safe(one.file), "lines": {"begin": one.line}},
        }
        for one, fingerprint in with_fingerprints(every)
    ]
