"""planrun fmt: lay plans and templates out in one form."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.common import print_text, show_error
from runner.errors import Mark, PlanError, PlanrunError, Problem, UsageError
from runner.report.colours import show
from runner.words import one_line

if TYPE_CHECKING:
    from runner.language.layout import LayoutBug

SOMETHING_TO_DO = 2
STDIN = "-"


@click.command(epilog="Example: planrun fmt plans/")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--check", is_flag=True, help="Write nothing; exit with 2 if a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change as a unified diff.")
def command(files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Lay plans and templates out in one form: indentation, spaces, blank lines, the place of comments.

    Nothing is re-ordered, and quotes, styles and line breaks stay as they are. Of a folder, it takes all *.yml and
    *.yaml files in it and below. `-` reads stdin and writes stdout.
    """
    job = _Job(check=check, diff=diff)
    if STDIN in files:
        if len(files) > 1:
            raise UsageError("`-` cannot be combined with other files", hint="planrun fmt - < plan.yml", code="PR0601")
        job.take(STDIN)
    else:
        for file in dict.fromkeys(found for named in files for found in _files(named)):
            job.take(file)
    return job.end()


def _files(named: str) -> Iterator[str]:
    """Yield a file as it is named, or the YAML files of a folder. Raises UsageError if the folder has none."""
    if not Path(named).is_dir():
        yield named
        return
    found = sorted(path for path in _below(Path(named)) if path.suffix in (".yml", ".yaml"))
    if not found:
        raise UsageError(
            f"no *.yml or *.yaml in the folder {one_line(named)}", hint="name a plan or a template", code="PR0115"
        )
    yield from map(str, found)


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below; nothing hidden, and no folder that is a link."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif not path.is_symlink():
            yield from _below(path)


class _Job:
    """The files of one command line: the result of each, and the common exit code."""

    def __init__(self, *, check: bool, diff: bool) -> None:
        self.check, self.diff = check, diff
        self.changes = False
        self.codes: list[int] = []
        self.bug: LayoutBug | None = None

    def take(self, file: str) -> None:
        """Format a file; an error is reported, and the other files are still formatted."""
        from runner.language.layout import LayoutBug

        try:
            self.format(file)
        except PlanrunError as exc:
            self.codes.append(show_error(exc, [file]))
        except LayoutBug as exc:
            show(f"error: {one_line(file)}: not changed: {exc}", sys.stderr)
            self.bug = self.bug or exc

    def end(self) -> int:
        """Return the exit code. Raises LayoutBug as any unexpected error is raised."""
        if self.bug:
            raise self.bug
        return max(self.codes, default=SOMETHING_TO_DO if self.check and self.changes else 0)

    def format(self, file: str) -> None:
        from runner.files import rewrite
        from runner.language.layout import layout

        name = "<stdin>" if file == STDIN else file
        old = _read(file)
        new = layout(old, name).encode()
        self.changes |= new != old
        if self.diff:
            print_text(_diff(old.decode(), new.decode(), name), whole=True)
        elif self.check:
            self.tell(name, "would be formatted" if new != old else "ok")
        elif file == STDIN:
            sys.stdout.flush()
            sys.stdout.buffer.write(new)
        elif new == old:
            self.tell(name, "ok")
        else:
            rewrite(Path(file), new)
            self.tell(name, "formatted")

    def tell(self, name: str, what: str) -> None:
        print_text(f"{one_line(name)}: {what}\n")


def _read(file: str) -> bytes:
    from runner.language.compose import refuse_link_out
    from runner.language.source import MAX_BYTES, read_bytes

    if file == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    refuse_link_out(Path(file))
    if Path(file).exists() and not Path(file).is_file():
        raise PlanError(
            Problem(Mark(file, 1, 1), "this is not a plain file", "planrun fmt - reads stdin", code="PR0102")
        )
    return read_bytes(Path(file), file)


def _diff(old: str, new: str, name: str) -> str:
    """Return a unified diff, "" if there is no difference."""
    lines = difflib.unified_diff(_lines(old), _lines(new), name, f"{name} (formatted)", n=3)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Return the lines with their breaks; str.splitlines would also break at characters that a line may contain."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])
