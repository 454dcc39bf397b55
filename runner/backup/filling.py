"""Restore a whole session into a scratch database by several connections, and compare it with the manifest.

One psql and the comparison after it took 2.9 times as much time as the same work of two. A scratch database is dropped
if anything fails, so its dumps need no common transaction: each is committed by itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from runner.backup import needs
from runner.backup.archive import Reader, Unit, units
from runner.backup.dumptext import refers_to
from runner.backup.loading import Loading
from runner.backup.manifest import Manifest, Table, sizes
from runner.backup.restored_content import OTHER_HASHES, Compared, Comparison
from runner.backup.scratch import Scratch
from runner.cancel import Cancel
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError, UnknownStateError, VerifyError
from runner.progress import Report, Tally
from runner.table_name import TableName

JOBS = max(2, min(4, os.cpu_count() or 1))
"""Connections that restore: each keeps one process of the server busy, and planrun's own is soon as busy as those."""

_NOT_ITS_FAULT = (
    "No space left on device",
    "could not extend file",
    "out of memory",
    "out of shared memory",
    "ICU is not supported",
    "permission denied",
)
"""Errors for which a session is not to blame if it does not restore."""

_ABSENT = frozenset({"42P01", "42883", "42704", "3F000"})
"""The SQLSTATEs for a table, function, other object or schema that does not exist (PostgreSQL docs, appendix A)."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The result of a restore: how each table compares. left: what was not tried; unproved: dumps that need what is not
    in their session; each with the reason."""

    tables: tuple[Compared, ...]
    left: tuple[str, ...]
    unproved: tuple[str, ...]


def tallies(manifest: Manifest, report: Report) -> dict[str, Tally]:
    """Report what `fill` has to do, in bytes of files, and return what counts it."""
    stretch = 1.0 if manifest.format in ("insert", "copy", "csv") and not manifest.compress else _STRETCH
    return {
        "restoring": Tally("restoring", sizes(manifest), report, stretch=stretch),
        "comparing": Tally("comparing", sizes(manifest), report),
    }


_STRETCH = 4.0
"""Bytes of text for a byte of a compressed file; known better after one of them."""
_UNCOUNTED: Mapping[str, Tally] = {}


def count_bytes(blocks: Iterable[bytes], unit: Unit, tally: Tally | None) -> Iterator[bytes]:
    """Yield the text of a unit and count its bytes."""
    for block in blocks:
        if tally:
            tally.add(unit.file, unit.file, len(block))
        yield block


def fill(
    scratch: Scratch, reader: Reader, manifest: Manifest, cancel: Cancel, progress: Mapping[str, Tally] = _UNCOUNTED
) -> Filled:
    """Restore a whole session and commit it. Raises VerifyError if it does not restore, TargetError if that says
    nothing about the session. A dump that needs more than its session contains is left out. progress: of `tallies`."""
    try:
        with cancel.child() as own:
            return _Work(scratch, reader, manifest, own, progress).all()
    except UnknownStateError as exc:
        raise VerifyError(f"does not restore: {exc.message}", code="PR0709") from exc
    except TargetError as exc:
        cancel.check()
        if exc.category or any(words in exc.message for words in _NOT_ITS_FAULT):
            raise TargetError(
                f"cannot verify here: {exc.message}", hint=exc.hint, category=exc.category, code="PR0708"
            ) from exc
        raise VerifyError(f"does not restore: {exc.message}", code="PR0709") from exc


def outside(key: bytes, inside: set[TableName]) -> str:
    """Return the name of the table that a foreign key points to when that is none of `inside`, else ""."""
    other = refers_to(key)
    return "" if other in inside or other == ("", "") else str(other)


class _Psql:
    """The psql of a worker; after an error, which ends it, `loading` is a new one."""

    def __init__(self, scratch: Scratch, cancel: Cancel) -> None:
        self._scratch, self._cancel = scratch, cancel
        self._stack = contextlib.ExitStack()
        self._loading: Loading | None = None
        self._comparison: Comparison | None = None

    @property
    def loading(self) -> Loading:
        if self._loading is None:
            made = Loading(self._scratch.words, self._scratch.env, self._scratch.programs, self._cancel)
            self._loading = self._stack.enter_context(made)
            # nobody needs a scratch database after a crash of its server
            self._loading.run([b"set synchronous_commit = off;\n"])
        return self._loading

    def comparison(self, manifest: Manifest) -> Comparison:
        """Return the comparison of this worker. It stays in one transaction, which loads nothing any more."""
        if self._comparison is None:
            self._comparison = Comparison(self.loading.ask, manifest)
        return self._comparison

    def close(self) -> None:
        """End psql; what it has not committed is rolled back."""
        self._loading = self._comparison = None
        self._stack.close()


