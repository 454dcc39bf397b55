"""Each topic of `planrun help` is there, whole, and readable in a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli import COMMANDS, main
from runner.report import topics
from runner.report.terminal_page import terminal_page
from runner.report.topics import TOPICS, rows, section
from tests.unit.test_layers import HEAVY, modules_that_load


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_is_printed_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", name]) == 0
    out = capsys.readouterr().out
    text = topics.markdown(name)
    assert text.startswith("#") and len(out) > 200
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M):
        assert heading in out
    code = [line for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    assert all(line.rstrip() in out for line in code), "a line of code is broken"
    assert "](" not in re.sub(r"`[^`]*`", "", out)


def test_topics_and_commands_have_different_names() -> None:
    assert not set(TOPICS) & set(COMMANDS)
    assert list(TOPICS) == sorted(TOPICS)
    assert all(topic.doc.endswith(".") and len(topic.doc) < 80 for topic in TOPICS.values())


def test_help_lists_the_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out and topic.doc in out for name, topic in TOPICS.items())
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("words", [["apply"], ["backups"], ["backups", "restore"], ["help"]], ids=" ".join)
def test_help_of_a_command_is_what_the_command_says(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", *words]) == 0
    helped = capsys.readouterr().out
    assert main([*words, "--help"]) == 0
    assert helped == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["aply"], "did you mean 'apply'?"),
        (["gaurds"], "did you mean 'guards'?"),
        (["find_tables"], "planrun explain find_tables"),
        (["pr0408"], "planrun explain pr0408"),
        (["backups", "restor"], "did you mean 'backups restore'?"),
        (["zzz"], "`planrun help` lists the topics"),
    ],
)
def test_what_is_no_topic(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", *words]) == 64
    err = capsys.readouterr().err
    assert "PR0608" in err and " ".join(words) in err and hint in err


def test_an_installation_without_pages_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(topics, "DOCS", tmp_path)
    assert main(["help", "guards"]) == 1
    assert "PR0903" in capsys.readouterr().err


PAGE = "# A\n\nfirst\n\n## B\n\nbee\n\n```sh\n# no heading\n```\n\n### C\n\nsea\n\n## D\n\ndee\n"


def test_sections() -> None:
    assert section(PAGE, "B") == "## B\n\nbee\n\n```sh\n# no heading\n```\n\n### C\n\nsea\n\n"
    assert section(PAGE, "A") == "# A\n\nfirst\n\n"
    assert section(PAGE, "D") == "## D\n\ndee\n"
    with pytest.raises(LookupError):
        section(PAGE, "no heading")


def test_rows_of_tables() -> None:
    found = dict(rows("environment.md"))
    assert "folder of local journals" in found["PLANRUN_STATE_DIR"] and "NO_COLOR" in found


def test_links_name_what_to_type_and_code_is_whole() -> None:
    text = (
        "See [guards](guards.md#states), [this](#x) and [that](https://a.example/b).\n\n```sh\n" + "x" * 120 + "\n```\n"
    )
    out = terminal_page(text, {"guards.md": "guards"}, 60)
    flat = " ".join(out.split())
    assert "guards (`planrun help guards`), this and that (https://a.example/b)." in flat
    assert "    " + "x" * 120 in out.splitlines()
    assert max(len(line) for line in out.splitlines() if "xx" not in line) <= 60


def test_a_terminal_gets_the_page_at_its_width() -> None:
    """In a real pseudo terminal of 60 columns."""
    primary, secondary = pty.openpty()
    code = "import sys; from runner.cli import main; sys.exit(main(['help', 'deadlines']))"
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "60", "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=secondary, env=env)
    os.close(secondary)
    said = b""
    while True:
        try:
            more = os.read(primary, 65536)
        except OSError:  # as Linux reports the end
            break
        if not more:
            break
        said += more
    os.close(primary)
    assert child.wait() == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", said.decode()).splitlines()
    assert "Deadlines" in lines[0] and max(map(len, lines)) <= 60


def test_help_loads_little(tmp_path: Path) -> None:
    assert modules_that_load(["help"], tmp_path) & (HEAVY | {"runner.model"}) <= {"runner.model"}
    assert modules_that_load(["help", "guards"], tmp_path) & HEAVY == {"rich"}
