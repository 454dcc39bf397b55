"""The plans of the sweeps: each is small, with its initial state, what it changes, and how to see the work of a
step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.crash.invariants import Done
from tests.crash.observed_state import ObservedState
from tests.crash.stage import SOURCE, Stage

APPLY = ("apply", "plan.yml", "--yes")


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A plan and the command that is cut off.

    prepare: makes what is there before it, by SQL and by commands that go well. done: step -> its work is there.
    new: the tables of a refresh, whose content then comes from the source (or, in a rollback, from the backup set);
    kept: those of them whose rows stay, with a writer; alone: tables beside them. back: the old tables come back;
    drops: a backup set is dropped, prunes: a session is removed, because a person says so. at_risk: tables that go
    only when a backup holds them. tidies: it removes what is left of older backups that were cut off. source: the
    source is asked as well. again: it may be begun anew instead of resumed.
    loose: it does several things at once, so that a number is not always the same point. slow: only by name.
    """

    name: str
    plan: str
    prepare: Callable[[Stage], None]
    command: tuple[str, ...] = APPLY
    done: Done = field(default_factory=dict)
    new: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    back: bool = False
    drops: bool = False
    prunes: bool = False
    tidies: bool = True
    at_risk: tuple[str, ...] = ()
    again: bool = True
    loose: bool = False
    source: bool = False
    slow: bool = False


def ok(stage: Stage, *args: str) -> None:
    ran = stage.run(*args)
    assert ran.code == 0, ran.output


# ------------------------------------------------------------------ what everybody else has

THEIRS = """
create schema theirs;
create table theirs.planrun_shadow_public (id int primary key, t text);
create table theirs.backup_users (id int);
create view theirs.report as select count(*) from theirs.backup_users;
create function theirs.planrun_note() returns trigger language plpgsql as 'begin return new; end';
create trigger planrun_keys_1 before insert on theirs.backup_users for each row execute function theirs.planrun_note();
comment on table theirs.backup_users is 'planrun refresh 20200101T000000Z-0000: not at all';
insert into theirs.backup_users values (1);
"""
"""Objects whose names and comments look like ours, and are not."""

# ------------------------------------------------------------------ backup

CDC = """
create table _cdc_users (id int primary key, t text);
insert into _cdc_users select n, 'user ' || n from generate_series(1, 40) n;
create table _cdc_orders (id serial primary key, "user" int references _cdc_users, t text);
insert into _cdc_orders ("user", t) select 1 + n % 40, md5(n::text) from generate_series(1, 300) n;
create table other (id int);
"""
BACKUP = """
name: nightly
backup: {path: backups, format: sql, jobs: 1}
steps:
  - {id: save, uses: backup}
  - {id: prove, when: save.ok, uses: verify_backup, with: {session: "${steps.save.session}", level: 2}}
  - {id: tidy, when: prove.ok, uses: retention, with: {path: backups, keep_last: 2, min_verified: 2}}
"""
SEEDS = """
backup:
  enabled: true
  path: backups
  format: sql
  compress: false
  retention_days: 30
  jobs: 1
"""
PROVE = """
name: prove
backup: {path: backups, format: custom, jobs: 1}
steps:
  - {id: save, uses: backup}
  - {id: prove, when: save.ok, uses: verify_backup, with: {session: "${steps.save.session}", level: 3}}
"""


MORE_CDC = """
create table _cdc_parts (id int primary key, t text) partition by range (id);
create table _cdc_parts_low partition of _cdc_parts for values from (0) to (100);
create table _cdc_parts_high partition of _cdc_parts for values from (100) to (1000);
insert into _cdc_parts select n, md5(n::text) from generate_series(1, 200) n;
create table _cdc_none (id int primary key);
create schema "Other";
create table "Other"."_cdc_Mixed" (id int generated always as identity, t text);
insert into "Other"."_cdc_Mixed" (t) select 'x' from generate_series(1, 20);
"""
"""More tables than jobs, of each form: one pg_dump serves all of them, and its archive is cut."""


def with_many_tables(stage: Stage) -> None:
    _with_sessions(stage, CDC, MORE_CDC)


def with_sessions(stage: Stage) -> None:
    _with_sessions(stage, CDC)


def _with_sessions(stage: Stage, *tables: str) -> None:
    stage.run_sql(THEIRS, *tables)
    for number in range(2):
        ok(stage, *APPLY)
        stage.run_sql(f"insert into _cdc_users values ({1000 + number}, 'later')")


def new_session(before: ObservedState, now: ObservedState) -> bool:
    return any(state == "complete" and name not in before.sessions for name, (state, _, _) in now.sessions.items())


def has_proof(before: ObservedState, now: ObservedState) -> bool:
    return any(level >= 2 and name not in before.sessions for name, (_, level, _) in now.sessions.items())


