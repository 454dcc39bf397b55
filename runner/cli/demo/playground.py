"""A shell with the demo's databases, in which a person can type commands of planrun. All of it goes with the shell."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from runner.cli.demo import databases
from runner.cli.program_name import program_words
from runner.errors import PlanrunError
from runner.server import embedded, programs
from runner.server.shell import open_shell

_HEAD = """\
A shell with a private PostgreSQL {version}: databases shop (PGDATABASE), live and staging. None of yours is touched.
planrun and psql are in PATH, the plans demo.yml and demo-refresh.yml in this folder.
Type exit to end; then the server and the folder are removed.
try: planrun diff demo.yml
"""


def open_playground(keep: Path | None) -> int:
    """Open $SHELL with the databases; return its exit code. keep: the folder for plans, which then stays. Raises
    PlanrunError if there is no such shell."""
    chosen, shell = programs.server_for(), os.environ.get("SHELL") or "/bin/sh"
    if not shutil.which(shell):
        raise PlanrunError(f"there is no shell {shell}", hint="SHELL=/bin/sh planrun demo --shell", code="PR1144")
    with databases.folder(keep) as home, embedded.private_server(chosen) as server:
        path = os.pathsep.join([_link(home), str(chosen.bin), os.environ.get("PATH", os.defpath)])
        with databases.environment(server, home):
            databases.make_playground(server)
            print(_HEAD.format(version=chosen.version), flush=True)
            return open_shell(shell, home, {**os.environ, **chosen.env, "PATH": path, "PGUSER": databases.OWNER})


def _link(home: Path) -> str:
    """Return a folder in which this planrun is found by its name."""
    program, *rest = program_words()
    if not rest:
        return str(Path(program).parent)
    folder = home / ".bin"
    folder.mkdir()
    made = folder / "planrun"
    root = shlex.quote(str(Path(__file__).parents[3]))  # of the package, for a planrun that is run as a module
    made.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {shlex.join([program, *rest])} "$@"\n', encoding="utf-8")
    made.chmod(0o700)
    return str(folder)
