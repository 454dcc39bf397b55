"""Annotations of a pull request: what stands in a name or a message cannot end one, nor begin another."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Mark, Problem
from runner.report import github
from runner.report.findings import findings


def told(file: str, message: str, hint: str = "") -> str:
    return github.of_findings(findings({"p.yml": [Problem(Mark(file, 1, 2), message, hint)]}, Path.cwd()))


def test_annotations_escape_what_would_end_them() -> None:
    text = told("a,b:c.yml", "50% of\nit::x", "a, b")
    assert text == "::error file=a%2Cb%3Ac.yml,line=1,col=2,title=planrun::50%25 of%0Ait::x%0Ahint: a, b\n"


@given(st.text(min_size=1).filter(lambda name: "\0" not in name), st.text())
def test_each_is_one_line_and_its_words_cannot_grow(file: str, message: str) -> None:
    (line,) = told(file, message).splitlines()
    assert re.fullmatch(r"::error file=[^,:]+,line=1,col=[12],title=planrun::.*", line)
