"""The words of a plan, explained."""

from __future__ import annotations

import json

import pytest

from runner.cli import main
from runner.language.explanation import explanation, names


def test_every_kind_template_key_and_field_is_explained() -> None:
    found = list(names())
    assert {"connections", "retry.on", "find_tables", "find_tables.prefix", "find_tables.tables", "backup"} <= {*found}
    assert all(explanation(name) for name in found)


def test_a_field_has_its_type_default_and_description() -> None:
    text = explanation("backup.retention_days")
    assert text == (
        "Parameter of backup:\n"
        "  retention_days (number or null, default `null`)\n"
        "      Remove sessions older than this many days.\n"
    )


def test_a_kind_has_its_description_parameters_and_outputs() -> None:
    text = explanation("find_tables") or ""
    assert text.startswith("find_tables: Find tables by prefix")
    assert text.index("\nwith:\n") < text.index("\n  prefix (") < text.index("\ngives:\n") < text.index("\n  tables (")


def test_a_word_that_means_two_things_has_both() -> None:
    text = explanation("backup") or ""
    assert "Key of a plan:" in text and "backup: " in text


def test_what_means_nothing_is_none() -> None:
    assert explanation("bakcup") is None and explanation("find_tables.nothing") is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("bakcup", "error: PR0608 there is nothing named bakcup to explain\n  hint: did you mean 'backup'?\n"),
        ("PR0000", "error: PR0608 there is nothing named PR0000 to explain\n"),
        ("find_tables.prefxi", "did you mean 'find_tables.prefix'?"),
    ],
)
def test_the_command_names_what_was_meant(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 64
    assert said in capsys.readouterr().err


def test_the_command_explains_a_code_and_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "pr0110"]) == 0
    assert capsys.readouterr().out.startswith("PR0110: A key is not known here\n")
    assert main(["explain", "retry"]) == 0
    assert "retry.attempts" in capsys.readouterr().out
    assert main(["explain", "PR0110", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["error_code"]["title"] == "A key is not known here"


def test_a_code_has_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "PR0110", "last"]) == 64
    assert "only a plan has runs" in capsys.readouterr().err
