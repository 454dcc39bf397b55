"""planrun help: print the help of a command or a page about a topic; list the topics."""

from __future__ import annotations

import shutil

import click

from runner.cli.common import print_text
from runner.errors import UsageError

WIDEST = 100
"""Columns of a page at most; longer lines are hard to read."""


@click.command(
    epilog="\b\nExamples:\n  planrun help\n  planrun help guards\n  planrun help apply\n  planrun help backups restore"
)
@click.argument("words", nargs=-1, metavar="[TOPIC|COMMAND]")
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> int:
    """Print the help of a command, or a page about a topic; without a word, list the topics.

    The pages are those of the documentation. `planrun help guards` prints the page about guards, `planrun help apply`
    the same as `planrun apply --help`.
    """
    from runner.report.topics import TOPICS

    root = context.find_root()
    if not words:
        print_text(_list_of_topics())
    elif found := _command_help(root, words):
        print_text(f"{found}\n")
    elif len(words) == 1 and words[0] in TOPICS:
        print_text(_page(words[0]))
    else:
        raise _no_such_topic(root, words)
    return 0


def _page(name: str) -> str:
    from runner.report import topics
    from runner.report.terminal_page import terminal_page

    pages = {topic.page: name for name, topic in topics.TOPICS.items() if not topic.section}
    return terminal_page(topics.markdown(name), pages, min(shutil.get_terminal_size().columns, WIDEST))


def _list_of_topics() -> str:
    from runner.report.topics import TOPICS

    lines = [f"  {name:15} {topic.doc}" for name, topic in TOPICS.items()]
    return "\n".join(
        ["Topics:", *lines, "", "`planrun help TOPIC` prints the page. `planrun --help` lists the commands.\n"]
    )


def _command_help(context: click.Context, words: tuple[str, ...]) -> str:
    """Return the help of a command, given by its words after `planrun`; "" if there is no such command."""
    for name in words:
        group = context.command
        child = group.get_command(context, name) if isinstance(group, click.Group) else None
        if child is None:
            return ""
        context = click.Context(child, info_name=name, parent=context)
    return context.get_help()


def _no_such_topic(root: click.Context, words: tuple[str, ...]) -> UsageError:
    from runner.cli.manual.tree import command_pages
    from runner.guard import nearest
    from runner.language import explanation
    from runner.report.topics import TOPICS
    from runner.words import close_matches

    asked = " ".join(words)
    assert isinstance(root.command, click.Group)
    known = [*TOPICS, *(" ".join(one.words) for one in command_pages(root.command))]
    if explanation.explanation(asked) or asked.upper().startswith("PR0"):
        hint = f"planrun explain {asked}"
    elif close_matches(asked, known):
        hint = nearest(asked, known)
    else:
        hint = "`planrun help` lists the topics, `planrun --help` the commands"
    return UsageError(f"there is no topic and no command named {asked}", hint=hint, code="PR0608")
