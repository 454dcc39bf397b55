"""The engine with real connections, programs and files. Functions return a result object and print nothing.

    from runner import load_plan, diff, apply

The command line uses this module, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cancel import Cancel
from runner.database.connections import Connections, parse_url
from runner.database.run_lock import holder
from runner.errors import ConnectError, Mark, UsageError
from runner.events import Emit, Event
from runner.journal.history import RunRecord, fold
from runner.journal.records import Record
from runner.kinds import KINDS
from runner.model import Hooks, Plan, Step
from runner.planfile import open_plan, templates_of
from runner.redact import Redactor, secrets_of
from runner.result import RunResult
from runner.run import journal_place, plan_run, saved_plan, saving
from runner.run.catalog_reader import LiveCatalogReader

if TYPE_CHECKING:
    from runner.catalogfile.record import CatalogFile
    from runner.comparison import Comparison
    from runner.notify.testing import RecipientAnswer
    from runner.refresh.summary import Standing
    from runner.rehearsal_result import RehearsalResult
    from runner.run.executor import Ask, OpenConsole
    from runner.run.plan_run import Wrap


def load_plan(
    file: str | os.PathLike[str],
    *,
    set: Mapping[str, str] | Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    offline: bool = False,
) -> Plan:
    """Read, compose and check a plan. Raises PlanError with all problems at once.

    set: params and settings, as with the command line's `--set name=value`. offline: accept an unset `${env.X}`.
    """
    return open_plan(Path(file), sets=set, env=os.environ if env is None else env, offline=offline)


def diff(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    rollback: bool = False,
    until: str = "",
    resume: bool = False,
    accept: str = "",
    snapshot: str | os.PathLike[str] = "",
    out: str | os.PathLike[str] = "",
    on_event: Emit | None = None,
    cancel: Cancel | None = None,
) -> RunResult:
    """Return what `apply` would do. Reads the real database and changes nothing.

    until, resume, accept: as in `apply`. snapshot: a catalog file to ask in place of databases; then only `until` goes
    with it. out: a file to save the diff in, for `apply_saved`; it is not written when a step fails. Raises
    ConnectError, PlanError, UsageError, ChangedError, CatalogFileError.
    """
    if snapshot:
        from runner.catalogfile.diff import catalog_databases

        chosen, cancel = os.environ if env is None else env, cancel or Cancel()
        with catalog_databases(os.fspath(snapshot), plan, chosen, cancel) as databases:
            return databases.diff(plan, until=until, on_event=on_event)
    if out:
        if rollback:
            raise UsageError(
                "a rollback cannot be saved",
                hint=f"see it without: {plan.command('diff', '--rollback')}",
                code="PR0510",
            )
        saved_plan.refuse_other_file(os.fspath(out))
        with plan_run.open_run(plan, env, on_event, cancel, mode="apply") as one:
            result, saved = one.save(until, resume, accept)
            if saved:
                saved_plan.write(saved, os.fspath(out))
            return result
    with plan_run.open_run(plan, env, on_event, cancel, mode="rollback" if rollback else "apply") as one:
        return one.diff_of_apply(until, resume, accept)


def snapshot(
    plan: Plan, *, out: str | os.PathLike[str], env: Mapping[str, str] | None = None, cancel: Cancel | None = None
) -> CatalogFile:
    """Write the structure and the sizes of the plan's databases to a catalog file, and return it. It only reads them.

    Raises UsageError when `out` is another file, ConnectError, TargetError, and PlanrunError for a definition with a
    secret of the environment.
    """
    from runner.catalogfile import record, taking

    record.refuse_other_file(os.fspath(out))
    found = taking.take(plan, os.environ if env is None else env, cancel or Cancel())
    record.write(found, os.fspath(out))
    return found


def compare(
    new: Plan,
    *,
    old: str | os.PathLike[str] = "",
    base: str = "",
    set: Sequence[str] = (),
    live: bool = False,
    snapshot: str | os.PathLike[str] = "",
    env: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> Comparison:
    """Return what a plan does otherwise than another one, or than itself as of a revision of git.

    old: the file of the other plan. base: a revision, in place of `old`. set: for the other plan, as in `load_plan`.
    live: ask the databases, too. snapshot: ask this catalog file, too. Raises UsageError where there is no repository
    or no such revision, PlanError for an `old` that is invalid, and what `diff` raises.
    """
    from runner.effects import versions

    chosen, cancel = os.environ if env is None else env, cancel or Cancel()
    against = "offline: no database was asked; --live asks the databases, --snapshot FILE a catalog file"
    with contextlib.ExitStack() as stack:
        ask: versions.Diff | None = None
        if live:
            against, ask = "the databases were asked, for both", partial(diff, env=chosen, cancel=cancel)
        elif snapshot:
            from runner.catalogfile.diff import catalog_databases

            made = catalog_databases(os.fspath(snapshot), new, chosen, cancel)
            against, ask = f"the catalog file {snapshot} was asked, for both", stack.enter_context(made).diff
        if base:
            other = stack.enter_context(versions.version_at(new, base, sets=set, env=chosen, cancel=cancel))
        else:
            plan = versions.open_version(Path(old), sets=set, env=chosen, offline=not live)
            other = versions.Version(name=os.fspath(old), plan=plan)
        return versions.compare(other, new, env=chosen, diff=ask, against=against)


def apply(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    until: str = "",
    resume: bool = False,
    accept: str = "",
    keep_going: bool = False,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Emit | None = None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
    wrap: Wrap = plan_run.as_it_is,
    report: str = "",
) -> RunResult:
    """Run a plan, under the lock of its database and area.

    until: stop after this step; the state is then `paused`, and `resume` continues later. accept: the digest of a plan
    that changed since the run to resume began. keep_going: if an item of a `for_each` fails, run the others (exit code
    3, partly done). approve: receives the diff before anything is done; if it returns false, the run ends as
    `declined`. Without `approve`, no diff is made. confirm: receives the question of a `confirm` step (with `message`
    and `expect`) and returns the answer; without it, such steps are declined. open_console: yields the terminal for a
    `command` while it runs; None if there is no terminal. wrap: receives the executor and returns the one that the run
    uses, such as one that makes an action fail in a test. report: where a report of the run will be, a path or a link
    in which `{run}` stands for its id,
    for those whom `notify:` tells. Raises PlanrunError only if the run cannot begin (no server,
    lock held, ChangedError for a changed plan); the failure of a step is in the result.
    """
    with plan_run.open_run(
        plan, env, on_event, cancel, mode="apply", confirm=confirm, open_console=open_console, wrap=wrap, report=report
    ) as one:
        return one.apply(until, resume, accept, approve, keep_going=keep_going)


def apply_saved(
    file: str | os.PathLike[str],
    *,
    env: Mapping[str, str] | None = None,
    keep_going: bool = False,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Emit | None = None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
    report: str = "",
) -> RunResult:
    """Run a diff that `diff(out=file)` saved, if it is still the same.

    approve: receives the diff as it is now, which differs from the saved one only in numbers of rows. The other
    arguments are those of `apply`. Raises StaleError with everything that changed, SavedPlanError for a file that is no
    complete saved plan.
    """
    saved = saved_plan.read(os.fspath(file))
    plan = saving.plan_of(saved, os.fspath(file), os.environ if env is None else env)
    with plan_run.open_run(
        plan, env, on_event, cancel, mode="apply", confirm=confirm, open_console=open_console, report=report
    ) as one:
        return one.apply_saved(saved, os.fspath(file), approve, keep_going=keep_going)


def rollback(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Emit | None = None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
    wrap: Wrap = plan_run.as_it_is,
    report: str = "",
) -> RunResult:
    """Run the plan's `rollback:` steps. Raises UsageError if the plan has none."""
    if not plan.rollback:
        raise UsageError(f"{plan.file} has no `rollback:`", hint="add steps that undo the plan", code="PR0603")
    with plan_run.open_run(
        plan,
        env,
        on_event,
        cancel,
        mode="rollback",
        confirm=confirm,
        open_console=open_console,
        wrap=wrap,
        report=report,
    ) as one:
        return one.apply(approve=approve)


