"""Run a plan again and again; fail it at point 1, 2, 3 ... until a run passes untouched; check, recover, compare."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.crash import invariants as check
from tests.crash.nursery import Ended
from tests.crash.picture import take
from tests.crash.plans import Swept
from tests.crash.stage import SOURCE, Stage
from tests.crash.wire import Cut

LOCKS = {
    "reader": "select count(*) from {table}",
    "writer": "update {table} set {column} = {column}",
    "idle": "lock table {table} in row exclusive mode",
}

COLUMN = {"public.orders": "id", "public._cdc_orders": "id", "public.counter": "n"}
"""The table of a plan that somebody else uses, and a column of it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to fail. on: whose points are counted (target, source, event, file, child).

    how: what happens there (wire.Cut or doors.Plot). then: what is typed afterwards: what planrun says (named), the
    same command again (anew), or `abort` and then the command (abort). few: only about so many points.
    """

    name: str
    on: str
    how: str
    stays: bool = False
    then: str = "named"
    few: int = 0


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        *(
            Kind(name=f"{on}-{how}", on=on, how=how)
            for on in ("target", "source")
            for how in ("going", "coming", "terminated", "cancelled", "killed-going", "killed-coming")
        ),
        Kind(name="target-going-down", on="target", how="going", stays=True),
        Kind(name="target-coming-down", on="target", how="coming", stays=True),
        Kind(name="event-kill", on="event", how="KILL"),
        Kind(name="event-term", on="event", how="TERM"),
        Kind(name="event-int", on="event", how="INT"),
        Kind(name="file-error", on="file", how="error"),
        Kind(name="file-full", on="file", how="error", stays=True),
        Kind(name="file-kill", on="file", how="KILL"),
        Kind(name="child-exit", on="child", how="exit"),
        Kind(name="child-half", on="child", how="half"),
        Kind(name="kill-anew", on="target", how="killed-coming", then="anew"),
        Kind(name="kill-abort", on="target", how="killed-coming", then="abort"),
        Kind(name="server-crash", on="target", how="crash", few=12),
        Kind(name="other-run", on="event", how="pause", few=12),
        Kind(name="lock-reader", on="event", how="pause", few=8),
        Kind(name="lock-writer", on="event", how="pause", few=8),
        Kind(name="lock-idle", on="event", how="pause", few=8),
    )
}
WIRES = ("target", "source")


@dataclass
class Found:
    """What a sweep of one plan by one kind came to."""

    plan: str
    kind: str
    points: int = 0
    swept: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Writer:
    """An application that writes to the preserved table, one write before each request of planrun.

    It goes by the live name, as applications do. acknowledged: the writes that it was told to be committed.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, self.acknowledged, self.errors = stage, 0, list[str]()
        self._connect()

    def _connect(self) -> None:
        self._conn = self._stage.connected()
        self._conn.execute("set lock_timeout = '40ms'")

    def write(self) -> None:
        try:
            self._conn.execute("update users set v = v + 1 where id = 1")
            self.acknowledged += 1
        except psycopg.errors.LockNotAvailable:
            pass
        except psycopg.OperationalError:  # the server was crashed
            with contextlib.suppress(psycopg.Error):
                self._connect()
        except psycopg.Error as exc:
            self.errors.append(str(exc))

    def wrong(self) -> list[str]:
        """What it has to complain about: errors, and writes that are gone."""
        with self._stage.connected() as conn:
            row = conn.execute("select v from users where id = 1").fetchone()
        assert row
        lost = check.nothing_acknowledged_is_lost(
            take(self._stage, asking=False), {"users": self.acknowledged}, {"users": row[0] - self._base}
        )
        return [*(f"the writer was told: {each}" for each in self.errors[:3]), *lost]

    def begin(self) -> None:
        row = self._conn.execute("select v from users where id = 1").fetchone()
        assert row
        self._base: int = row[0]

    def close(self) -> None:
        self._conn.close()


