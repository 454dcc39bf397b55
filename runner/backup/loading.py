r"""Load dump text with one psql in one transaction at a time.

psql is the only program that reads every dump that pg_dump writes. Its input could contain `\!`, so it runs
restricted if it can (14.19, 15.14, 16.10, 17.6, 18 and later): then only planrun's backslash commands work.
Sources: PostgreSQL docs psql (\restrict), CVE-2025-8714, 9.27.9 (pg_xact_status).
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from runner import sqlfile, tools
from runner.cancel import Cancel
from runner.errors import TargetError, UnknownStateError
from runner.server.programs import Programs

LOCK_TIMEOUT = "10s"
_NO_TIMEOUT = sqlfile.read("pg_restore/no_timeout.sql")
"""A role or a database may have set them; the settings in a dump do not apply to the statements around it."""
_XID = "select pg_catalog.pg_current_xact_id()::text as xid"
_RESTRICTS = {14: 19, 15: 14, 16: 10, 17: 6}


class Loading:
    """A psql in a transaction, for use in a `with`; leaving the block without `commit` rolls everything back."""

    def __init__(self, words: Mapping[str, str], env: Mapping[str, str], programs: Programs, cancel: Cancel) -> None:
        self._words, self._env, self._programs, self._cancel = words, env, programs, cancel
        self._token = secrets.token_hex(12)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stack = contextlib.ExitStack()
        self.xid = ""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            door = stack.enter_context(tools.access(self._words, self._env))
            psql = self._programs.tool("psql")
            argv = (psql, "-XqAt", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--no-password")
            self._child = stack.enter_context(
                tools.Child(
                    (*argv, f"--dbname={door.conninfo}"),
                    env=dict(door.env) | self._programs.env,
                    cancel=self._cancel,
                    pass_fds=door.pass_fds,
                    hide=door.hide,
                    feed=True,
                )
            )
            threading.Thread(target=self._listen, name="psql-output", daemon=True).start()
            self._begin()  # a psql that ends at once, because no connection is free, is closed here
            self._stack = stack.pop_all()
        return self

    def _begin(self) -> None:
        self.xid = ""
        self._send(f"begin;\nset local lock_timeout = '{LOCK_TIMEOUT}';\nset local check_function_bodies = off;\n")
        # a dump sets it too, but planrun's queries come first
        self._send("set local search_path = '';\n" + _NO_TIMEOUT)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _listen(self) -> None:
        """Read what psql prints, and keep what is between planrun's marks."""
        with contextlib.suppress(ValueError, OSError):  # the block was left, which closes the output under this thread
            self._read_marked_lines()
        self._lines.put(None)

    def _read_marked_lines(self) -> None:
        wanted = False
        for line in self._child.output:
            if not line.endswith(b"\n"):
                break  # psql was killed while it wrote this one
            text = line.decode(errors="replace").rstrip("\n")
            if text == f"{self._token} begin":
                wanted = True
            elif text == f"{self._token} end":
                wanted = False
                self._lines.put("")
            elif wanted and text:
                self._lines.put(text)

    def _send(self, text: str | bytes) -> None:
        self._child.write(text.encode() if isinstance(text, str) else text)

    def run(self, blocks: Iterable[bytes]) -> None:
        """Run the text of a dump with psql. Raises TargetError with psql's message as soon as it fails."""
        before = self.transaction_id()
        restrict = _knows_restrict(self._programs.version)
        if restrict:
            self._send(f"\\restrict {self._token}\n")
        for block in blocks:
            if block:
                self._send(block)
        self._send(f"\n\\unrestrict {self._token}\n" if restrict else "\n")
        self._send(f"set local lock_timeout = '{LOCK_TIMEOUT}';\n")
        if str(self.ask(_XID)[0]["xid"]) != before:
            raise UnknownStateError(
                "this dump ends the transaction in which it is restored, so a part of it may have been committed",
                hint="check what was restored, and do not rely on this session",
                code="PR0410",
            )

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query, run inside the transaction; values are JSON values."""
        self._send(f"\\echo {self._token} begin\n")
        self._send(f"select pg_catalog.row_to_json(q)::text from (\n{query}\n) as q;\n")
        self._send(f"\\echo {self._token} end\n")
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        while line := self._lines.get():
            yield json.loads(line)
        if line is None:
            self._child.finish()
            raise TargetError("psql ended too early", category="connection", code="PR0905")

    def transaction_id(self) -> str:
        """Return the id of the transaction, with which planrun can ask the server for its result."""
        self.xid = self.xid or str(self.ask(_XID)[0]["xid"])
        return self.xid

    def commit(self) -> None:
        """Commit and end psql. Raises TargetError if no answer came; `xid` is then the transaction to ask the server
        about."""
        self._commit()
        self._child.finish()

    def commit_and_begin(self) -> None:
        """Commit and begin the next transaction in the same psql. Raises TargetError if no answer came."""
        self._commit()
        self._begin()

    def _commit(self) -> None:
        self.transaction_id()
        self._send("commit;\n")
        self.ask("select 1 as done")


def _knows_restrict(version: str) -> bool:
    major, _, minor = version.partition(".")
    if not minor.isdigit():
        return major.isdigit() and int(major) >= 18
    return int(major) >= 18 or int(minor) >= _RESTRICTS.get(int(major), 1000)
