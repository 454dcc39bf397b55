"""The lines of a text that is laid out anew: free lines, and the columns of comments."""

from __future__ import annotations

import pytest

from runner.language.page import Page


def test_lines_and_free_lines() -> None:
    page = Page()
    page.end_line(blank=True)
    page.write("a:", 0, "")
    page.write("b", 9, " ")
    page.end_line(blank=True)
    page.end_line(blank=True)
    page.comment("# c", 2)
    page.write("'x\n  y'", 2, " ")
    assert page.column == len("  y'")
    page.end_line(blank=True)
    assert page.text() == "a: b\n\n  # c\n  'x\n  y'\n"
    assert page.comments == ["# c"]


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        ([6], ["a  # 0"]),
        ([6, 6], ["a     # 0", "bb    # 1"]),
        ([3, 3], ["a   # 0", "bb  # 1"]),
        ([6, 8], ["a  # 0", "bb  # 1"]),
        ([6, 6, 9], ["a     # 0", "bb    # 1", "ccc  # 2"]),
        ([6, 9, 6], ["a  # 0", "bb  # 1", "ccc  # 2"]),
    ],
)
def test_comments_stay_in_a_column_only_with_a_neighbour(columns: list[int], texts: list[str]) -> None:
    page = Page()
    for number, (column, word) in enumerate(zip(columns, ("a", "bb", "ccc"), strict=False)):
        page.write(word, 0, "")
        page.comment(f"# {number}", column)
    assert page.text().split("\n")[:-1] == texts
