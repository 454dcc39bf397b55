"""How this process was started, for commands that a person copies from its output."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program_name() -> str:
    """Return `planrun`, or the path to type in this folder if the shell would not find this planrun by its name."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{_path(Path(sys.executable))} -m runner"
    if started.name != "planrun" or not started.exists():  # called from Python
        return "planrun"
    found = shutil.which("planrun")
    return "planrun" if found and Path(found).samefile(started) else _path(started)


def _path(file: Path) -> str:
    whole = Path.cwd() / file  # a link stays one: that of a virtual environment is its Python
    with_folder = whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
    return shlex.quote(str(with_folder))
