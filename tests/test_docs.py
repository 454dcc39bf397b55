"""What the pages show must work: every plan in them validates, every command exists, every link leads somewhere, and
what is there to be copied passes the checker of its kind."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import TypeGuard

import click
import pytest
import yaml

from runner.cli import COMMANDS, group, main
from runner.cli.manual.tree import command_pages
from runner.language.layout import layout
from runner.monitoring.families import FAMILIES, RUN_FAMILIES
from runner.monitoring.measures import STATES
from runner.monitoring.sessions import SESSION_STATES
from tests.crash import invariants
from tests.crash.kinds import KINDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLANS = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    # plans with errors (unit/test_error_codes.py), and one with a kind of its own (test_contributing.py)
    if page.name not in ("errors.md", "CONTRIBUTING.md")
    for number, (language, text) in enumerate(BLOCK.findall(page.read_text()))
    if language == "yaml" and re.search(r"^(steps|backup):", text, re.MULTILINE)
]


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_of_the_pages_is_formatted(text: str) -> None:
    assert layout(text, "plan.yml") == text


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_of_the_pages_validates(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sql").mkdir()
    for name in re.findall(r"file: (\w+\.sql)", text):
        (tmp_path / "sql" / name).write_text("drop table old;\n")
    (tmp_path / "plan.yml").write_text(text)
    assert main(["validate", str(tmp_path / "plan.yml")]) == 0, capsys.readouterr().err


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for line in re.findall(r"planrun ((?:[a-z]+ ?)[^`\x22\n|&#>]*)", "\n".join(_examples(page))):
        words = shlex.split(line.split("  ")[0].replace("'", ""))
        if words[0] in COMMANDS:
            _check_command(words)


def test_what_a_page_lets_you_type_is_a_command() -> None:
    typed = [
        (page.name, word)
        for page in PAGES
        for language, body in BLOCK.findall(page.read_text())
        for word in re.findall(r"^\$ (?:sudo )?(?:\S*/)?planrun ([a-z]+)", body, re.MULTILINE)
        if language == "console"
    ]
    assert len(typed) > 100
    assert [(page, word) for page, word in typed if word not in COMMANDS] == []


def _examples(page: Path) -> list[str]:
    text = page.read_text()
    blocks = [body for language, body in BLOCK.findall(text) if language in ("console", "json", "sh", "yaml", "ini")]
    return [*blocks, *re.findall(r"`(planrun [^`]+)`", text)]


def _check_command(words: list[str]) -> None:
    command: click.Command = group
    options: set[str] = set()
    formats: tuple[str, ...] = ()
    for before, word in zip(("", *words), words, strict=False):
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"planrun {' '.join(words)}: no command {word}"
            command = found
            options = {name for param in command.params for name in param.opts} | {"--help"}
            formats = next((tuple(one.type.choices) for one in command.params if _is_format(one)), ())
        elif word.startswith("--"):
            assert word.partition("=")[0] in options, f"planrun {' '.join(words)}: no option {word}"
        elif before == "-o" and formats:  # elsewhere it names a file
            assert word in formats, f"planrun {' '.join(words)}: no format {word}"


def _is_format(param: click.Parameter) -> TypeGuard[_Format]:
    return "-o" in param.opts and isinstance(param.type, click.Choice)


class _Format(click.Option):
    type: click.Choice[str]


# ------------------------------------------------------------------ links

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: its headings in GitHub's form, a number at those that come again."""
    found: Counter[str] = Counter()
    made = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return frozenset(made)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_an_anchor_that_is_not_there_would_be_found() -> None:
    page = ROOT / "docs" / "replace-tables.md"
    assert "rights-disk-programs" in anchors(page) and "rights-disk-program" not in anchors(page)


def test_the_list_of_pages_has_all_of_them_with_a_first_sentence() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {
        (index.parent / target).resolve()
        for target in re.findall(r"^\* \[[^\]]+\]\(([^)]+)\)", index.read_text(), re.M)
    }
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {index}
    assert not pages - listed, "list the new page in docs/README.md, which is the navigation of the site"
    for page in pages:
        first = page.read_text().split("\n\n")[1]
        assert not first.startswith(("#", "|", "```")), f"{page.name} does not say what it is for"


# ------------------------------------------------------------------ what is generated, or lists what is in the code