def has_removed_session(before: ObservedState, now: ObservedState) -> bool:
    return any(name not in now.sessions for name in before.sessions)


# ------------------------------------------------------------------ sql and the other small kinds

SQL = """
name: migrate
steps:
  - {id: make, uses: sql, with: {text: "create table made (n int); create table noted (n int)"}}
  - id: fill
    uses: sql
    with: {text: "insert into made select n from generate_series(1, 10) n; update counter set n = n + 1"}
  - {id: look, uses: query, with: {text: "select count(*) as n from made"}}
  - {id: tell, uses: write, with: {to: out/told.txt, text: "there are rows now"}}
  - {id: call, uses: command, with: {argv: [sh, -c, "echo called"]}}
  - {id: bare, uses: sql, with: {text: "create index if not exists made_n on made (n)", transaction: false}}
  - {id: nothing, uses: check, with: {text: "select 1 from made where n < 0"}}
  - {id: last, uses: sql, with: {text: "insert into noted values (1)"}}
"""


def counter(stage: Stage) -> None:
    stage.run_sql(THEIRS, "create table counter (n int); insert into counter values (0)")


def _has(table: str, rows: int) -> Callable[[ObservedState, ObservedState], bool]:
    return lambda before, now: now.rows(table) == rows


def has_index(before: ObservedState, now: ObservedState) -> bool:
    return any("made_n" in line for line in now.catalog)


def has_written_file(before: ObservedState, now: ObservedState) -> bool:
    return "out/told.txt" in now.files


SQL_DONE: Done = {
    "make": lambda before, now: "public.made" in now.tables,
    "fill": _has("public.made", 10),
    "tell": has_written_file,
    "bare": has_index,
    "last": _has("public.noted", 1),
}

# ------------------------------------------------------------------ restore

RESTORE = """
name: giveback
backup: {path: backups, format: custom, jobs: 1}
steps:
  - {id: put, uses: pg_restore, with: {from: backups, replace: true}}
"""


def damage(stage: Stage) -> None:
    """A good session, and then a database where the rows went wrong."""
    stage.run_sql(THEIRS, CDC)
    (stage.folder / "plan.yml").write_text(PROVE.replace("level: 3", "level: 2"))
    ok(stage, *APPLY)
    (stage.folder / "plan.yml").write_text(RESTORE)
    stage.run_sql("delete from _cdc_orders; update _cdc_users set t = 'wrong'")


# ------------------------------------------------------------------ refresh

TABLES = """
create table users (id int primary key, email text unique, v int not null default 0);
create table orders (id serial primary key, "user" int, amount numeric);
create table lines (order_id int references orders, line int, primary key (order_id, line));
create view big_orders as select * from orders where amount > 10;
create materialized view totals as select count(*) as n from orders;
create table schema_migrations (id int);
"""
OLD = """
insert into users select n, 'old ' || n, 0 from generate_series(1, 30) n;
insert into orders ("user", amount) select n, n from generate_series(1, 20) n;
insert into lines select id, 1 from orders;
insert into schema_migrations values (1);
refresh materialized view totals;
"""
NEW = """
insert into users select n, 'new ' || n, 1 from generate_series(1, 5) n;
insert into orders ("user", amount) select 1 + n % 5, n from generate_series(1, 50) n;
insert into lines select id, 1 from orders;
insert into schema_migrations values (2);
refresh materialized view totals;
"""
# without `on_error: warn` at the cleanup: a run that goes on after it rightly ends with one backup set more
REFRESH = """
name: refresh
connections: {source: {}, target: {}}
steps:
  - id: prepare
    steps:
      - {id: load, uses: shadow_load, with: {from: source, schema: public, exclude: [schema_migrations], jobs: 1}}
      - {id: sync, uses: shadow_sync, with: {tables: [users], jobs: 1, deadline: 5s}}
      - {id: check, uses: shadow_verify, with: {level: checksum, jobs: 1}}
  - {id: cleanup, when: prepare.ok, uses: drop_backup_set, with: {deadline: 5s}}
  - {id: swap, when: prepare.ok, uses: swap_tables, with: {deadline: 5s}}
rollback:
  - {id: back, uses: swap_back, with: {deadline: 5s}}
"""
WINDOW = REFRESH.replace("uses: swap_tables, with: {", "uses: swap_tables, with: {rollback_window: 1h, ")
PLAIN = REFRESH.replace("tables: [users]", "tables: []")
SET = ("public.users", "public.orders", "public.lines")


def pair(stage: Stage) -> None:
    stage.run_sql(THEIRS, TABLES, OLD)
    stage.run_sql(TABLES, NEW, of=SOURCE)


