"""Format a diff or a result as Markdown: for a comment in a pull request or the summary page of a CI job."""

from __future__ import annotations

from runner.report import actions
from runner.report.text import counts_text, outputs_text
from runner.result import RunResult, StepResult
from runner.words import one_line, printable, seconds

LIMIT = 60_000
"""GitHub refuses a comment of more than 65,536 characters; the page says what it leaves out."""


def result(found: RunResult, *, after: bool = False) -> str:
    """Return the page: a line of state, a table of steps, and each step's actions folded away."""
    verb = "Result" if after else "Diff"
    places = "".join(f"{_cell(line)}  \n" for line in found.databases) + "\n" * bool(found.databases)
    head = f"### planrun {verb.lower()}: {_cell(found.plan)}\n\n{places}**{found.state}**: {counts_text(found)}\n\n"
    rows = [
        f"| {_cell(step.path)} | {step.planned.step.uses} | {step.state} | {_about(step)} |" for step in found.steps
    ]
    table = "| step | uses | state | |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    folded = "".join(_details(step) for step in found.steps if step.planned.actions)
    foot = f"\nNext: `{found.next}`\n" if found.next else ""
    page = head + table + foot
    if len(page) + len(folded) > LIMIT:
        return page + f"\nThe actions ({len(folded):,} characters) are too long for one comment: `planrun diff`.\n"
    return page + folded


def _about(step: StepResult) -> str:
    words = [step.message, outputs_text(step.outputs), seconds(step.seconds) if step.seconds >= 0.001 else ""]
    return _cell(", ".join(word for word in words if word))


def _details(step: StepResult) -> str:
    lines = [line for action in step.planned.actions for line in actions.lines(action, verbose=True)]
    body = "\n".join(printable(line) for line in lines)
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"\n<details><summary>{_cell(step.path)}</summary>\n\n{fence}sql\n{body}\n{fence}\n</details>\n"


def _longest_run(body: str) -> int:
    longest = run = 0
    for character in body:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def _cell(text: str) -> str:
    """Return text that can neither end a table cell nor be read as HTML or Markdown."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_|[]":
        plain = plain.replace(sign, "\\" + sign)
    return plain
