"""Every command of the tutorial works, one after the other, and prints the lines that the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.servers import Server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial-swap.md").read_text()
FILE = re.compile(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of the page, each with the lines that it shows below."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, lines


def test_the_tutorial_works_as_it_is_written(pg_server: Server, tmp_path: Path) -> None:
    for name, text in FILE.findall(PAGE):
        (tmp_path / name).write_text(text)
    assert {path.name for path in tmp_path.iterdir()} == {"live.sql", "new.sql", "swap.yml"}
    words = psycopg.conninfo.conninfo_to_dict(pg_server.conninfo())
    env = {
        "PATH": f"{Path(sys.executable).parent}:{pg_server.programs.bin}:{os.environ['PATH']}",
        "PLANRUN_STATE_DIR": str(tmp_path / "state"),
        **{LIBPQ[key]: str(value) for key, value in words.items() if key in LIBPQ},
        **{f"PLANRUN_{name}_YES": "1" for name in ("APPLY", "ROLLBACK", "ABORT")},  # for the person who types y
    }
    try:
        for command, lines in commands():
            done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"
            printed = (done.stdout + done.stderr).splitlines()
            for line in lines:
                assert any(one.startswith(line) for one in printed), f"{command} does not print {line!r}: {printed}"
    finally:
        for name in ("shop_live", "shop_new"):
            pg_server.drop(name)


def test_the_tutorial_shows_the_whole_way() -> None:
    typed = [command for command, _ in commands()]
    for word in ("validate", "diff", "apply", "status", "rollback", "abort"):
        assert any(command.startswith(f"planrun {word} ") for command in typed), word
    assert sum(len(lines) for _, lines in commands()) > 20
