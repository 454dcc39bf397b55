"""Format problems of plans as SARIF 2.1.0, which code scanning and editors read. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from runner import __version__
from runner.error_codes import error_codes
from runner.report.findings import Finding, with_fingerprints

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_json(every: Sequence[Finding]) -> dict[str, Any]:
    """Return a log with one run, its rules, and a result for each problem."""
    rules = list(dict.fromkeys(one.rule for one in every))
    driver = {"name": "planrun", "version": __version__, "rules": [_rule(each) for each in rules]}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": _results(every, rules)}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str) -> dict[str, Any]:
    entry = error_codes()[rule]
    return {
        "id": rule,
        "shortDescription": {"text": _message(entry.title)},
        "fullDescription": {"text": _message(entry.cause)},
        "help": {"text": _message(entry.cure)},
        "defaultConfiguration": {"level": "error"},
    }


def _results(every: Iterable[Finding], rules: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "ruleId": one.rule,
            "ruleIndex": rules.index(one.rule),
            "level": one.level,
            "message": {"text": _message(one.message)},
            "locations": [_location(one)],
            "partialFingerprints": {"problem/v1": fingerprint},
        }
        for one, fingerprint in with_fingerprints(every)
    ]


def _location(one: Finding) -> dict[str, Any]:
    region = {"startLine": one.line, "startColumn": one.column}
    return {"physicalLocation": {"artifactLocation": _artifact(one.file), "region": region}}


def _artifact(file: str) -> dict[str, str]:
    """Return the location of a file. Bytes that a URI does not allow are percent-encoded."""
    return {"uri": quote(os.fsencode(file)), "uriBaseId": "%SRCROOT%"}


def _message(text: str) -> str:
    """Return a text in which nothing is a link (SARIF 3.11.6) or a placeholder (3.11.5)."""
    return text.replace("](", "] (").replace("{", "{{").replace("}", "}}")