def pair_with_set(stage: Stage) -> None:
    """What an earlier refresh left: a backup set; since then the source has other rows."""
    pair(stage)
    ok(stage, *APPLY)
    stage.run_sql('insert into orders ("user", amount) values (1, 999)', of=SOURCE)


def _pair_prepared(stage: Stage) -> None:
    pair_with_set(stage)
    ok(stage, *APPLY, "--until", "prepare")


def _pair_swapped(stage: Stage) -> None:
    pair(stage)
    ok(stage, *APPLY)


def _fresh(before: ObservedState, now: ObservedState) -> str:
    """Return the state of the refresh that this command made or worked on, "" when there is none."""
    open_ = [now.refreshes[one] for one in now.refreshes if before.refreshes.get(one) not in ("swapped", "undone")]
    return open_[-1] if open_ else ""


def has_swapped(before: ObservedState, now: ObservedState) -> bool:
    return _fresh(before, now) == "swapped"


def has_loaded(before: ObservedState, now: ObservedState) -> bool:
    return _fresh(before, now) in ("loaded", "swapped")


def has_dropped_sets(before: ObservedState, now: ObservedState) -> bool:
    return not [one for one, state in before.refreshes.items() if state == "swapped" and one in now.refreshes]


def has_synced(before: ObservedState, now: ObservedState) -> bool:
    return has_swapped(before, now) or any(left.startswith("trigger planrun_keys") for left in now.left)


def is_undone(before: ObservedState, now: ObservedState) -> bool:
    return "undone" in now.refreshes.values()


REFRESH_DONE: Done = {
    "prepare.load": has_loaded, "prepare.sync": has_synced, "cleanup": has_dropped_sets, "swap": has_swapped,
}  # fmt: skip


def is_aborted(before: ObservedState, now: ObservedState) -> bool:
    return not {"loading", "loaded"} & set(now.refreshes.values())


ADOPT = """
name: adopt
steps:
  - {id: adopt, uses: adopt_backup_set, with: {tables: [backup_orders]}}
"""
DROP = """
name: drop
steps:
  - {id: gone, uses: drop_backup_set, with: {deadline: 5s}}
"""


def _old_tool(stage: Stage) -> None:
    stage.run_sql(THEIRS, "create table orders (id int); create table backup_orders (id int);"
                          "insert into backup_orders values (1), (2)")  # fmt: skip


def prepare_adopted_set(stage: Stage) -> None:
    (stage.folder / "plan.yml").write_text(ADOPT)
    _old_tool(stage)
    ok(stage, *APPLY)
    (stage.folder / "plan.yml").write_text(DROP)


# ------------------------------------------------------------------ all of them

JOBS: tuple[Swept, ...] = (
    Swept(
        name="backup", plan=BACKUP, prepare=with_sessions,
        done={"save.dump": new_session, "prove": has_proof, "tidy": has_removed_session},
    ),
    Swept(name="seeds", plan=SEEDS, prepare=with_sessions),
    Swept(name="prove", plan=PROVE, prepare=with_sessions, slow=True,
          done={"save.dump": new_session, "prove": has_proof}),
    Swept(name="sql", plan=SQL, prepare=counter, done=SQL_DONE, again=False),
    Swept(name="sql-filed", plan=SQL + "journal: file\n", prepare=counter, done=SQL_DONE, again=False),
    Swept(name="restore", plan=RESTORE, prepare=damage),
    Swept(name="refresh", plan=REFRESH, prepare=pair_with_set, done=REFRESH_DONE,
          new=SET, kept=("public.users",), alone=("public.schema_migrations",), source=True),
    Swept(name="swap", plan=REFRESH, prepare=_pair_prepared, command=(*APPLY, "--resume"), done=REFRESH_DONE,
          new=SET, kept=("public.users",), alone=("public.schema_migrations",)),
    Swept(name="rollback", plan=PLAIN, prepare=_pair_swapped, command=("rollback", "plan.yml", "--yes"),
          done={"back": is_undone}, new=SET, alone=("public.schema_migrations",), back=True),
    Swept(name="window", plan=WINDOW, prepare=_pair_swapped, command=("rollback", "plan.yml", "--yes"),
          done={"back": is_undone}, new=SET, kept=("public.users",), alone=("public.schema_migrations",), back=True),
    Swept(name="abort", plan=REFRESH, prepare=_pair_prepared, command=("abort", "plan.yml", "--yes"),
          alone=("public.schema_migrations", *SET)),
    Swept(name="adopt", plan=ADOPT, prepare=_old_tool, alone=("public.orders", "public.backup_orders")),
    Swept(name="drop", plan=DROP, prepare=prepare_adopted_set, alone=("public.orders",), drops=True),
)  # fmt: skip
