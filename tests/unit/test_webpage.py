"""The pages: harmless whatever the names are, readable for everybody, and of linear size."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.session_facts import SessionFacts
from runner.webpage import index_page, locks, run_page, stored_report
from runner.webpage.index_facts import PlanFacts
from runner.words import safe
from tests.htmlpage import harmless, parse
from tests.made import EVIL_WORDS, HOSTILE
from tests.runrecords import BEGAN, RUN, at, began, ended, fate, many, record, step
from tests.unit.test_journal import RECORDS

EVIL = [
    "<script>fetch('/owned/script')</script>",
    '"><img src=/owned/img onerror="fetch(\'/owned/onerror\')">',
    "'><svg onload=fetch('/owned/svg')><text>",
    "</style><script>fetch('/owned/style')</script>",
    "</title><script>fetch('/owned/title')</script>",
    "</pre></details></section><iframe src=/owned/iframe></iframe>",
    "javascript:fetch('/owned/address')",
    "--><!--<img src=/owned/comment>",
    "</script><link rel=stylesheet href=/owned/link>",
    "{{ 7 * 7 }}{% raw %}&lt;b&gt;",
    "url(/owned/url)",
    "lone \udcff surrogate",
    "a\u2028<b>\u2029\u202eb\x00\x1b[31m",
    HOSTILE,
    EVIL_WORDS,
]


def hostile_records(evil: str) -> list[dict[str, Any]]:
    """Return a run with a hostile text in every place that a person or a database may fill."""
    measure = {"schema": evil, "name": evil, "rows": 1, "bytes": 2, "seconds": 0.5, "checksum": evil}
    note = fate(evil, note=evil, kind=evil, gains=[evil], loses=[evil])
    return [
        began(plan=evil, file=evil, databases=[evil], servers={evil: evil}, host=evil, user=evil, sets=[evil],
              options=[evil], digest=evil, version=evil, mode="apply"),
        *step(evil, 0, text=evil, because=evil, objects=[note, fate(evil, evil)], locks=[evil], acknowledge=evil,
              result={"locked_ms": 5, "measures": [measure], "pg_dump": evil}, outputs={evil: evil, "x": [evil]}),
        record("waiting", 1, connection=evil, message=evil),
        record("wait_ended", 2, connection=evil, seconds=1.0),
        *step("load", 2, uses="shadow_load", result={"measures": [measure]}),
        *step("prove", 3, uses="verify_backup",
              outputs={"level": evil, "session": evil, "at": evil, "tables": [measure]}),
        *step("bad", 4, state="failed", message=evil, hint=evil, code="PR0401"),
        record("retrying", 4, path="bad", attempt=1, of=0, delay=1.0, message=evil),
        ended(5, "failed", message=evil, next=evil),
    ]  # fmt: skip


def hostile_index(evil: str) -> str:
    told = [("p", one) for one in [began(plan="p"), ended(5, "failed", message=evil)]]
    facts = SessionFacts(name=evil, state=evil, taken=BEGAN, plan=evil, bytes=5, rows=1)
    stored = stored_report.Stored(
        file=Path(f"/x/{evil}"), plan="p", run=RUN, mode=evil, state=evil, began=evil, ended=evil, digest=evil,
        records=1, made=BEGAN, planrun=evil,
    )  # fmt: skip
    plan = PlanFacts(name=evil, file=evil, databases=[evil], milestones=told, sessions=[(evil, facts)], notes=[evil])
    return index_page.page([plan], {("p", RUN): stored, (evil, evil): stored}, made=BEGAN + timedelta(days=1))


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_hostile_names_stay_text(evil: str) -> None:
    page = harmless(run_page.page(hostile_records(evil), made=BEGAN))
    seen = " ".join(safe(evil).split())
    assert " ".join(page.text.split()).count(seen) >= 20, "the text is there, as text"
    assert {one.tag: one.attrs.get("content") for one in page.all("meta") if one.attrs.get("name") == "planrun-plan"}
    index = " ".join(harmless(hostile_index(evil)).text.split())
    assert index.count(seen) >= 6


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=None), min_size=1, max_size=60))
def test_any_text_stays_text(evil: str) -> None:
    harmless(run_page.page(hostile_records(evil), made=BEGAN))


def test_the_policy_allows_this_style_and_nothing_else() -> None:
    page = parse(run_page.page([began(), ended(1)], made=BEGAN))
    policy = next(one.attrs["content"] for one in page.all("meta") if "http-equiv" in one.attrs)
    style = base64.b64encode(hashlib.sha256(page.all("style")[0].text.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"


PAGES = {
    "run": run_page.page([*many(3)[:-1], *step("bad", 4, state="failed", message="no", hint="do"), ended(5, "failed")],
                         made=BEGAN),
    "hostile": run_page.page(hostile_records("x"), made=BEGAN),
    "empty": run_page.page([began()], made=BEGAN),
    "index": hostile_index("x"),
    "folded": run_page.page(many(run_page.SHOWN + 5), made=BEGAN),
}  # fmt: skip


@pytest.mark.parametrize("text", PAGES.values(), ids=PAGES.keys())
def test_a_page_can_be_read_by_everybody(text: str) -> None:
    """What WCAG 2.2 AA asks of the structure: language, title, headings, landmarks, tables, pictures, focus."""
    page = harmless(text)
    assert page.all("html")[0].attrs["lang"] == "en" and page.all("title")[0].text.strip()
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch(r"h\d", one.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - before <= 1 for before, later in itertools.pairwise(levels))
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == 1
    for table in page.all("table"):
        assert table.text.strip()
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one.attrs.get("scope") in ("col", "row") for one in page.all("th"))
    for picture in page.all("svg"):
        assert picture.attrs.get("aria-hidden") == "true" or (
            picture.attrs.get("role") == "img" and picture.attrs["aria-label"]
        )
    ids = [one.attrs["id"] for one in page.elements if "id" in one.attrs]
    assert len(set(ids)) == len(ids)
    targets = [one.attrs["href"][1:] for one in page.all("a") if one.attrs["href"].startswith("#")]
    assert set(targets) <= set(ids)
    labels = [one.attrs["aria-labelledby"] for one in page.all("section")]
    assert set(labels) <= set(ids)
    for one in page.elements:
        assert one.attrs.get("tabindex") != "0" or (one.attrs["role"] == "region" and one.attrs["aria-label"])
        state = re.match(r"state (ok|warn|bad|quiet)", one.attrs.get("class", ""))
        assert not state or len(one.text.split()) >= 2, "a state is a sign and a word, never a colour alone"


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    style = parse(PAGES["empty"]).all("style")[0].text
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(schemes) == 3, "light, dark, print"
    for scheme in schemes:
        for back in (scheme["back"], scheme["soft"]):
            words = [_contrast(scheme[name], back) for name in ("text", "quiet", "link", "ok", "warn", "bad")]
            bars = [_contrast(scheme[name], back) for name in ("step", "action", "lock", "wait")]
            assert min(words) >= 4.5 and min(bars) >= 3


def test_size_and_work_grow_with_the_steps_and_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def strong_locks(sql: str) -> dict[str, list[str]]:
        parsed.append(sql)
        return {"SHARE": ["t"]}

    monkeypatch.setattr(locks, "_strong_locks", strong_locks)
    few, more = (run_page.page(many(number), made=BEGAN) for number in (100, 1000))
    assert len(parsed) == 1100, "each text is parsed once"
    assert len(more) < 10.5 * len(few) and len(more) < 1400 * 1000
    for text, number in ((few, 100), (more, 1000)):
        before_folds = text.partition("<details>\n<summary>")[0]
        assert before_folds.count("<tr>") <= run_page.SHOWN + 1
        assert text.count("<pre>") == number and text.count('<rect class="fill-lock" x') == number


def test_what_an_old_journal_does_not_have_is_not_recorded() -> None:
    """Records as 0.1 wrote them: no seconds of actions, no objects, no waits, no versions of servers."""
    told = [one | {} for one in [began(), *step("load", 0, 2, uses="shadow_load", outputs={
        "tables": [{"schema": "app", "name": "Orders", "rows": 7}]}), ended(3)]]  # fmt: skip
    for one in told:
        for name in ("servers", "databases") + (("seconds",) if one["event"] == "action_done" else ()):
            one.pop(name, None)
    page = parse(run_page.page(told, made=BEGAN))
    assert 'app."Orders"' in page.text and page.text.count("not recorded") >= 3
    assert "Not recorded: no step of this run told of an object" in page.text
    assert "No wait for a lock is recorded" in page.text and "No database." in page.text


def test_records_of_any_shape_do_not_break_a_page() -> None:
    broken: list[Any] = [None, [], {}, -1, "x", True, 1e300, {"rows": "x"}, [1], [{"name": 3}]]
    for value in broken:
        fields = {name: value for name in ("objects", "coming", "locks")}
        told = [began(servers=value, databases=value, version=value), *step("a", 0, **fields), ended(1)]
        told += [record("action_done", 1, path="a", key="k", result={"measures": value, "locked_ms": value})]
        told += [
            record("waiting", 1, connection="", message="m"),
            record("retrying", 1, path="a", message="m", delay=value),
        ]
        harmless(run_page.page(told, made=BEGAN))


@settings(max_examples=25, deadline=None)
@given(st.lists(RECORDS, max_size=12))
def test_any_records_after_the_beginning_of_a_run_give_a_page(found: list[Any]) -> None:
    harmless(run_page.page([began(), *step("a"), *found], made=BEGAN))


def test_a_page_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no run begins"):
        run_page.page([ended(1)], made=BEGAN)
    assert at(0) == BEGAN.isoformat(timespec="milliseconds")
