"""The invariants after every failure, at any moment. Each function returns what is wrong, as lines.

before: the observed state when the command began; now: after it failed (or after the recovery); done: how it ended.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from runner.backup import verifying
from runner.errors import PlanrunError
from tests.crash.fork_server import Ended
from tests.crash.observed_state import RUN, ObservedState

Done = Mapping[str, Callable[[ObservedState, ObservedState], bool]]
"""Step path -> whether its work is done, given the states before and now."""

CODES = {0, 1, 3, 4, 6, 11, 75, 130, 143, -9}


def live_tables_are_whole(
    before: ObservedState, now: ObservedState, new: Mapping[str, tuple[int, str]], kept: Collection[str]
) -> list[str]:
    """Every live table holds all its old rows or all its new ones, the same for all tables; none is empty or missing.

    new: the content of each table of the set at the source; kept: the preserved tables, which have a writer.
    """
    sides, wrong = {}, []
    for name, content in new.items():
        table = now.tables.get(name)
        if table is None or name not in before.tables:
            wrong.append(f"{name} is missing")
        elif name in kept:
            wrong += [f"{name} lost rows: {table.rows}"] if table.rows < before.tables[name].rows else []
        elif table.content == before.tables[name].content != content:
            sides[name] = "old"
        elif table.content == content != before.tables[name].content:
            sides[name] = "new"
        elif table.content != content:
            wrong.append(f"{name} is neither old nor new: {table.rows} rows")
    return wrong + ([f"old and new are mixed: {sides}"] if len(set(sides.values())) > 1 else [])


def nothing_acknowledged_is_lost(acknowledged: Mapping[str, int], rows: Mapping[str, int]) -> list[str]:
    """Every write whose commit the server confirmed to an application is in the live table.

    rows: what the live table now counts.
    """
    return [f"{name}: {rows[name]} of {told} writes" for name, told in acknowledged.items() if rows[name] < told]


def a_backup_set_is_kept(before: ObservedState, now: ObservedState, kept: Collection[str]) -> list[str]:
    """The old backup set still has all its rows until its successor is complete.

    Complete is: prepared and proved, or already swapped in.
    """
    wrong = []
    for (refresh, side, kind), members in before.members.items():
        if before.refreshes[refresh] != "swapped" or (side, kind) != ("old", "table"):
            continue
        if refresh in now.refreshes:
            wrong += _set_is_whole(before, now, {oid: name for oid, name in members.items() if name not in kept})
        elif not {"loaded", "swapped"} & set(now.refreshes.values()):
            wrong.append(f"the backup set of {refresh} is gone, and no other is complete")
    return wrong


def _set_is_whole(before: ObservedState, now: ObservedState, members: Mapping[int, str]) -> list[str]:
    old = {table.oid: (name, table) for name, table in before.tables.items()}
    new = {table.oid: table for table in now.tables.values()}
    missing = [f"{old[oid][0]} of the backup set is gone" for oid in members if oid in old and oid not in new]
    changed = [oid for oid in members if oid in old and oid in new and new[oid].content != old[oid][1].content]
    return missing + [f"{old[oid][0]} of the backup set was changed" for oid in changed]


def what_is_at_risk_is_saved(before: ObservedState, now: ObservedState, at_risk: Collection[str]) -> list[str]:
    """A table that a migration drops is gone only if a complete new session contains it with all its rows."""
    saved = {
        name: rows for one, (state, _, held) in now.sessions.items() if state == "complete"
        for name, (rows, _) in held.items() if one not in before.sessions
    }  # fmt: skip
    gone = [name for name in at_risk if name not in now.tables]
    return [f"{name} is gone and in no session" for name in gone if saved.get(name) != before.tables[name].rows]


def good_sessions_verify(now: ObservedState, folder: Path) -> list[str]:
    """Every session that is listed as complete verifies again, at the level with which it is listed.

    At least every archive is read to its end; at level 3 it is restored and compared.
    """
    wrong = []
    for name, (state, level, _) in now.sessions.items():
        if state == "damaged":
            wrong.append(f"session {name} is damaged")
        elif state == "complete":
            try:
                _verify(folder / name, max(level, 2))
            except PlanrunError as exc:
                wrong.append(f"session {name} is listed as complete and does not verify: {exc}")
    return wrong


def _verify(session: Path, level: int) -> None:
    """Verify a copy: what passes is noted beside the manifest, and that is for planrun to do."""
    with tempfile.TemporaryDirectory(dir=session.parents[2]) as folder:
        verifying.verify(shutil.copytree(session, Path(folder, session.name), symlinks=True), level)


def old_sessions_are_kept(before: ObservedState, now: ObservedState, *, prunes: bool = False) -> list[str]:
    """No older session is removed or changed unless a good newer one exists.

    The newer one is of this run, but where a person asked only to prune.
    """
    complete = [name for name, (state, _, _) in now.sessions.items() if state == "complete"]
    good = [name for name in complete if prunes or name not in before.sessions]
    wrong = []
    for name, (state, _, _) in before.sessions.items():
        if state != "complete":
            continue
        files = {path: data for path, data in before.files.items() if path.startswith(f"backups/{name}/")}
        if name in now.sessions and now.sessions[name][0] == "complete":
            same = {path: now.files.get(path) for path in files if not path.endswith("verified.json")}
            wrong += [f"{path} was changed" for path, data in same.items() if data != files[path]]
        elif not any(newer > name for newer in good):
            wrong.append(f"session {name} is gone or damaged, and no newer one is complete")
    return wrong


def the_journal_tells_the_truth(before: ObservedState, now: ObservedState, done: Done, ran: Ended) -> list[str]:
    """A step that the journal calls ok is done; a step that the journal does not contain has left nothing."""
    wrong, steps = [], now.steps if has_begun(before, now) else {}
    for path, there in done.items():
        state, is_done = steps.get(path), there(before, now)
        if state == "ok" and not is_done:
            wrong.append(f"{path} is told as ok and is not done")
        if state is None and is_done:
            wrong.append(f"{path} is not told to have begun and is done")
        if state == "failed" and is_done and ran.code != 75 and f"{path}:" not in ran.output:
            wrong.append(f"{path} is told as failed and is done")
    return wrong


def has_begun(before: ObservedState, now: ObservedState) -> bool:
    """Say whether the journal knows of a run since `before`: a new one, or one more attempt of one that is open."""
    return now.run != before.run or before.run_state not in ("", "ok")


def what_is_left_is_named(before: ObservedState, now: ObservedState) -> list[str]:
    """For everything that planrun left in the database, `status` names the command that removes it.

    A refresh that the ledger has is named by its id; what hangs on it is cleared with it.
    """
    new = [one for one in now.left if one not in before.left]
    known = {one for one in now.refreshes if one in now.status and any("planrun " in text for text in now.next[one])}
    wrong = [f"status does not name refresh {one}" for one in now.refreshes if one not in known]
    half = ("loading", "loaded")
    open_ = [one for one in known if now.refreshes[one] in half or now.refreshes[one] != before.refreshes.get(one)]
    owned = re.compile(r"^(schema planrun_(shadow|undone|aside)|trigger planrun_|key journal |schema planrun_backup)")
    for each in new:
        if not (owned.match(each) and open_):
            wrong.append(f"left behind and named by nobody: {each}")
    return wrong


def partial_sessions_are_named(now: ObservedState) -> list[str]:
    """The remains of an interrupted backup are listed as partial, and the next retention removes them.

    But a folder that has no name yet, with at most a manifest of no table: a later backup removes it.
    """
    found = {path.split("/")[1] for path in now.files if path.startswith("backups/")}
    strays = {name for name in found - set(now.sessions) if not re.fullmatch(r"\.planrun-[0-9a-f]{16}", name)}
    within = {path.split("/")[2] for path in now.files if path.startswith("backups/.planrun-")}
    strays |= within - {"manifest.json"}
    partial = [name for name, (state, _, _) in now.sessions.items() if state != "complete"]
    return [f"{name} is in no list" for name in sorted(strays)] + [
        f"{name} is not listed" for name in partial if name not in now.listed
    ]


def nothing_runs(processes: Iterable[str], sessions: Iterable[str]) -> list[str]:
    """No child process, server, connection or lock outlives the command, however it ended."""
    return [*(f"still runs: {one}" for one in processes), *(f"still connected or locked: {one}" for one in sessions)]


def sequences_never_go_back(before: ObservedState, now: ObservedState) -> list[str]:
    """A sequence never issues the same number twice.

    By its live name: those of a backup set are not in use.
    """
    return [
        f"sequence {name} went back from {value} to {now.sequences[name]}"
        for name, value in before.sequences.items()
        if ".backup_" not in name and now.sequences.get(name, value) < value
    ]


def nothing_of_others_was_touched(before: ObservedState, now: ObservedState, left_alone: Collection[str]) -> list[str]:
    """No object of somebody else is changed, whatever its name or comment looks like.

    left_alone: tables beside those of the set, which must be the same tables with the same rows.
    """
    wrong = [f"of others: {one}" for one in sorted(before.theirs ^ now.theirs)]
    return wrong + [f"{name} was touched" for name in left_alone if before.tables.get(name) != now.tables.get(name)]


def it_ends_in_words(ran: Ended, *, heard: bool = True) -> list[str]:
    """The command ends with a documented exit code and without a traceback, and says what to type next."""
    if ran.code is None:
        return ["it hangs"]
    wrong = [f"exit code {ran.code}"] if ran.code not in CODES else []
    wrong += ["a trace was printed"] if "Traceback" in ran.output else []
    if not heard:
        return wrong
    nothing_begun = ran.code in (130, 143) and "next: " not in ran.output
    if ran.code not in (0, -9) and not nothing_begun and not re.search(r"(next|hint|then|try): |planrun ", ran.output):
        wrong.append(f"it fails without a next step: {ran.output[-300:]}")
    return wrong


# ------------------------------------------------------------------ the end


def the_end_is_the_same(
    undisturbed: ObservedState, now: ObservedState, kept: Collection[str], *, tidied: bool = True
) -> list[str]:
    """After the recovery, everything is as after a run without any failure.

    kept: tables whose writer goes on. tidied: the plan removes what is left of backups that were cut off.
    """
    wrong = []
    for name in sorted({*undisturbed.tables, *now.tables}):
        one, other = undisturbed.tables.get(name), now.tables.get(name)
        if one is None or other is None:
            wrong.append(f"{name} {'should not be' if one is None else 'is not'} there")
        elif one.content != other.content and name not in kept:
            wrong.append(f"rows of {name}: {other.rows}, not {one.rows}")
    expected, found = _plain(undisturbed.catalog), _plain(now.catalog)
    wrong += [f"catalog lacks: {line}" for line in sorted(expected - found)]
    wrong += [f"catalog has: {line}" for line in sorted(found - expected)]
    if sorted(undisturbed.refreshes.values()) != sorted(now.refreshes.values()):
        wrong.append(f"refreshes are {sorted(now.refreshes.values())}")
    wrong += _sessions_differ(undisturbed, now, tidied=tidied)
    out = {path: data for path, data in undisturbed.files.items() if path.startswith("out/")}
    return wrong + [f"{path} is not as it should be" for path, data in out.items() if now.files.get(path) != data]


def _plain(lines: Iterable[str]) -> set[str]:
    """Run ids and OIDs in names and comments are those of the run."""
    return {re.sub(r"((keys|note|drop)_)\d+", r"\1N", RUN.sub("RUN", line)) for line in lines}


def _sessions_differ(undisturbed: ObservedState, now: ObservedState, *, tidied: bool) -> list[str]:
    """The newest session holds the same, verified as much; a run that was cut off may have left one more good one."""
    wrong = []
    good = [one for one in now.sessions.values() if one[0] == "complete"]
    expected = [one for one in undisturbed.sessions.values() if one[0] == "complete"]
    if expected and (not good or good[-1][2] != expected[-1][2] or good[-1][1] < expected[-1][1]):
        wrong.append(f"the newest session is {good[-1:] and good[-1]}, not {expected[-1]}")
    if len(good) < len(expected):
        wrong.append(f"{len(good)} good sessions, not {len(expected)}")
    fine = ("complete",) if tidied else ("complete", "partial")
    return wrong + [f"session {name} is {state}" for name, (state, _, _) in now.sessions.items() if state not in fine]
