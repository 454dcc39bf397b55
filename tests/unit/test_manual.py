"""docs/cli.md and the man pages say what the commands say, and groff reads them as they are meant."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from runner.cli import COMMANDS, group
from runner.cli.manual.__main__ import write
from runner.cli.manual.cli_page import page
from runner.cli.manual.man_pages import escape, man_pages, text
from runner.cli.manual.tree import SPECIAL_CODES, command_pages
from runner.language.reference import exit_codes
from runner.report.topics import TOPICS
from runner.version import __version__

ROOT = Path(__file__).parents[2]
PAGES = list(command_pages(group))
BY_NAME = {one.name: one for one in PAGES}


def test_there_is_a_page_for_each_command_with_what_it_needs() -> None:
    assert {one.words[0] for one in PAGES if one.words} == set(COMMANDS)
    assert "planrun backups restore" in BY_NAME
    for one in PAGES:
        assert one.synopsis.startswith(one.name) and one.text and one.examples, one.name
        assert all(option.doc for option in one.options)


def test_a_page_has_what_the_command_has() -> None:
    apply = BY_NAME["planrun apply"]
    assert apply.synopsis == "planrun apply [OPTIONS] PLAN"
    assert apply.summary == "Show the diff, ask, and run the plan step by step"
    assert "planrun apply plans/prod.yml --resume --yes" in apply.examples
    (yes,) = [option for option in apply.options if option.names == "-y, --yes"]
    assert yes.doc.startswith("Answer every question with yes")
    assert [option.names for option in apply.options][-1] == "-h, --help"


def test_special_codes_are_of_commands_and_in_the_table_of_codes() -> None:
    assert {f"planrun {name}" for name in SPECIAL_CODES} <= set(BY_NAME)
    assert {code for codes in SPECIAL_CODES.values() for code in codes} <= set(exit_codes())
    for command in ("diff", "compare", "fmt"):  # as the table says
        assert SPECIAL_CODES[command].keys() == {2}


def test_the_markdown_page_has_each_option_and_links_that_lead_somewhere() -> None:
    made = page(PAGES)
    headings = set(re.findall(r"^## (.+)$", made, re.MULTILINE))
    assert headings == set(BY_NAME)
    anchors = {heading.replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]+)\)", made)) <= anchors
    for table in re.findall(r"(?:^\|.*\n)+", made, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}) == 1, table


def test_what_is_committed_is_what_is_made(tmp_path: Path) -> None:
    (tmp_path / "man").mkdir()
    (tmp_path / "man" / "planrun-gone.1").write_text("")
    write(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    there = {path: (ROOT / path).read_text() for path in made}
    assert made == there, "run: make generate"
    assert {path.name for path in (ROOT / "man").iterdir()} == {path.name for path in made if path.suffix == ".1"}


def test_a_man_page_has_the_sections_that_readers_know() -> None:
    made = man_pages(PAGES)
    for name, roff in made.items():
        sections = re.findall(r"^\.SH (.+)$", roff, re.MULTILINE)
        assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"] and sections[-1] == "SEE ALSO", name
        assert f'"planrun {__version__}"' in roff.splitlines()[0]
    assert all(escape(topic) in made["planrun.1"] for topic in TOPICS)
    assert "PLANRUN_STATE_DIR" in made["planrun.1"]
    assert r"\fBplanrun\-backups\-list\fR(1)" in made["planrun-backups.1"]


def test_roff_prints_what_was_meant() -> None:
    assert escape(r"a\b --c") == r"a\eb \-\-c"
    assert escape(".dotted") == r"\&.dotted" and escape("'quoted") == r"\&'quoted"
    assert text("with `--yes`, see [the page](x.md#y)") == r"with \fB\-\-yes\fR, see the page"


@pytest.mark.parametrize("words", ["apply", "backups list", ""])
def test_a_reader_formats_the_page_without_a_complaint(words: str) -> None:
    name = "-".join(["planrun", *words.split()])
    roff = man_pages(PAGES)[f"{name}.1"]
    if not (groff := shutil.which("groff")):
        assert not re.search(r"^\.(?!TH |SH |TP|PP|EX|EE)", roff, re.MULTILINE)
        return
    argv = [groff, "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=78n"]
    done = subprocess.run(argv, input=roff, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert all(option.names in shown for option in BY_NAME[f"planrun {words}".strip()].options)


def test_hidden_commands_and_texts_of_many_paragraphs() -> None:
    @click.group(epilog="Example: tool go")
    def tool() -> None:
        """First words. And more.

        A second
        paragraph."""

    @tool.command(hidden=True)
    def secret() -> None:
        """Not to be seen."""

    (one,) = command_pages(tool)
    assert one.text == ("First words. And more.", "A second paragraph.")
    assert one.summary == "First words" and one.examples == ("tool go",) and not one.commands
