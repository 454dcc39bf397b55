"""What a rehearsed run may not do: touch files of the plan, run a program that names a database by itself."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError
from runner.run.held_locks import LockBook
from runner.run.redirection import Redirection


@dataclass(frozen=True, kw_only=True)
class RehearsalLimits:
    """The limits of one rehearsal. folder: where its files go. locks: where its locks are noted, if anybody asks.

    moved: each path of the plan that is written to, and where it led instead.
    """

    folder: Path
    redirection: Redirection
    locks: LockBook | None = None
    moved: dict[str, str] = field(default_factory=dict)

    def file(self, path: str) -> str:
        """Return where the run writes instead of to this path: in the folder of the rehearsal, the same each time."""
        if self.has(path):
            return path
        digest = hashlib.sha256(path.encode()).hexdigest()[:8]
        return self.moved.setdefault(path, str(self.folder / digest / (Path(path).name or "root")))

    def has(self, path: str) -> bool:
        return Path(path).is_relative_to(self.folder)

    def refuse_outside(self, path: str) -> None:
        """Raise PlanrunError for a file that is not the rehearsal's: no kind may be let through by mistake."""
        if not self.has(path):
            raise PlanrunError(f"a rehearsal writes nothing to {path}", code="PR1002")

    def refuse_command(self, argv: Sequence[str]) -> None:
        """Raise RefusedError for a program whose arguments lead to another database."""
        self.redirection.refuse_elsewhere(argv)

    @contextlib.contextmanager
    def note(self, conn: Any, path: str, connection: str, statement: str, since: float) -> Iterator[None]:
        """Note the locks of the transaction that is committed in the block."""
        if self.locks is None:
            yield
            return
        with self.locks.note(conn, path, connection, statement, since):
            yield