def rehearse(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    rows: str = "none",
    sample: int = 1000,
    on: str = "",
    on_event: Emit | None = None,
    say: Callable[[str], object] = lambda text: None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
) -> RehearsalResult:
    """Run the plan and its rollback on scratch copies of its databases, which are only read.

    rows: none, sample or all; sample: how many rows of each table. on: the server for the copies, as a service of libpq
    or as a variable that holds a URL; without it private servers. say: receives what is done before the run begins.
    open_console: as in `apply`.
    Raises ConnectError, PlanError, TargetError, UsageError; the failure of a step is in the result.
    """
    from runner.rehearsal.rehearsal import rehearse as run
    from runner.scratch.rows import Rows

    chosen = os.environ if env is None else env
    server = scratch_server(on, chosen) if on else None
    return run(
        plan,
        chosen,
        rows=Rows(rows),
        number=sample,
        server=server,
        on_event=on_event,
        say=say,
        cancel=cancel,
        open_console=open_console,
    )


def scratch_server(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the libpq words of a server by the variable that holds its URL, or by its service. Raises UsageError."""
    if value := env.get(name):
        return parse_url(value, name)
    if "://" in name or "=" in name:
        raise UsageError(
            "--on takes the name of a variable or of a service: an address on the command line may hold a password",
            hint="export SCRATCH_URL=postgresql://..., then: --on SCRATCH_URL",
            code="PR1004",
        )
    return {"service": name}


def history(
    plan: Plan, *, env: Mapping[str, str] | None = None, also: Sequence[Plan] = (), brief: bool = False
) -> list[RunRecord]:
    """Return the runs in the plan's journal, oldest first.

    also: plans derived from it, such as that of `backups restore`; their runs are in its journal or in their own.
    brief: what the steps did is kept of the newest run only.
    """
    chosen = os.environ if env is None else env
    names = {one.name for one in (plan, *also)}
    connections = Connections(plan.connections, chosen)
    journals = {
        journal.place: journal
        for journal in (journal_place.open_journal(one, connections, chosen) for one in (plan, *also))
    }
    with contextlib.ExitStack() as stack:
        for journal in journals.values():
            stack.callback(journal.close)
        found = [
            run
            for journal in journals.values()
            for run in fold(journal.records(brief=brief), brief=brief)
            if run.plan in names
        ]
    # a journal is in the order of events, whatever the clock said
    return sorted(found, key=lambda run: run.began or _NEVER) if also else found


def records(plan: Plan, run: str, *, env: Mapping[str, str] | None = None, also: Sequence[Plan] = ()) -> list[Record]:
    """Return the records of one run of the plan in the order in which the journal has them; empty if it has none.

    also: plans derived from it, as in `history`.
    """
    chosen = os.environ if env is None else env
    connections = Connections(plan.connections, chosen)
    names = {one.name for one in (plan, *also)}
    for one in (plan, *also):
        with contextlib.closing(journal_place.open_journal(one, connections, chosen)) as journal:
            found = list(journal.records(run=run))
        if any(record.get("event") == "run_began" and record.get("plan") in names for record in found):
            return found
    return []


def milestones(
    plan: Plan, *, env: Mapping[str, str] | None = None, also: Sequence[Plan] = ()
) -> list[tuple[str, Record]]:
    """Return how the runs of the plan began and ended and what its sessions are, each record with its plan's name.

    also: plans derived from it, as in `history`.
    """
    chosen = os.environ if env is None else env
    connections = Connections(plan.connections, chosen)
    found: list[tuple[str, Record]] = []
    places: set[str] = set()
    names = {one.name for one in (plan, *also)}
    for one in (plan, *also):
        with contextlib.closing(journal_place.open_journal(one, connections, chosen)) as journal:
            if journal.place not in places:
                places.add(journal.place)
                found += _of_plans(journal.milestones(), names)
    return found


def _of_plans(records: Iterable[Record], names: Collection[str]) -> Iterator[tuple[str, Record]]:
    plans: dict[str, str] = {}
    for record in records:
        run = str(record.get("run"))
        if record.get("event") == "run_began":
            plans[run] = str(record.get("plan"))
        if plans.get(run) in names:
            yield plans[run], record


_NEVER = datetime.min.replace(tzinfo=UTC)


def databases(plan: Plan, *, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return a line for each connection: `target: prod at db1:5432 as app, from PLANRUN_TARGET_URL`.

    Makes no connection: if only a service file knows the address, the line names the service.
    """
    chosen = os.environ if env is None else env
    if not plan.connections and not journal_place.uses_database(plan.every_step):
        return ()
    return Redactor(plan.env, chosen).of(Connections(plan.connections, chosen).lines())


def database_name(plan: Plan, *, env: Mapping[str, str] | None = None) -> str:
    """Return the name of the plan's default database or of its service, as far as it is known without a connection; ""
    if no step uses one or its address is invalid."""
    chosen = os.environ if env is None else env
    if not plan.connections and not journal_place.uses_database((*plan.steps, *plan.rollback)):
        return ""
    with contextlib.suppress(ConnectError):
        return Redactor(plan.env, chosen).text(Connections(plan.connections, chosen).database())
    return ""


def run_holder(plan: Plan, *, env: Mapping[str, str] | None = None) -> str:
    """Return who is running the plan now (run, host, pid, user, since), or ""."""
    if not journal_place.uses_database((*plan.steps, *plan.hooks.steps)):
        return ""
    return holder(Connections(plan.connections, os.environ if env is None else env), "", plan.name)


def watch(
    plan: Plan,
    tell: Callable[[Record, Event], object],
    say: Callable[[str], object],
    *,
    every: float = 1.0,
    env: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> RunRecord | None:
    """Follow the newest run of the plan in its journal until it ends, or is seen to be dead; return it.

    It reads the journal `every` so many seconds and writes nothing. tell: gets each record and its event; say: what
    there is to say about the run besides, such as that it is silent.
    """
    from runner.run.watch import Watch

    chosen = os.environ if env is None else env
    connections = Connections(plan.connections, chosen)
    lock = partial(run_holder, plan, env=chosen) if journal_place.uses_database(plan.steps) else None
    with contextlib.closing(journal_place.open_journal(plan, connections, chosen)) as journal:
        redactor = Redactor(plan.env, chosen)
        found = Watch(journal, plan.name, lock, tell, lambda text: say(redactor.text(text)))
        return found.follow(every, cancel or Cancel())


def recipients(plan: Plan, *, env: Mapping[str, str] | None = None) -> tuple[RecipientAnswer, ...]:
    """Return who is told of the plan's runs, and when; nobody is told now."""
    from runner.notify.notifier import line, name
    from runner.notify.testing import RecipientAnswer

    redactor = _redactor_of_recipients(plan, env)
    return tuple(
        RecipientAnswer(recipient=name(one), state="not tried", message=redactor.text(line(one))) for one in plan.notify
    )


def send_test_messages(
    plan: Plan, *, env: Mapping[str, str] | None = None, cancel: Cancel | None = None
) -> Iterator[RecipientAnswer]:
    """Send a test message to everybody in the plan's `notify:`, and yield how each answered, in order."""
    from runner.notify import testing

    return testing.send_test_messages(plan, _redactor_of_recipients(plan, env), cancel or Cancel())


def _redactor_of_recipients(plan: Plan, env: Mapping[str, str] | None) -> Redactor:
    redactor = Redactor(plan.env, os.environ if env is None else env)
    redactor.learn(*secrets_of(plan.notify))
    return redactor


# ------------------------------------------------------------------ what refreshes left in the database


def refreshes(plan: Plan, *, env: Mapping[str, str] | None = None) -> list[Standing]:
    """Return the shadow tables and backup sets that planrun keeps in the plan's database, oldest first; only reads."""
    from runner.refresh.removal import sets

    connections = Connections(plan.connections, os.environ if env is None else env)
    with contextlib.closing(LiveCatalogReader(plan, connections, templates_of(plan.root))) as reader:
        found = [
            sets.read_all(partial(reader.rows, connection=name), reader.sql, name) for name in refresh_connections(plan)
        ]
    return [standing for each in found for standing in each]


def abort(
    plan: Plan,
    *,
    env: Mapping[str, str] | None = None,
    approve: Callable[[RunResult], bool] | None = None,
    confirm: Ask | None = None,
    on_event: Emit | None = None,
    cancel: Cancel | None = None,
    open_console: OpenConsole = contextlib.nullcontext,
    wrap: Wrap = plan_run.as_it_is,
) -> RunResult:
    """Remove what an unfinished run of the plan left in the database; it cannot be resumed afterwards."""
    where = Mark(plan.file, 1, 1)
    steps = tuple(
        Step(id=f"abort_{name}" if name else "abort", where=where, kind="drop_shadow", values={"connection": name})
        for name in refresh_connections(plan)
    )
    made = replace(plan, steps=steps, rollback=(), hooks=Hooks(), notify=())
    with plan_run.open_run(
        made, env, on_event, cancel, mode="abort", confirm=confirm, open_console=open_console, wrap=wrap
    ) as one:
        return one.apply(approve=approve)


def refresh_connections(plan: Plan) -> tuple[str, ...]:
    """Return the connections that the plan's steps refresh, "" for PG*; empty if it has no such step."""
    every = _flat(plan.every_step)
    names = [
        step.values.get("connection") for step in every if step.kind and getattr(KINDS[step.kind], "REFRESHES", False)
    ]
    default = Connections(plan.connections, {}).default()
    return tuple(dict.fromkeys(name if name in plan.connections else default for name in names))


def _refreshes(step: Step) -> bool:
    return bool(step.kind) and getattr(KINDS[step.kind], "REFRESHES", False)


def _flat(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _flat(step.steps)
