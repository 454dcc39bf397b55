"""The code quality report of GitLab."""

from __future__ import annotations

from pathlib import Path

from runner.errors import Mark, Problem
from runner.report import gitlab
from runner.report.findings import findings


def test_a_report_has_what_gitlab_reads() -> None:
    some = [
        Problem(Mark("plans/p.yml", 4, 9), "wrong", "do", code="PR0110"),
        Problem(Mark("plans/p.yml", 5, 9), "wrong", "do", code="PR0110"),
    ]
    report = gitlab.as_json(findings({"plans/p.yml": some}, Path.cwd()))
    assert [{**one, "fingerprint": ""} for one in report] == [
        {
            "description": "wrong\nhint: do",
            "check_name": "PR0110",
            "fingerprint": "",
            "severity": "blocker",
            "location": {"path": "plans/p.yml", "lines": {"begin": line}},
        }
        for line in (4, 5)
    ]
    assert len({one["fingerprint"] for one in report}) == 2, "GitLab takes two of one fingerprint for one"
    assert gitlab.as_json(()) == []