class Sweep:
    """All points of one plan on one stage."""

    def __init__(self, stage: Stage, swept: Swept, *, tell: Callable[[str], None] = print) -> None:
        self.stage, self.swept, self.tell = stage, swept, tell
        stage.set_up(swept.plan)
        swept.prepare(stage)
        stage.keep()
        with self._fresh() as writer:
            self.before = take(stage)
            self.new = self._new()
            self._traces = [self._undisturbed(writer)]
            wrong = self._always(self.quiet, writer)
            self.end = self.now
        assert not wrong, wrong

    def _new(self) -> dict[str, tuple[int, str]]:
        """The content that the tables of the set get: that of the source, or of the backup set that comes back."""
        if self.swept.back:
            aside = {
                live: oid for (_, side, kind), members in self.before.members.items()
                if (side, kind) == ("old", "table") for oid, live in members.items()
            }  # fmt: skip
            by_oid = {table.oid: table.content for table in self.before.tables.values()}
            return {name: by_oid[aside[name]] for name in self.swept.new}
        if not self.swept.new:
            return {}
        there = take(self.stage, asking=False, of=SOURCE).tables
        return {name: there[name].content for name in self.swept.new}

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[Writer | None]:
        """The state that every point begins with, and the application at work."""
        self.stage.renew()
        for wire in (self.stage.target, self.stage.source):
            wire.begin(Cut())
            wire.each = lambda: None
        writer = Writer(self.stage) if self.swept.kept else None
        try:
            if writer:
                writer.begin()
            yield writer
        finally:
            self.stage.target.each = lambda: None
            if writer:
                writer.close()

    def _undisturbed(self, writer: Writer | None) -> dict[str, list[str]]:
        self._begin(writer, Cut(), Cut())
        self.quiet = self.stage.run(*self.swept.command)
        assert self.quiet.code == 0, self.quiet.said
        return self._trace(self.quiet)

    def _begin(self, writer: Writer | None, target: Cut, source: Cut) -> None:
        self.stage.target.begin(target)
        self.stage.source.begin(source)
        self.stage.target.each = writer.write if writer else lambda: None

    def _trace(self, ran: Ended) -> dict[str, list[str]]:
        found = {"target": list(self.stage.target.trace), "source": list(self.stage.source.trace)}
        for door in ("event", "file", "child"):
            found[door] = [what for each, _, _, what in ran.points if each == door]
        return found

    def points(self, on: str) -> int:
        return len(self._traces[0][on])

    def drift(self) -> list[str]:
        """Run it undisturbed once more; return where the points are not the same."""
        with self._fresh() as writer:
            again = self._undisturbed(writer)
        first = self._traces[0]
        return [f"{on}: {_difference(first[on], again[on])}" for on in first if first[on] != again[on]]

    # -------------------------------------------------------------- one kind

    def run(self, kind: Kind, *, numbers: Sequence[int] = (), every: int = 1, share: tuple[int, int] = (0, 1)) -> Found:
        """Sweep every point of a kind (or these numbers, or every so-manieth). share: (which, of) how many workers."""
        found, began = Found(self.swept.name, kind.name, self.points(kind.on)), time.monotonic()
        if kind.few:
            every = max(every, found.points // kind.few)
        wanted = numbers or range(1, found.points + 2, every)
        for number in list(wanted)[share[0] :: share[1]]:
            try:
                untouched, wrong = self._point(kind, number)
            except Exception as exc:  # the harness has met what it did not expect: to be looked at as well
                untouched, wrong = False, [f"harness: {type(exc).__name__}: {exc}"]
            found.swept += not untouched
            for line in wrong:
                found.violations.append(f"{self.swept.name} {kind.name} {number} [{self._what(kind, number)}]: {line}")
                self.tell(found.violations[-1])
            if untouched and number > found.points:
                break
        found.seconds = time.monotonic() - began
        return found

    def _what(self, kind: Kind, number: int) -> str:
        trace = self._traces[0][kind.on]
        return trace[number - 1] if number <= len(trace) else "beyond the last"

    def _point(self, kind: Kind, number: int) -> tuple[bool, list[str]]:
        """Fail at one point; return whether nothing was touched, and what is wrong."""
        with self._fresh() as writer:
            ran, hit, during = self._failed(kind, number, writer)
            wrong = [*during, *self._always(ran, writer)]
            if not hit and not wrong and ran.code == 0:
                return True, self._wrong_at_the_end()
            return False, wrong + self._recovered(kind, ran, writer)

    def _failed(self, kind: Kind, number: int, writer: Writer | None) -> tuple[Ended, bool, list[str]]:
        if kind.how == "pause":
            return self._paused(kind, number, writer)
        cut, plot = Cut(), dict[str, Any]()
        if kind.on in WIRES:
            cut = Cut("called" if kind.how == "crash" else kind.how, number, kind.stays)
        else:
            plot = {"door": kind.on, "at": number, "do": kind.how, "stays": kind.stays}
        self._begin(writer, cut if kind.on == "target" else Cut(), cut if kind.on == "source" else Cut())
        self.stage.target.call = self._crash
        ran = self.stage.run(*self.swept.command, **plot)
        hit = bool(self.stage.target.fired or self.stage.source.fired or ran.failed_at)
        for wire in (self.stage.target, self.stage.source):
            wire.begin(Cut())
        return ran, hit, []

    def _crash(self) -> None:
        self.stage.server.kill9()
        self.stage.server.start()

    # -------------------------------------------------------------- somebody else is there

    def _paused(self, kind: Kind, number: int, writer: Writer | None) -> tuple[Ended, bool, list[str]]:
        """Stop the run at an event, let somebody else come in, and let it go on."""
        self._begin(None, Cut(), Cut())
        running = self.stage.start(*self.swept.command, watch=True, door="event", at=number, do="pause")
        paused, wrong = running.trace.with_name(running.trace.name + ".paused"), list[str]()
        end = time.monotonic() + 30
        while not paused.exists() and time.monotonic() < end and _runs(running.pid):
            time.sleep(0.005)
        go = running.trace.with_name(running.trace.name + ".go")
        if not paused.exists():
            return running.wait(), False, []
        with contextlib.ExitStack() as stack:
            if kind.name == "other-run":
                wrong = self._other_run()
            else:
                stack.enter_context(self._locked(kind.name.removeprefix("lock-")))
            go.touch()
            ran = running.wait()
        return ran, True, wrong

    def _other_run(self) -> list[str]:
        """Another planrun of the same plan: it is refused, or (where the first holds no lock yet) does its work."""
        wrong = []
        for args in (("apply", "plan.yml", "--yes"), ("abort", "plan.yml", "--yes"), self.swept.command):
            ran = self.stage.run(*args)
            wrong += [f"another run: {line}" for line in check.it_ends_in_words(ran)]
        return wrong

    @contextlib.contextmanager
    def _locked(self, how: str) -> Iterator[None]:
        """A session in a transaction that uses a table of the plan."""
        table = next((name for name in COLUMN if name in self.before.tables), "")
        with self.stage.connected() as conn:
            conn.autocommit = False
            if table:
                conn.execute(LOCKS[how].format(table=table, column=COLUMN[table]).encode())
            yield
            conn.rollback()

    # -------------------------------------------------------------- what must hold

    def _always(self, ran: Ended, writer: Writer | None) -> list[str]:
        stage, swept = self.stage, self.swept
        left = check.nothing_runs(stage.ended(), stage.rest())
        stage.target.begin(Cut())
        now = take(stage)
        self.now = now
        return [
            *check.it_ends_in_words(ran),
            *left,
            *check.live_tables_are_whole(self.before, now, self.new, swept.kept),
            *([] if swept.drops else check.a_backup_set_is_kept(self.before, now, swept.kept)),
            *check.good_sessions_verify(now, stage.folder / "backups"),
            *check.old_sessions_are_kept(self.before, now),
            *check.the_journal_tells_the_truth(self.before, now, swept.done, ran),
            *check.what_is_left_is_named(self.before, now),
            *check.partial_sessions_are_named(now),
            *check.sequences_never_go_back(self.before, now),
            *check.nothing_of_others_was_touched(self.before, now, swept.alone),
            *(writer.wrong() if writer else []),
        ]

    def _recovered(self, kind: Kind, ran: Ended, writer: Writer | None) -> list[str]:
        """Type what planrun says, and see that all is then as after a run without trouble."""
        last = ran
        finished = ran.code == 0 or (self.now.run_state == "ok" and check.begun(self.before, self.now))
        if kind.then != "named" or not finished:
            commands = self._commands(kind, ran)
            for number, command in enumerate(commands):
                self._begin(writer, Cut(), Cut())
                last = self.stage.run(*command)
                if last.code != 0 and number == len(commands) - 1:
                    said = last.said[-700:]
                    return [f"{' '.join(command)} (after exit {ran.code}) ended with {last.code}: {said}"]
        wrong = self._always(last, writer) + self._wrong_at_the_end()
        return [f"after the recovery: {line}" for line in wrong]

    def _commands(self, kind: Kind, ran: Ended) -> list[tuple[str, ...]]:
        if kind.then == "anew":
            return [tuple(word for word in self.swept.command if word != "--resume")]
        if kind.then == "abort":
            return [("abort", "plan.yml", "--yes"), tuple(w for w in self.swept.command if w != "--resume")]
        return [self._named(ran)]

    def _named(self, ran: Ended) -> tuple[str, ...]:
        """Return the command that the run names, else the one that status does, else the same again."""
        if self.now.run_state in ("cut off", "failed", "interrupted"):
            text = ran.said + "\n" + self.now.status
            if named := re.findall(r"^next: planrun (\w+) (plan\.yml.*)$", text, re.M):
                verb, rest = named[-1]
                if verb in ("apply", "rollback", "abort"):
                    return (verb, *rest.split(), "--yes")
        return self.swept.command

    def _wrong_at_the_end(self) -> list[str]:
        now, kept = self.now, self.swept.kept
        aside = [name.replace("public.", "public.backup_") for name in kept]
        wrong = check.the_end_is_the_same(self.end, now, [*kept, *aside])
        if now.run_state not in ("ok", ""):
            wrong.append(f"the run is told as {now.run_state}")
        return wrong


def _difference(first: Sequence[str], again: Sequence[str]) -> str:
    pairs = enumerate(zip(first, again, strict=False), 1)
    where = next((f", first at {number}: {a!r} / {b!r}" for number, (a, b) in pairs if a != b), "")
    return f"{len(first)} and {len(again)} points{where}"


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False
