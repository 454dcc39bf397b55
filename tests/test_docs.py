"""What the pages show must work: every plan in them validates, every command exists, every link leads somewhere."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from runner.cli import COMMANDS, group, main
from runner.language.layout import layout
from runner.monitoring.families import FAMILIES, RUN_FAMILIES
from runner.monitoring.measures import STATES
from runner.monitoring.sessions import SESSION_STATES
from tests.crash import invariants
from tests.crash.kinds import KINDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLANS = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "errors.md"  # whose plans have the error that they stand for: unit/test_error_codes.py
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for line in re.findall(r"planrun ((?:[a-z]+ ?)[^`\x22\n|&#>]*)", "\n".join(_examples(page))):
        words = shlex.split(line.split("  ")[0])
        if words[0] in COMMANDS:
            _check_command(words)


def _examples(page: Path) -> list[str]:
    text = page.read_text()
    blocks = [body for language, body in BLOCK.findall(text) if language in ("console", "json")]
    return [*blocks, *re.findall(r"`(planrun [^`]+)`", text)]


def _check_command(words: list[str]) -> None:
    command: click.Command = group
    options: set[str] = set()
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"planrun {' '.join(words)}: no command {word}"
            command = found
            options = {name for param in command.params for name in param.opts} | {"--help"}
        elif word.startswith("--"):
            assert word.partition("=")[0] in options, f"planrun {' '.join(words)}: no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


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
