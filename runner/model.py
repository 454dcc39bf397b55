"""The data types: a Plan contains Steps; a Step becomes a PlannedStep with Actions; a PlannedStep gets an Outcome.

Everything here is frozen data. Other modules decide, act and draw.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from runner.errors import Mark, PlanrunError
from runner.fates import Preview
from runner.record import dataclass
from runner.table_name import Named, TableName
from runner.words import PLAN


class State(StrEnum):
    """How a planned step ended. Words, because they are written to the journal and read by people."""

    OK = "ok"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"
    WOULD = "would run"
    UNKNOWN = "unknown until run"


class _Unknown:
    """The value of an output that only a run can give. Unknown satisfies no guard."""

    def __repr__(self) -> str:
        return "unknown until run"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value has no truth: ask `is UNKNOWN`")


UNKNOWN = _Unknown()


# ------------------------------------------------------------------ what a plan says


@dataclass(frozen=True, kw_only=True)
class Retry:
    """`retry:` of a step. `delay` is in seconds; `on` names categories of TargetError."""

    attempts: int = 1
    delay: float = 1.0
    on: tuple[str, ...] = ("lock", "deadlock", "connection")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One entry of `steps:`. It has either a kind, or steps of its own (a group or an expanded template).

    `values` is the content of `with:`, and `outputs` the outputs of a template; both are trees whose strings may
    contain references (runner.values). `when` is a parsed guard (runner.guard), or None for the default one.
    `acknowledge` is why it may remove what nothing protects.
    `inputs` is None for a plain group, whose steps see the names around it; steps of a template see only `inputs`.
    """

    id: str
    where: Mark
    kind: str = ""
    values: Any = field(default_factory=dict)
    description: str = ""
    when: Any = None
    for_each: Any = None
    jobs: int = 1
    on_error: str = "fail"
    acknowledge: str = ""
    retry: Retry = Retry()
    timeout: float | None = None
    steps: tuple[Step, ...] = ()
    template: str = ""
    inputs: Any = None
    outputs: Any = field(default_factory=dict)

    @property
    def uses(self) -> str:
        return self.kind or self.template or "group"


def command(file: str, sets: Sequence[str], verb: str, *options: str) -> str:
    """Return the command to type for a plan's file that is loaded with these `--set` options: `planrun apply p.yml`."""
    words = [word for one in sets for word in ("--set", one)]
    return shlex.join(["planrun", *verb.split(), file, *words, *options])


HOOKS: Mapping[str, str] = {
    "on_success": "if the run succeeds",
    "on_failure": "if the run fails or is interrupted",
    "on_exit": "when the run ends, however it ends",
}
"""The blocks of steps that run when a run has ended, in their order, and when each does, in words."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The steps that run when the steps of a run have ended; none of them changes how the run ended."""

    on_success: tuple[Step, ...] = ()
    on_failure: tuple[Step, ...] = ()
    on_exit: tuple[Step, ...] = ()

    def blocks(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Yield the name and the steps of each block that has any, in the order in which they run."""
        yield from ((name, steps) for name in HOOKS if (steps := getattr(self, name)))

    def after(self, state: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Yield the blocks that run after a run with this state: ok, failed, interrupted or paused."""
        own = {"ok": "on_success", "failed": "on_failure", "interrupted": "on_failure"}.get(state)
        yield from ((name, steps) for name, steps in self.blocks() if name in (own, "on_exit"))

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.on_success, *self.on_failure, *self.on_exit)


MOMENTS = ("start", "success", "failure", "paused", "exit")
"""When a recipient is told of a run. failure: also of an interruption, and of a run that could not begin; exit: of each
end."""


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One entry of `notify:`: who is told of a run.

    kind: url (a service of Apprise), webhook or ping. variable: the environment variable of its address. address: its
    value, "" if it is empty or unset. on: some of MOMENTS. secret: the key that signs what a webhook gets, "" for none.
    template: the name of the file that words the message, "" for planrun's own; text: its content.
    timeout: seconds for one message, with all attempts.
    """

    kind: str
    variable: str
    where: Mark
    address: str = field(default="", repr=False)
    on: tuple[str, ...] = MOMENTS
    secret: str = field(default="", repr=False)
    template: str = ""
    text: str = field(default="", repr=False)
    timeout: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole plan, composed, checked and typed.

    `folder` is where relative paths start; planrun reads no file outside `root`. `digest` is a SHA-256 over every file
    of the plan, the params and the planrun version; `content` is the text that it covers, by name (paths from `root`),
    for people to compare. `sets` are the `--set` options. SQL of the plan may not drop, empty or rewrite `protected`.
    `passed` names variables that every command sees, whatever its step says: those of a redirected plan.
    `connections` maps a name to libpq parameters; `params` holds final values; `env` the `${env.X}` that were used.
    """

    name: str
    file: str
    folder: Path
    root: Path
    digest: str
    steps: tuple[Step, ...]
    rollback: tuple[Step, ...] = ()
    description: str = ""
    connections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    journal: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    protected: tuple[TableName, ...] = ()
    passed: tuple[str, ...] = ()
    hooks: Hooks = Hooks()
    notify: tuple[Recipient, ...] = ()

    @property
    def every_step(self) -> tuple[Step, ...]:
        """The steps of the plan, of its rollback and of its hooks."""
        return (*self.steps, *self.rollback, *self.hooks.steps)

    def command(self, verb: str, *options: str) -> str:
        """Return the command to type for this plan, with the `--set` options that it was loaded with: `apply p.yml`."""
        return command(self.file, self.sets, verb, *options)

    def again(self, mode: str, options: Sequence[str], *, anew: bool = False) -> str:
        """Return the command that continues an unfinished apply, rollback or abort; anew: the one that starts it again.

        options: the options of the previous attempt, so that the command goes no further than that attempt.
        """
        return self.command(mode, *(["--resume"] if mode == "apply" and not anew else []), *options)


