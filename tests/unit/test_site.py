"""The documentation site: which pages it has, what becomes of them, and that a broken link is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.site import build, check


def test_the_navigation_names_pages_of_the_site_once() -> None:
    sections = {title: body for part in build.navigation() for title, body in part.items()}
    assert [*sections] == ["Home", "Tutorial", "How-to", "Reference", "Explanation", "Comparison"]
    named = [path for body in sections.values() if isinstance(body, list) for entry in body for path in entry.values()]
    assert len(named) == len(set(named)) > 30
    assert {Path(path) for path in named} <= set(build.pages())
    assert all(path in map(str, build.pages()) for path in ("README.md", "CHANGELOG.md", "docs/README.md"))


def test_what_pages_link_to_comes_with_them(tmp_path: Path) -> None:
    build.copy_pages(tmp_path)
    build.copy_linked_files(tmp_path, tmp_path)
    for page in tmp_path.rglob("*.md"):
        for target in build.LINK.findall(build.FENCE.sub("", page.read_text())):
            assert (page.parent / target).exists(), f"{page}: {target}"
    assert (tmp_path / "docs" / "site" / "style.css").is_file()


def test_a_page_is_changed_where_the_two_kinds_of_markdown_differ() -> None:
    made = build.for_site(
        "Text:\n* one\n* two\n\n* item\n\n  | a | b |\n  | --- | --- |\n\n"
        '```mermaid\nflowchart\n  f1["a b"]\n  f0["__c__"]\n  f1 --> f0\n```\n\n```yaml\nsteps:\n* x\n  | y\n```\n'
    )
    assert "Text:\n\n* one\n* two\n" in made
    assert "\n    | a | b |\n    | --- | --- |\n" in made
    assert "| 1 | `a` `b` |\n| 0 | `__c__` |\n" in made and "mermaid" not in made
    assert "```yaml\nsteps:\n* x\n  | y\n```" in made


def test_versions_are_listed_the_newest_first(tmp_path: Path) -> None:
    for name in ("0.9", "0.10", "1.0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text("")
    build.write_versions(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert re.findall(r'href="([^"]+)/index\.html"', text) == ["1.0", "0.10", "0.9"]
    assert not [*check.broken_links(tmp_path)]


def test_a_finished_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = tmp_path / "0.1" / "docs" / "how-to" / "x.html"
    page.parent.mkdir(parents=True)
    (tmp_path / "index.html").write_text("")
    page.write_text(f'<script src="{build.SHIM}"></script><a href="VERSIONS">All versions</a>')
    assert [line for line in check.broken_links(tmp_path) if "another host" in line]
    build.finish_pages(tmp_path / "0.1")
    assert 'src="../../docs/site/iframe-worker.js"' in page.read_text()
    assert 'href="../../../index.html"' in page.read_text()


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("other.html", ""),
        ("other.html#here", ""),
        ("#top", ""),
        ("https://a.example/", ""),
        ("none.html", "no such file"),
        ("other.html#there", "no such anchor"),
        ("#bottom", "no such anchor"),
        ("/other.html", "depends on the folder of the server"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f'<h1 id="top">x</h1><a href="{link}">y</a>')
    (tmp_path / "other.html").write_text('<p id="here">z</p>')
    assert [*check.broken_links(tmp_path)] == ([f"index.html: {link}: {why}"] if why else [])
