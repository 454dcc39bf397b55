"""Read a page as a browser does, and look for what a report must not have: scripts, handlers, addresses elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "rect", "source"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "section", "h1", "h2", "h3"),
    *("p", "a", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "strong", "code", "pre", "br", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "g", "defs", "pattern", "path", "rect", "text"),
}
ADDRESS = re.compile(r"#[a-z-]+\Z|\./[\w.%~-]+\Z")


@dataclass
class Element:
    tag: str
    attrs: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page in their order, each with the text inside; `text` is all text but that of the style."""

    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1].tag == tag, f"</{tag}> closes nothing"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
        if not any(element.tag == "style" for element in self._open):
            self.text += data

    def close(self) -> None:
        super().close()
        assert not self._open, f"never closed: {[one.tag for one in self._open]}"

    def all(self, tag: str) -> list[Element]:
        return [one for one in self.elements if one.tag == tag]


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    return page


def harmless(text: str) -> Page:
    """Return the page when nothing in it runs, and nothing in it leads or loads from elsewhere."""
    page = parse(text)
    for one in page.elements:
        assert one.tag in TAGS, one
        for name, value in one.attrs.items():
            assert not name.startswith("on") and name not in ("style", "src", "srcset", "srcdoc", "action"), one
            assert name not in ("href", "xlink:href") or ADDRESS.match(value), one
            assert name != "fill" or value in ("none", "url(#hatch)"), one
    assert len(page.all("style")) == 1 and "url(" not in page.all("style")[0].text
    assert "@import" not in page.all("style")[0].text
    return page
