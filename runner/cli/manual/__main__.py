"""python -m runner.cli.manual FOLDER: write docs/cli.md and man/*.1 below a folder (make generate)."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.cli import group
from runner.cli.manual.cli_page import page
from runner.cli.manual.man_pages import man_pages
from runner.cli.manual.tree import command_pages


def write(folder: Path) -> None:
    """Write the files, and remove man pages of commands that are no more."""
    pages = list(command_pages(group))
    man, docs = folder / "man", folder / "docs"
    for place in (man, docs):
        place.mkdir(parents=True, exist_ok=True)
    (docs / "cli.md").write_text(page(pages), encoding="utf-8")
    made = man_pages(pages)
    for old in set(man.glob("*.1")) - {man / name for name in made}:
        old.unlink()
    for name, text in made.items():
        (man / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