class _Work:
    def __init__(
        self,
        scratch: Scratch,
        reader: Reader,
        manifest: Manifest,
        cancel: Cancel,
        progress: Mapping[str, Tally],
    ) -> None:
        self._scratch, self._reader, self._manifest, self._cancel = scratch, reader, manifest, cancel
        self._restoring, self._comparing = progress.get("restoring"), progress.get("comparing")
        self._keys: dict[str, list[bytes]] = {}
        self._failed, self._left, self._unproved = set[str](), set[str](), list[str]()
        self._found: dict[TableName, Compared] = {}
        self._counts_only = False

    def all(self) -> Filled:
        every = units(self._manifest.tables)
        with self._psql() as psql:
            psql.loading.run([_before(self._manifest).encode()])
            psql.loading.commit_and_begin()
        self._run([partial(self._try, unit) for unit in sorted(every, key=_size, reverse=True)])
        with self._psql() as psql:
            for unit in every:
                if unit.file in self._failed:
                    self._try_again(unit, psql)
        tables = [table for unit in every if unit.file in self._keys for table in unit.tables]
        largest = sorted(tables, key=lambda table: table.rows, reverse=True)
        self._run([partial(self._add_keys, tables), *(partial(self._compare, table) for table in largest)])
        if self._counts_only:
            self._unproved.append(OTHER_HASHES)
        order = {table.full_name: None for table in self._manifest.tables}
        return Filled(
            tables=tuple(self._found[name] for name in order if name in self._found),
            left=tuple(sorted(self._left)),
            unproved=tuple(self._unproved),
        )

    def _run(self, tasks: Sequence[Callable[[_Psql], object]]) -> None:
        WorkerPool(JOBS, self._psql, self._cancel).work_off(tasks)

    @contextlib.contextmanager
    def _psql(self) -> Iterator[_Psql]:
        with contextlib.closing(_Psql(self._scratch, self._cancel)) as psql:
            yield psql

    # -------------------------------------------------------------- the dumps

    def _try(self, unit: Unit, psql: _Psql) -> None:
        """Restore a dump while others are restored; note it if it fails.

        It may need a table that another dump has not made yet, wait for one that waits for it, or have found no
        connection free. So a failure says nothing before the dump was restored alone, after all others.
        """
        try:
            self._load(unit, psql)
        except UnknownStateError:
            raise
        except TargetError:
            self._cancel.check()
            psql.close()
            self._failed.add(unit.file)

    def _try_again(self, unit: Unit, psql: _Psql) -> None:
        try:
            self._load(unit, psql)
        except UnknownStateError:
            raise
        except TargetError as exc:
            if exc.sqlstate not in _ABSENT:
                raise
            psql.close()
            names = ", ".join(sorted(str(each.full_name) for each in unit.tables))
            self._unproved.append(f"{names}: cannot be verified without other tables: {_error_line(exc.message)}")

    def _load(self, unit: Unit, psql: _Psql) -> None:
        """Restore everything of a dump but its foreign keys, and commit it."""
        cleaner = self._reader.cleaner(unit, owners=False, attach=False, schemas=("public",))
        psql.loading.run(count_bytes(self._reader.text(unit, cleaner), unit, self._restoring))
        psql.loading.commit_and_begin()
        self._keys[unit.file] = cleaner.keys
        if self._restoring:
            self._restoring.complete([unit.file], unit.file)

    # -------------------------------------------------------------- what came out of it

    def _add_keys(self, tables: Iterable[Table], psql: _Psql) -> None:
        inside = {table.full_name for table in tables}
        for key in (key for unit in units(self._manifest.tables) for key in self._keys.get(unit.file, ())):
            if other := outside(key, inside):
                self._left.add(f"foreign key to {other}: not in this session")
            else:
                psql.loading.run([key])
        psql.loading.commit_and_begin()

    def _compare(self, table: Table, psql: _Psql) -> None:
        comparison = psql.comparison(self._manifest)
        self._found[table.full_name] = comparison.compare(table)
        self._counts_only |= comparison.counts_only
        if self._comparing:
            self._comparing.complete([table.file], str(table.full_name))


def _before(manifest: Manifest) -> str:
    """Return the SQL that creates what the tables need in an empty database, where schema public exists already."""
    return needs.script(manifest.needs, exists=lambda need: need.kind in ("schema", "extension"))


def _size(unit: Unit) -> int:
    return sum(table.bytes or table.rows for table in unit.tables)


def _error_line(message: str) -> str:
    """Return what the server said, without the program that told it."""
    lines = [line.partition("ERROR:  ")[2] for line in message.splitlines() if "ERROR:  " in line]
    return lines[-1] if lines else message