def test_the_page_of_variables_has_each_that_planrun_reads() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "runner").rglob("*.py"))
    read = set(re.findall(r"\bPLANRUN_[A-Z_]+[A-Z]\b", code))
    examples = {name for name in read if re.fullmatch(r"PLANRUN_([A-Z]+_URL|X)", name)} | {"PLANRUN_COMPLETE"}
    assert read - examples <= set(re.findall(r"PLANRUN_\w+", page))


def test_the_page_of_formats_names_the_commands_that_have_each() -> None:
    page = (ROOT / "docs" / "formats.md").read_text()
    rows = {name: set(re.findall("`([^`]+)`", commands)) for name, commands in FORMAT_ROW.findall(page)}
    for name in ("jsonl", "markdown", "github", "gitlab", "sarif", "junit"):
        having = {
            " ".join(one.words)
            for one in command_pages(group)
            if any(re.match(rf"-o, --output \[.*\b{name}\b", option.names) for option in one.options)
        }
        assert rows[name] == having, name


FORMAT_ROW = re.compile(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", re.MULTILINE)


def test_the_page_on_crashes_has_every_promise_that_is_checked_and_every_way_to_fail() -> None:
    page = (ROOT / "docs" / "crash-safety.md").read_text()
    checks = [
        each
        for each in vars(invariants).values()
        if inspect.isfunction(each) and each.__module__ == invariants.__name__
    ]
    public = [each for each in checks if not each.__name__.startswith("_") and each.__name__ != "has_begun"]
    quoted = set(re.findall(r"^\* (.*)$", page, re.MULTILINE))
    assert quoted == {(each.__doc__ or "").partition("\n")[0] for each in public}
    assert set(re.findall(r"`([a-z]+-[a-z-]+)`", page)) >= set(KINDS)
    assert not {name for name in re.findall(r"--kind (\S+)|KINDS=(\S+)", page) if not {*name} & {*KINDS}}


def test_the_map_names_every_module_of_a_refresh() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page[page.index("| question | module") : page.index("Texts of expressions are compared")]
    named = re.findall(r"`([\w/]+)\.py`", table)
    home = ROOT / "runner" / "refresh"
    there = {path.relative_to(home).with_suffix("").as_posix() for path in home.rglob("[!_]*.py")}
    assert sorted(named) == sorted(there)


def test_the_diff_of_the_readme_is_a_real_one() -> None:
    text = (ROOT / "README.md").read_text()
    block = text.partition("```text\n")[2].partition("```")[0]
    made = (ROOT / "tests" / "cases" / "backup" / "the_file_of_the_seed" / "diff.txt").read_text()
    assert re.fullmatch(re.sub("<[a-z]+>", "[^\\\\n]+", re.escape(made).replace("\\<", "<").replace("\\>", ">")), block)


def test_the_metrics_of_the_page_are_those_of_the_file_and_its_alerts_use_no_others() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(planrun_\w+)` \| (\w+) \| ([\w, ]*)\|", page, re.MULTILINE)
    labels = {name: [*(["mode"] if name in RUN_FAMILIES else []), *family.labels] for name, family in FAMILIES.items()}
    assert {name: (kind, re.findall(r"\w+", text)) for name, kind, text in rows} == {
        name: (family.kind, labels[name]) for name, family in FAMILIES.items()
    }
    (rules,) = (yaml.safe_load(text) for language, text in BLOCK.findall(page) if language == "yaml")
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 5
    used = {name for rule in alerts for name in re.findall(r"planrun_\w+", rule["expr"])}
    assert used <= set(FAMILIES)
    states = {
        word for rule in alerts for text in re.findall(r'state=~?"([^"]+)"', rule["expr"]) for word in text.split("|")
    }
    assert states <= {*STATES, *SESSION_STATES}


def test_the_wrapper_for_nagios_translates_exit_codes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    (script,) = (text for language, text in BLOCK.findall(page) if language == "sh")
    (tmp_path / "check").write_text(script)
    program = tmp_path / "planrun"
    for code, wanted in ((0, 0), (6, 2), (64, 3), (5, 3), (127, 3)):
        program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
        program.chmod(0o755)
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(["sh", tmp_path / "check", "p.yml", "26h"], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (wanted, "backups check p.yml --max-age 26h --min-level 0\n")
