"""Format the manual as docs/cli.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.cli.manual.tree import CommandPage, Option

HEAD = """# Commands

This page lists every command of planrun with its synopsis, options, exit codes and examples.
`planrun COMMAND --help` and `man planrun-COMMAND` say the same. The page is generated from the commands themselves
(`make generate`). Edit those, not this page.

`man` finds its pages if the `bin` of planrun's environment is on the PATH, or if pipx installed planrun. Otherwise name
them: `man -M ENVIRONMENT/share/man planrun`.

Every option can also come from a variable: `PLANRUN_APPLY_YES=1` stands for `planrun apply --yes`, see
[environment variables](environment.md#options). The exit codes of all commands are in the
[reference](reference.md#exit-codes); below are those that say something about one command.
"""


def page(pages: Iterable[CommandPage]) -> str:
    """Return the page as Markdown. The same commands give the same text."""
    return "".join([HEAD, *("".join(_section(one)) for one in pages)])


def _section(one: CommandPage) -> Iterator[str]:
    yield f"\n## {one.name}\n\n```text\n{one.synopsis}\n```\n"
    yield from (f"\n{paragraph}\n" for paragraph in one.text)
    if one.commands:
        rows = ((f"[{name}](#{anchor(one, name)})", doc) for name, doc in one.commands.items())
        yield "\n" + table(("command", "does"), rows)
    yield "\n" + table(("option", "does"), map(_row, one.options))
    if one.codes:
        yield "\n" + table(("exit code", "meaning"), ((str(code), doc) for code, doc in sorted(one.codes.items())))
    yield "\n```console\n" + "".join(f"$ {example}\n" for example in one.examples) + "```\n"


def anchor(one: CommandPage, name: str) -> str:
    """Return the anchor of the section of a command of a group."""
    return "-".join((one.name, name)).replace(" ", "-")


def _row(option: Option) -> tuple[str, str]:
    return f"`{option.names}`", option.doc


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
