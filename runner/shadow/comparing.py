"""Compare tables: each proof in a REPEATABLE READ transaction of its own, on several connections at a time.

A mismatch stops nothing: all mismatches are reported at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError, VerifyError
from runner.model import Compare, Proof
from runner.progress import Report, Tally
from runner.shadow import relay
from runner.words import plural

Conn = psycopg.Connection[dict[str, Any]]
Found = tuple[int, str | None]
Content = tuple[int | None, str | None]

_SHOWN = 20
_TRIES = 3


def compare(action: Compare, connections: Connections, *, cancel: Cancel, progress: Report) -> dict[str, Any]:
    """Prove every table; return {"tables", "count", "rows", "measures"}.

    Raises VerifyError with each table that differs, and what was expected and found.
    """
    with cancel.child() as inner, Watch(connections).over(action.connection, inner):
        work = _Work(action, connections, inner, progress)
        work.off()
    if work.wrong:
        raise VerifyError(
            _mismatch_text([work.wrong[number] for number in sorted(work.wrong)]), hint=action.hint, code="PR0812"
        )
    rows = [work.counts[number] for number in range(len(action.proofs))]
    tables = [
        {"schema": proof.schema, "name": proof.name, "rows": count}
        for proof, count in zip(action.proofs, rows, strict=True)
    ]
    measures = [{**table, **work.measures[number]} for number, table in enumerate(tables)]
    return {"tables": tables, "count": len(tables), "rows": sum(rows), "measures": measures}


def _mismatch_text(wrong: list[str]) -> str:
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return f"{plural(len(wrong), 'table differs', 'tables differ')}: {'; '.join(wrong[:_SHOWN])}{more}"


class _Work:
    """The results of the proofs, by number."""

    def __init__(self, action: Compare, connections: Connections, cancel: Cancel, progress: Report) -> None:
        self._action, self._connections, self._cancel, self._progress = action, connections, cancel, progress
        self._tally = Tally("comparing", {number: one.bytes for number, one in enumerate(action.proofs)}, progress)
        self._lock = threading.Lock()
        self.counts: dict[int, int] = {}
        self.measures: dict[int, dict[str, Any]] = {}
        self.wrong: dict[int, str] = {}

    def off(self) -> None:
        proofs = [partial(self._prove, number, proof) for number, proof in enumerate(self._action.proofs)]
        WorkerPool(self._action.jobs, self._session, self._cancel).work_off(proofs)

    def _session(self) -> contextlib.AbstractContextManager[Conn]:
        # row_security=off: an error for hidden rows is right, a smaller count is not
        return contextlib.closing(
            self._connections.open(
                self._action.connection,
                statement_timeout="0",
                row_security="off",
                synchronize_seqscans="off",  # otherwise PostgreSQL may begin to read a big table in its middle
                default_transaction_isolation="repeatable read",
            )
        )

    def _prove(self, number: int, proof: Proof, conn: Conn) -> None:
        name = str(proof.full_name)
        self._progress(0, 0, "", name)
        began = time.monotonic()
        found, wanted = self._read_both(number, proof, conn)
        measure = {"checksum": found[1], "seconds": round(time.monotonic() - began, 3)}
        with self._lock:
            self.counts[number], self.measures[number] = found[0], measure
            if problem := _problem(proof, found, wanted):
                self.wrong[number] = f"{name} {problem}"
        self._tally.complete([number], name)

    def _read_both(self, number: int, proof: Proof, conn: Conn) -> tuple[Found, Content]:
        """Read both sides; repeat once if a write or lock of another connection interfered, because nothing was
        changed."""
        for _ in range(_TRIES - 1):
            try:
                return self._contents(number, proof, conn)
            except TargetError as exc:
                if exc.category != "deadlock":  # 40001 and 40P01
                    raise
        return self._contents(number, proof, conn)

    def _contents(self, number: int, proof: Proof, conn: Conn) -> tuple[Found, Content]:
        with translate_errors(str(proof.full_name)), cancellable(conn, self._cancel), conn.transaction():
            if proof.first:
                conn.execute(proof.first)
            found = self._read_copies(number, proof, conn) if proof.copies else _read(conn, proof.query)
            return found, _read(conn, proof.other) if proof.other else (proof.rows, proof.checksum)

    def _read_copies(self, number: int, proof: Proof, conn: Conn) -> Found:
        rows, sums, name = 0, list[str](), str(proof.full_name)
        for text in proof.copies:
            digest = hashlib.sha256()

            def take(piece: Any, count: int, update: Callable[[Any], None] = digest.update) -> None:
                update(piece)
                self._tally.add(number, name, len(piece), count, proof.rows or 0)

            rows += relay.read(conn, text, self._cancel, take)
            sums.append(digest.hexdigest())
        return rows, " ".join(sums)


def _read(conn: Conn, query: str) -> Found:
    row = conn.execute(query).fetchall()[0]
    return int(row["rows"]), row["checksum"]


def _problem(proof: Proof, found: Found, wanted: Content) -> str:
    """Return what is wrong, "" if nothing is; a count or a sum that is None is not compared."""
    by, than = (
        ("in the live table", "the live table") if proof.other else ("that the load recorded", "the load recorded")
    )
    if wanted[0] is not None and found[0] != wanted[0]:
        return f"has {plural(found[0], 'row')} instead of the {wanted[0]:,} {by}"
    if wanted[1] is not None and found[1] != wanted[1]:
        return f"has other content than {than}, in {plural(found[0], 'row')} ({_sums(found[1], wanted[1])})"
    return ""


def _sums(found: str | None, wanted: str) -> str:
    """Return two checksums as text (of partitions, the first two that differ), so that reports can be told apart."""
    pairs = zip((found or "").split(), wanted.split(), strict=True)
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    return f"sum {one[:_DIGITS]}, expected {other[:_DIGITS]}"


_DIGITS = 20
