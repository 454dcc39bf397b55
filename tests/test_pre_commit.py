"""The hooks, with the real pre-commit: it installs planrun from a repository and runs it on what is staged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runner.cli import main

ROOT = Path(__file__).parents[1]
PACKAGE = ("runner", "schemas", "sql", "plans")
FILES = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
PRETTY = "name: nightly\nsteps:\n  - {id: save, uses: backup}  # every night\nbackup:\n  path: ./backups\n"
UGLY = "name:   nightly\nsteps:\n- {id: save,uses: backup} # every night\nbackup:\n    path: ./backups\n"
SLOW = "name: slow\nsteps:\n  - {id: a, uses: sql, with: {text: create index on orders (id)}}\n"
TEMPLATE = "inputs:\n  name: {type: string}\nsteps:\n  - {id: a, uses: sql, with: {text: 'select 1'}}\n"
BROKEN = "name: broken\nsteps:\n  - {id: a, uses: sqll}\n"


class Repository:
    """A git repository that knows nothing of the user's settings, pre-commit's cache or hooks."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))}
        self.env |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        self.env |= {"PRE_COMMIT_HOME": str(home / "pre-commit"), "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
        self.env |= {"GIT_CONFIG_NOSYSTEM": "1", "VIRTUALENV_OVERRIDE_APP_DATA": str(home / "virtualenv")}
        folder.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", ".")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=planrun", "-c", "user.email=planrun@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=all")
        return self.git("rev-parse", "HEAD")

    def run_hooks(self) -> tuple[int, str]:
        self.git("add", "--all")
        argv = [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never"]
        done = subprocess.run(argv, cwd=self.folder, env=self.env, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def planrun(tmp_path: Path) -> Repository:
    """A repository with what this checkout holds now, committed or not."""
    made = Repository(tmp_path / "planrun", tmp_path / "home")
    for name in PACKAGE:
        shutil.copytree(ROOT / name, made.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, made.folder / name)
    return made


def test_the_hooks_mend_what_they_can_and_refuse_the_rest(planrun: Repository, tmp_path: Path) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    chosen = [{"id": hook["id"]} for hook in hooks]
    user = Repository(tmp_path / "user", tmp_path / "home")
    config = {"repos": [{"repo": str(planrun.folder), "rev": planrun.commit(), "hooks": chosen}]}
    (user.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    plans = user.folder / "plans"
    plans.mkdir()
    (plans / "nightly.yml").write_text(UGLY)
    (plans / "broken.yml").write_text(BROKEN)
    (user.folder / "compose.yml").write_text(UGLY)
    (plans / "steps").mkdir()
    (plans / "steps" / "save.yml").write_text(TEMPLATE)
    words = ("--job", "nightly", "--yes", "-o", str(user.folder / "backup.yml"))
    assert main(["init", *words]) == 0

    code, said = user.run_hooks()
    assert code == 1 and said.count("Failed") == 3, said
    assert (
        "planrun-fmt" in said and "files were modified by this hook" in said and "plans/nightly.yml: formatted" in said
    )
    assert "plans/broken.yml:3:19" in said and "sqll" in said
    assert (plans / "nightly.yml").read_text() == PRETTY
    assert (user.folder / "compose.yml").read_text() == UGLY, "not a plan"

    (plans / "broken.yml").write_text(BROKEN.replace("uses: sqll", "uses: confirm, with: {message: 'Go on?'}"))
    code, said = user.run_hooks()
    assert code == 0 and said.count("Passed") == 3, said

    (plans / "slow.yml").write_text(SLOW)
    code, said = user.run_hooks()
    assert code == 1 and said.count("Failed") == 1, said
    assert "plans/slow.yml:3:37: PR1024 CREATE INDEX lets nobody write to orders" in said
