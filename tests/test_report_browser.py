"""Pages with hostile names in a real browser: nothing of a name runs or loads, with the page's policy and without."""

from __future__ import annotations

import re
from pathlib import Path

from runner.webpage import run_page
from tests.browser import serve, visit
from tests.runrecords import BEGAN
from tests.unit.test_webpage import EVIL, hostile_index, hostile_records

POLICY = re.compile(r"<meta http-equiv=[^>]*>")
FRAMES = (
    "<script>fetch('/owned/control')</script><img src=/owned/control-img>"
    "<iframe src=/run.html></iframe><iframe src=/index.html></iframe><iframe src=/policy.html></iframe>"
)


def test_nothing_of_a_hostile_name_runs_or_loads(tmp_path: Path) -> None:
    """One visit of a page with three frames: a report and an index without their policy, so that escaping alone must
    hold, and a report with its policy into which elements were put as they are, so that the policy alone must hold.
    """
    evil = "".join(EVIL).replace("\x00", "")
    report = run_page.page(hostile_records(evil), made=BEGAN)
    assert len(POLICY.findall(report)) == 1
    pages = {
        "/": FRAMES,
        "/run.html": POLICY.sub("", report),
        "/index.html": POLICY.sub("", hostile_index(evil)),
        "/policy.html": report.replace("<main", f"{''.join(EVIL[:6])}<main", 1),
    }
    with serve(pages) as (address, asked):
        document = visit(address, tmp_path / "profile")
    assert "/run.html" in document
    loaded = {path for path in asked if path != "/favicon.ico"}
    assert loaded == {*pages, "/owned/control", "/owned/control-img"}, "the control runs and loads, nothing else does"
