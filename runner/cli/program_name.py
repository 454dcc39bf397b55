"""How this process was started, for commands that a person copies from its output."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_MODULE = Path(__file__).parents[1] / "__main__.py"


def program_name() -> str:
    """Return `planrun`, or the path to type in this folder if the shell would not find this planrun by its name."""
    started = Path(sys.argv[0])
    if started == _MODULE:
        return f"{_path(Path(sys.executable))} -m runner"
    if started.name != "planrun" or not started.exists():  # called from Python
        return "planrun"
    found = shutil.which("planrun")
    return "planrun" if found and Path(found).samefile(started) else _path(started)


def program_words() -> list[str]:
    """Return the first words of a command line that works in every folder."""
    started = Path(sys.argv[0])
    if started.name == "planrun" and started.exists():
        return [str(Path.cwd() / started)]
    return [sys.executable, "-m", "runner"]


def _path(file: Path) -> str:
    whole = Path.cwd() / file  # a link stays one: that of a virtual environment is its Python
    return shlex.quote(str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole))
