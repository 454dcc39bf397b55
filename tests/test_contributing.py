"""The kind that CONTRIBUTING.md shows is a whole one: its plan validates, runs, and does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COMMAND = "import sys, runner.kinds; runner.kinds.__path__.append(sys.argv[1]); from runner.cli import main; "


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def planrun(folder: Path, db: str, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", COMMAND + "sys.exit(main(sys.argv[2:]))", str(folder / "kinds"), *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": db, "PLANRUN_STATE_DIR": str(folder / "state")}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True)


def test_the_kind_of_the_page_works(db: str, tmp_path: Path) -> None:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "analyze.py").write_text(block("python"))
    (tmp_path / "plan.yml").write_text(block("yaml"))
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table orders (id int); insert into orders select generate_series(1, 100)")
        assert planrun(tmp_path, db, "validate", "plan.yml").returncode == 0
        done = planrun(tmp_path, db, "apply", "plan.yml", "--yes")
        assert done.returncode == 0 and 'analyze "public"."orders"' in done.stderr, done.stderr
        (rows,) = conn.execute("select reltuples from pg_class where relname = 'orders'").fetchone() or (0,)
        assert rows == 100
    assert len(block("python").splitlines()) <= 45


def test_the_lines_that_are_counted_are_few() -> None:
    """40 lines of code, as the heading says: without blank ones and texts for people."""
    code = [line for line in block("python").splitlines() if line.strip() and not line.lstrip().startswith('"""')]
    assert len(code) <= 40


def test_every_word_of_the_glossary_has_one_meaning() -> None:
    words = re.findall(r"^\| ([a-z][^|]*?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert words == sorted(set(words)) and len(words) > 20
