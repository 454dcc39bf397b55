"""Repositories of git with plans, made for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENV = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
}  # fmt: skip


class Repository:
    """A work tree. `commit` keeps all that is in it; `write` changes a file and makes its folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str, given: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            input=given,
            capture_output=True,
            env={**os.environ, **_ENV, **(env or {})},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> str:
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, *entries: tuple[str, str, str]) -> str:
        """Commit a tree of (mode, name, content), which need be no valid one: git itself refuses to make some."""
        lines = []
        for mode, name, content in entries:
            sha = content if mode == "40000" else self.git("hash-object", "-w", "--stdin", given=content.encode())
            lines.append(f"{mode} {name}\0".encode() + bytes.fromhex(sha))
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", given=b"".join(lines))
        return self.git("commit-tree", tree, "-m", "x")

    def tree(self, *entries: tuple[str, str, str]) -> str:
        return self.git("rev-parse", f"{self.commit_tree(*entries)}^{{tree}}")