# ------------------------------------------------------------------ what a planned step would do: the closed union


class Traits:
    """Properties of an action. Each class declares its own; all other code asks the class.

    READS: it only reads, asks or reports, so a resume may repeat it. CHANGES: it may change what a diff read from the
    database. SEEN: its content depends on what was read from the database or the disk. WHOLE: a failure leaves nothing
    of it behind.
    """

    READS: ClassVar[bool] = False
    CHANGES: ClassVar[bool] = False
    SEEN: ClassVar[bool] = False
    WHOLE: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Sql(Traits):
    """One SQL text; in one transaction together with its journal row unless `transaction` is false.

    error_detail (here and below): an error about data may repeat values of rows.
    theirs (here and below): the author of the plan wrote the SQL, so it uses the role's search_path. planrun's own SQL
    runs with an empty search_path and names every schema.
    """

    CHANGES = True

    text: str
    connection: str = ""
    transaction: bool = True
    theirs: bool = False
    error_detail: bool = False


@dataclass(frozen=True, kw_only=True)
class Query(Traits):
    """A query for rows, run READ ONLY. At most `limit` rows are kept."""

    READS = True
    SEEN = True

    text: str
    connection: str = ""
    limit: int = 1000
    theirs: bool = False
    error_detail: bool = False


@dataclass(frozen=True, kw_only=True)
class Check(Traits):
    """A query that must return no row; the error shows the first column of each row."""

    READS = True
    SEEN = True

    text: str
    connection: str = ""
    hint: str = ""
    theirs: bool = False
    error_detail: bool = False


@dataclass(frozen=True, kw_only=True)
class Confirm(Traits):
    """A question to the person at the terminal; `expect` is the word to type, or y/n when empty."""

    READS = True

    message: str
    expect: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A database whose relations are compared before and after a program runs.

    query: describes the relations (sql/command/relations.sql.j2). folders: where the plan keeps backups of it.
    """

    connection: str
    query: str
    folders: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Command(Traits):
    """One program call, never through a shell.

    `env` names the variables that are passed on. A line of output that matches one of `fail_if_output` makes it fail.
    tty: whether it gets a pseudo-terminal; None: if planrun has a terminal itself. surveys: the databases whose
    relations are compared before and after."""

    CHANGES = True

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    fail_if_output: tuple[str, ...] = ()
    tty: bool | None = None
    surveys: tuple[Survey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trial(Traits):
    """One program call against a scratch copy of a database, to see what it loses there.

    argv, env, cwd, fail_if_output: as in Command. ignored: globs of files that may name the address of the database,
    as the program takes none from them. rows: how many rows of each table the copy has, None: all of them.
    size: bytes of the tables. server: the connection whose server holds the copy; "" for a private one. timeout:
    seconds that the program may take. query: describes the relations of the database, which may not change meanwhile.
    see: the command that shows what the program loses, where this is not performed.
    """

    READS = True
    SEEN = True

    argv: tuple[str, ...]
    connection: str
    query: str
    env: tuple[str, ...] = ()
    cwd: str = ""
    fail_if_output: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    rows: int | None = None
    size: int = 0
    server: str = ""
    timeout: float = 600.0
    see: str = ""


@dataclass(frozen=True, kw_only=True)
class Write(Traits):
    """A text file, replaced atomically."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Content(Named):
    """A table inside a dump of many; `query` counts its rows and checksums their content, as `Dump.content` does."""

    schema: str
    name: str
    query: str


