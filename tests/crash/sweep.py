"""Run a plan again and again; fail it at point 1, 2, 3 ... until a run passes untouched; check, recover, compare."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.crash import invariants as check
from tests.crash.fork_server import Ended
from tests.crash.kinds import WIRES, Kind
from tests.crash.observed_state import take
from tests.crash.others import USED, Writer, comes_in
from tests.crash.plans import JOBS, Swept
from tests.crash.singles import SINGLES
from tests.crash.stage import SOURCE, Stage
from tests.crash.wire import Cut

EVERY: Mapping[str, Swept] = {one.name: one for one in (*JOBS, *SINGLES)}


@dataclass
class Found:
    """The result of a sweep of one plan by one kind of failure."""

    plan: str
    kind: str
    points: int = 0
    swept: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Sweep:
    """All points of one plan on one stage."""

    def __init__(self, stage: Stage, swept: Swept, *, emit: Callable[[str], None] = print) -> None:
        self.stage, self.swept, self.emit = stage, swept, emit
        stage.set_up(swept.plan)
        swept.prepare(stage)
        stage.keep()
        with self._fresh() as writer:
            self.before = take(stage)
            self.used = next((one for one in USED if one.table in self.before.tables), None)
            self.new = self._new()
            self._traces = [self._run_undisturbed(writer)]
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

    def _run_undisturbed(self, writer: Writer | None) -> dict[str, list[str]]:
        self._begin(writer, Cut(), Cut())
        self.quiet = self.stage.run(*self.swept.command)
        assert self.quiet.code == 0, self.quiet.output
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

    def number(self, on: str, where: str) -> int:
        """Return the number of the last point whose name has this in it."""
        return max(number for number, what in enumerate(self._traces[0][on], 1) if where in what)

    def drift(self) -> list[str]:
        """Run it undisturbed once more; return where the points are not the same."""
        with self._fresh() as writer:
            again = self._run_undisturbed(writer)
        first = self._traces[0]
        return [f"{on}: {_difference(first[on], again[on])}" for on in first if first[on] != again[on]]

    # -------------------------------------------------------------- one kind

    def run(
        self,
        kind: Kind,
        *,
        numbers: Sequence[int] = (),
        every: int = 1,
        about: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> Found:
        """Sweep every point of a kind (or these numbers, or every so-manieth, or `about` so many).

        share: (which, of) how many workers.
        """
        found, began = Found(self.swept.name, kind.name, self.points(kind.on)), time.monotonic()
        few = min(n for n in (kind.few, about, found.points) if n)
        every = max(every, found.points // few)
        # each kind begins elsewhere, so that together they see more places
        first = 1 + sum(map(ord, kind.name)) % every
        wanted = numbers or range(first, found.points + 2, every)
        for number in list(wanted)[share[0] :: share[1]]:
            try:
                untouched, wrong = self._point(kind, number)
            except Exception as exc:  # an unexpected error of the harness: report it as well
                untouched, wrong = False, [f"harness: {type(exc).__name__}: {exc}"]
            found.swept += not untouched
            for line in wrong:
                found.violations.append(f"{self.swept.name} {kind.name} {number} [{self._what(kind, number)}]: {line}")
                self.emit(found.violations[-1])
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
            ran, hit, during = self._run_to_failure(kind, number, writer)
            wrong = [*during, *self._always(ran, writer, mute=kind.mute)]
            if kind.stays and kind.on == "target" and ran.code == 0:
                # only the last record was lost with the server: the work is done, and the journal cannot know it
                return False, wrong + [line for line in self._wrong_at_the_end() if "told as cut off" not in line]
            if not hit and not wrong and ran.code == 0:
                return True, self._wrong_at_the_end()
            if kind.again and not self._has_finished(ran) and not self._is_back():
                kind = replace(kind, how=kind.again, again="")
                # anywhere in it, and elsewhere each time; what is left to do is at most the whole
                ran, _ = self._run_into(kind, 1 + number * 37 % self.points(kind.on), writer, self._next_command(ran))
                wrong += [f"when it failed again: {line}" for line in self._always(ran, writer)]
            return False, wrong + self._recover(kind, ran, writer)

    def _run_to_failure(self, kind: Kind, number: int, writer: Writer | None) -> tuple[Ended, bool, list[str]]:
        if kind.how == "pause":
            return self._run_with_pause(kind, number)
        ran, hit = self._run_into(kind, number, writer, self.swept.command)
        return ran, hit, []

    def _run_into(self, kind: Kind, number: int, writer: Writer | None, command: Sequence[str]) -> tuple[Ended, bool]:
        """Run a command that fails at a point; return how it ended and whether it came there."""
        cut, planned_failure = Cut(), dict[str, Any]()
        if kind.on in WIRES:
            cut = Cut("called" if kind.how == "crash" else kind.how, number, kind.stays)
        else:
            planned_failure = {"door": kind.on, "at": number, "do": kind.how, "stays": kind.stays}
        self._begin(writer, cut if kind.on == "target" else Cut(), cut if kind.on == "source" else Cut())
        self.stage.target.call = self._crash
        ran = self.stage.run(*command, **planned_failure)
        hit = bool(self.stage.target.fired or self.stage.source.fired or ran.failure_point)
        for wire in (self.stage.target, self.stage.source):
            wire.begin(Cut())
        return ran, hit

    def _crash(self) -> None:
        self.stage.server.kill9()
        self.stage.server.start()

    # -------------------------------------------------------------- somebody else is there

    def _run_with_pause(self, kind: Kind, number: int) -> tuple[Ended, bool, list[str]]:
        """Pause the run at an event, let another client act, and continue the run."""
        self._begin(None, Cut(), Cut())
        running = self.stage.start(*self.swept.command, watch=True, door="event", at=number, do="pause")
        paused, wrong = running.trace.with_name(running.trace.name + ".paused"), list[str]()
        end = time.monotonic() + 30
        while not paused.exists() and time.monotonic() < end and _runs(running.pid):
            time.sleep(0.005)
        go = running.trace.with_name(running.trace.name + ".go")
        if not paused.exists():
            return running.wait(), False, []
        try:
            with contextlib.ExitStack() as stack:
                if kind.who == "run":
                    wrong = self._other_run()
                elif self.used:
                    stack.enter_context(comes_in(self.stage, kind.who, self.used))
                go.touch()
                ran = running.wait()
        except BaseException:
            go.touch()
            running.wait()
            raise
        return ran, True, wrong

    def _other_run(self) -> list[str]:
        """Another planrun of the same plan: it is refused, or (where the first holds no lock yet) does its work."""
        wrong = []
        for args in (("apply", "plan.yml", "--yes"), ("abort", "plan.yml", "--yes"), self.swept.command):
            ran = self.stage.run(*args)
            wrong += [f"another run: {line}" for line in check.it_ends_in_words(ran)]
        return wrong

    # -------------------------------------------------------------- what must hold

    def _always(self, ran: Ended, writer: Writer | None, *, mute: bool = False) -> list[str]:
        stage, swept = self.stage, self.swept
        left = check.nothing_runs(stage.end_all(), stage.rest())
        stage.target.begin(Cut())
        now = take(stage)
        self.now = now
        return [
            *check.it_ends_in_words(ran, heard=not mute),
            *left,
            *check.live_tables_are_whole(self.before, now, self.new, swept.kept),
            *([] if swept.drops else check.a_backup_set_is_kept(self.before, now, swept.kept)),
            *check.what_is_at_risk_is_saved(self.before, now, swept.at_risk),
            *check.good_sessions_verify(now, stage.folder / "backups"),
            *check.old_sessions_are_kept(self.before, now, prunes=swept.prunes),
            *check.the_journal_tells_the_truth(self.before, now, swept.done, ran),
            *check.what_is_left_is_named(self.before, now),
            *check.partial_sessions_are_named(now),
            *check.sequences_never_go_back(self.before, now),
            *check.nothing_of_others_was_touched(self.before, now, swept.alone),
            *(writer.wrong() if writer else []),
        ]

    def _recover(self, kind: Kind, ran: Ended, writer: Writer | None) -> list[str]:
        """Run the command that planrun suggests, and check that everything is then as after a run without failure."""
        last = ran
        if kind.then == "abort" and self._is_back():
            return self._abort_after_rollback(writer)
        if kind.then != "named" or not self._has_finished(ran):
            commands = self._commands(kind, ran)
            for number, command in enumerate(commands):
                self._begin(writer, Cut(), Cut())
                last = self.stage.run(*command)
                if last.code != 0 and number == len(commands) - 1:
                    said = last.output[-700:]
                    return [f"{' '.join(command)} (after exit {ran.code}) ended with {last.code}: {said}"]
        wrong = self._always(last, writer, mute=kind.mute and last is ran) + self._wrong_at_the_end()
        return [f"after the recovery: {line}" for line in wrong]

    def _is_back(self) -> bool:
        """Return whether a rollback was committed: another one is a new run, which has nothing to put back."""
        return self.swept.back and all(there(self.before, self.now) for there in self.swept.done.values())

    def _abort_after_rollback(self, writer: Writer | None) -> list[str]:
        """Abort after a rollback: it drops the tables that were put aside, and everything else is as after the
        rollback."""
        self._begin(writer, Cut(), Cut())
        ran = self.stage.run("abort", "plan.yml", "--yes")
        if ran.code != 0:
            return [f"abort ended with {ran.code}: {ran.output[-700:]}"]
        # the set is no more: what it held is live again
        wrong = [line for line in self._always(ran, writer) if not line.startswith("the backup set of ")]
        lacks = sorted(check._plain(self.end.catalog) - check._plain(self.now.catalog))
        wrong += [f"catalog lacks: {line}" for line in lacks if "planrun_undone" not in line]
        return [f"after the abort: {line}" for line in wrong]

    def _has_finished(self, ran: Ended) -> bool:
        return ran.code == 0 or (self.now.run_state == "ok" and check.has_begun(self.before, self.now))

    def _commands(self, kind: Kind, ran: Ended) -> list[tuple[str, ...]]:
        if kind.then == "anew":
            return [tuple(word for word in self.swept.command if word != "--resume")]
        if kind.then == "abort":
            return [("abort", "plan.yml", "--yes"), tuple(w for w in self.swept.command if w != "--resume")]
        return [self._next_command(ran)]

    def _next_command(self, ran: Ended) -> tuple[str, ...]:
        """Return the command that the run names, else the one that status does, else the same again."""
        if self.now.run_state in ("cut off", "failed", "interrupted"):
            text = ran.output + "\n" + self.now.status
            if named := re.findall(r"^next: planrun (\w+) (plan\.yml.*)$", text, re.M):
                verb, rest = named[-1]
                if verb in ("apply", "rollback", "abort"):
                    return (verb, *rest.split(), "--yes")
        return self.swept.command

    def _wrong_at_the_end(self) -> list[str]:
        now, kept = self.now, self.swept.kept
        bare = {name.rpartition(".")[2] for name in kept}
        aside = [name for name in now.tables if name.rpartition(".")[2].removeprefix("backup_") in bare]
        wrong = check.the_end_is_the_same(self.end, now, aside, tidied=self.swept.tidies)
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