@dataclass(frozen=True, kw_only=True)
class Rows(Named):
    """How the rows of one table are read for SQL text.

    copy: the COPY ... TO STDOUT of its columns, for a COPY in the text; values: the COPY (format binary) of a text per
    row, the values that stand in its INSERT; each is "" where it is not needed. overriding: whether the INSERTs set an
    identity column that is generated always. columns: the name and kind of each, which the queries rely on.
    """

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    copy: str
    values: str
    overriding: bool = False

    @property
    def loaded_columns(self) -> tuple[str, ...]:
        """The columns that rows are loaded into."""
        return tuple(name for name, kind in self.columns if kind != "generated")


@dataclass(frozen=True, kw_only=True)
class Dump(Named):
    """One file (or one folder) of a session, made by one pg_dump.

    `schema` and `name` are empty for a whole database. `argv` is pg_dump with its options, without
    connection and snapshot, which the executor adds. `content` is the query that counts the rows and checksums their
    content in the session's snapshot; it returns (rows bigint, checksum text), and (negative_zero bool) for tables that
    may contain one: if so, argv loses its --inserts.
    `split` is true when foreign keys must be restored after all rows: the file is written in two parts.
    `holds` names the tables of a dump of whole schemas or a whole database. `copy` is the COPY ... TO STDOUT of a
    csv dump, whose argv then writes the table's DDL. portable: without syntax that only newer programs read.
    `parts` are the partitions that argv names: if the snapshot has others, the dump would not be complete.
    `rows`: how its rows are read where one pg_dump defines all tables (Backup.definitions); argv is then not run.
    """

    schema: str
    name: str
    file: str
    format: str
    argv: tuple[str, ...]
    content: str = ""
    split: bool = False
    holds: tuple[Content, ...] = ()
    copy: str = ""
    portable: bool = False
    parts: tuple[TableName, ...] = ()
    rows: tuple[Rows, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LeftOut(Named):
    """A table that was requested but is not in the session, with the reason."""

    schema: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Backup(Traits):
    """One session: all dumps from one exported snapshot, `jobs` at a time, sealed when complete.

    `facts` is the query that describes the tables, run in the snapshot: schema, name, columns (those that rows are
    loaded into), references (JSON list of [schema, name]) and definition (a text that changes when the table does).
    `definitions` is one pg_dump for the tables of all dumps that have `rows`, without the tables' names, which the
    executor adds for those that exist; empty if each dump runs its own. `archives` is one pg_dump that writes the
    archives of all tables with a dump of their own, whose argv is then not run. `holders` is the query that `rows` were
    made from: if its result differs in the snapshot, the dump would not be complete.
    """

    SEEN = True
    WHOLE = True

    connection: str
    to: str
    dumps: tuple[Dump, ...]
    definitions: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    holders: str = ""
    facts: str = ""
    left_out: tuple[LeftOut, ...] = ()
    skip_empty: bool = True
    compress: str = ""
    jobs: int = 2


@dataclass(frozen=True, kw_only=True)
class Restore(Traits):
    """Restore tables of a session into a database; nothing is dropped before the archive is proved readable.

    tables: as a plan writes them; empty means all. schema: restore into this schema, next to existing tables.
    replace: drop existing tables in the same transaction. owners: restore owners and grants as well.
    """

    CHANGES = True

    session: str
    connection: str = ""
    tables: tuple[str, ...] = ()
    schema: str = ""
    replace: bool = False
    owners: bool = True


@dataclass(frozen=True, kw_only=True)
class Verify(Traits):
    """Prove a session up to a level; `server` names the connection to restore into at level 3, "" a private one."""

    READS = True

    session: str
    level: int
    server: str = ""


@dataclass(frozen=True, kw_only=True)
class CopySession(Traits):
    """Copy a session to another place, a folder or the URL of a store, and read it back there."""

    WHOLE = True

    session: str
    to: str


@dataclass(frozen=True, kw_only=True)
class Prune(Traits):
    """Remove these sessions (or leftovers of interrupted ones) from a folder; each is checked again first.

    by_name: a person named them, so that no rule protects them.
    """

    SEEN = True

    folder: str
    sessions: tuple[str, ...]
    by_name: bool = False


@dataclass(frozen=True, kw_only=True)
class ShadowTable:
    """A table that a Load rebuilds. `live`: a live table of this name exists, which it will replace.

    rows and bytes are the source's estimates. empty: only the structure is created, because the rows come from
    elsewhere. kept: how many live rows it has, if a later step of the plan keeps them.
    """

    name: str
    rows: int = 0
    bytes: int = 0
    live: bool = True
    empty: bool = False
    kept: int | None = None


@dataclass(frozen=True, kw_only=True)
class Load(Traits):
    """Build the tables of one schema of the source in a shadow schema of the target, from one source snapshot.

    tables: partitions are part of their root and not named. pg_dump: the program that reads the structure.
    checksums: also checksum the content of each source table in the snapshot, so that a Compare can prove the copy.
    lose: identities of dependent objects that may be lost. ledger: what happens to every dependent object, for people.
    """

    CHANGES = True

    source: str
    connection: str
    schema: str
    tables: tuple[ShadowTable, ...]
    pg_dump: str
    jobs: int = 2
    checksums: bool = True
    lose: tuple[str, ...] = ()
    ledger: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Copied(Named):
    """One table of a Refill. first: SQL run before the rows, in their transaction; out, into: the two COPY statements.

    after: SQL run after the rows in the same transaction; it may contain {rows} and {xid}, which the executor fills in.
    """

    schema: str
    name: str
    first: str
    out: str
    into: str
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class Refill(Traits):
    """Fill shadow tables from live tables of the same database, all from one snapshot, `jobs` at a time."""

    CHANGES = True

    connection: str
    tables: tuple[Copied, ...]
    jobs: int = 2


@dataclass(frozen=True, kw_only=True)
class Proof(Named):
    """The expected content of one table: `query` returns (rows bigint, checksum text).

    Its result must equal that of `other` in the same snapshot or, without `other`, `rows` and `checksum` (None: not
    compared). first: SQL that runs before both in their REPEATABLE READ transaction, which is committed. copies: in
    place of a query, a COPY ... TO STDOUT of the table, or of each of its partitions; the SHA-256 of what each sends,
    joined by spaces, is the checksum. bytes: its size, for the progress; another size makes no other action.
    """

    schema: str
    name: str
    query: str = ""
    copies: tuple[str, ...] = ()
    other: str = ""
    rows: int | None = None
    checksum: str | None = None
    first: str = ""
    bytes: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Compare(Traits):
    """Prove the content of tables, `jobs` at a time. of: where their recorded rows came from, in words."""

    connection: str
    proofs: tuple[Proof, ...]
    jobs: int = 2
    of: str = "the source snapshot"
    hint: str = f"planrun has not touched the live tables; load again: planrun apply {PLAN}"


@dataclass(frozen=True, kw_only=True)
class Exchange(Traits):
    """SQL in one transaction under locks that are requested all at once, again and again until a deadline.

    before: changes that nobody else sees before the COMMIT, under no lock that blocks readers or writers of live
    tables. locks: LOCK TABLE statements, in OID order.
    check: a query that must return no row, before all and again under the locks; the first column names what changed.
    catch_up: SQL run in REPEATABLE READ transactions of their own before the locks, until `backlog` (a query giving
    one bigint) is small, and once more under the locks. text: the work. lock_timeout, deadline, hold_timeout (for the
    work under the locks): seconds; lock_timeout 0: the default of runner.shadow.exchange.
    """

    CHANGES = True

    connection: str
    what: str
    text: str
    locks: str = ""
    before: str = ""
    check: str = ""
    hint: str = ""
    catch_up: tuple[str, ...] = ()
    backlog: str = ""
    lock_timeout: float = 0.0
    hold_timeout: float = 30.0
    deadline: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Note(Traits):
    """A message to report; changes nothing. idle: it says why the step has nothing to do."""

    READS = True
    SEEN = True

    text: str
    idle: bool = False


@dataclass(frozen=True, kw_only=True)
class Together(Traits):
    """Branches that run at the same time, at most `jobs`; the actions of a branch run one after the other."""

    branches: tuple[tuple[Action, ...], ...]
    jobs: int = 1


Action = (
    Sql | Query | Check | Confirm | Command | Trial | Write | Backup | Restore | Verify | CopySession | Prune
    | Load | Refill | Compare | Exchange | Note | Together
)  # fmt: skip

Result = Mapping[str, Any]
"""The result of one action, as JSON data: {"rows": [...]}, {"exit_code": 0}, {"session": ...}."""

# ------------------------------------------------------------------ a planned step and how it ended


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a planned step ended. code: the kind of error. `outputs` is JSON data; in a diff a value may be UNKNOWN."""

    path: str
    state: State
    message: str = ""
    hint: str = ""
    code: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1
    recorded: bool = False
    error: PlanrunError | None = field(default=None, compare=False, repr=False)


Give = Callable[[Sequence[Result | None]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """The step that is next: what it will do, or (`settled`) its outcome if there is nothing to do.

    `path` is the ids from the top, joined by dots. `because` explains the guard. `stale` is true in a diff
    if an earlier step would change the database. `give` turns the actions' results into the outputs;
    a result is None if only a run can give it. preview: what becomes of which object; None when that cannot be told
    before the step runs, or if its kind has no preview.
    """

    step: Step
    path: str
    because: str = ""
    actions: tuple[Action, ...] = ()
    settled: Outcome | None = None
    stale: bool = False
    preview: Preview | None = field(default=None, compare=False)
    give: Give = field(default=lambda results: {}, compare=False, repr=False)
