"""A plan of each kind that is otherwise only seen among others, and the two that work on several things at once."""

from __future__ import annotations

from tests.crash.invariants import Done
from tests.crash.observed_state import ObservedState
from tests.crash.plans import (
    APPLY,
    BACKUP,
    CDC,
    REFRESH,
    REFRESH_DONE,
    SET,
    THEIRS,
    Swept,
    counter,
    has_loaded,
    has_proof,
    has_removed_session,
    has_synced,
    has_written_file,
    new_session,
    ok,
    pair,
    pair_with_set,
    with_many_tables,
    with_sessions,
)
from tests.crash.stage import Stage


def one_step(step: str) -> str:
    return f"name: one\nsteps:\n  - {{id: it, {step}}}\n"


def first(stage: Stage, plan: str) -> None:
    """Run another plan before: what it leaves is what the swept one begins with."""
    swept = (stage.folder / "plan.yml").read_text()
    (stage.folder / "plan.yml").write_text(plan)
    ok(stage, *APPLY)
    (stage.folder / "plan.yml").write_text(swept)


# ------------------------------------------------------------------ files and sessions

SAVE = BACKUP.partition("  - {id: prove")[0]
KEEP_ONE = one_step("uses: retention, with: {path: backups, keep_last: 1}").replace("name: one", "name: nightly")
PROVED = one_step("uses: verify_backup, with: {session: backups/SESSION, level: 2}")
CALL = one_step("uses: command, with: {argv: [sh, -c, 'mkdir -p out && echo called > out/told.txt']}")
WRITE = one_step("uses: write, with: {to: out/told.txt, text: there are rows now}")


def _theirs(stage: Stage) -> None:
    stage.run_sql(THEIRS)


def _three_sessions(stage: Stage) -> None:
    stage.run_sql(THEIRS, CDC)
    for number in range(3):
        first(stage, SAVE)
        stage.run_sql(f"insert into _cdc_users values ({1000 + number}, 'later')")


def _one_removed(before: ObservedState, now: ObservedState) -> bool:
    return any(name not in now.sessions for name in before.sessions)


def prepare_session(stage: Stage) -> None:
    stage.run_sql(THEIRS, CDC)
    first(stage, SAVE)
    (session,) = (stage.folder / "backups").iterdir()
    _fill(stage, "SESSION", session.name)


def _fill(stage: Stage, word: str, value: str) -> None:
    plan = stage.folder / "plan.yml"
    plan.write_text(plan.read_text().replace(word, value))


def has_verified(before: ObservedState, now: ObservedState) -> bool:
    return any(level >= 2 for _, level, _ in now.sessions.values())


def _cdc(stage: Stage) -> None:
    stage.run_sql(THEIRS, CDC)


BACKUP_DONE: Done = {"save.dump": new_session, "prove": has_proof, "tidy": has_removed_session}


def dump(form: str) -> Swept:
    tables = "tables: [_cdc_users, _cdc_orders]"
    step = f"uses: pg_dump, with: {{to: backups, {tables}, format: {form}, jobs: 1}}"
    return Swept(name=f"dump-{form}", plan=one_step(step), prepare=_cdc, done={"it": new_session}, tidies=False)


def archived(form: str, jobs: int = 1) -> Swept:
    """A backup whose tables share one pg_dump, with its proof and retention."""
    plan = BACKUP.replace("format: sql", f"format: {form}").replace("jobs: 1", f"jobs: {jobs}")
    name = f"backup-{form}" + (f"-{jobs}" if jobs > 1 else "")
    # pg_dump goes on while planrun asks what belongs to which table
    loose = jobs > 1 or form == "custom"
    return Swept(name=name, plan=plan, prepare=with_many_tables, done=BACKUP_DONE, loose=loose)


# ------------------------------------------------------------------ questions

QUERY = one_step("uses: query, with: {text: select count(*) as n from counter}")
CHECK = one_step("uses: check, with: {text: select 1 from counter where n < 0}")
CONFIRM = """
name: ask
steps:
  - {id: ask, uses: confirm, with: {message: "Count on?"}}
  - {id: count, when: ask.accepted, uses: sql, with: {text: update counter set n = n + 1}}
"""
EACH = """
name: each
steps:
  - {id: detect, uses: find_tables, with: {prefix: _cdc_}}
  - id: mark
    for_each: detect.tables
    jobs: 2
    uses: sql
    with: {text: "insert into marked values ({{ name }})", values: {name: "${item.name}"}}
"""


def _to_mark(stage: Stage) -> None:
    stage.run_sql(THEIRS, CDC, "create table marked (name text)")


def has_counted(before: ObservedState, now: ObservedState) -> bool:
    return now.tables["public.counter"] != before.tables["public.counter"]


# ------------------------------------------------------------------ the steps of a refresh

CONNECTIONS = "name: refresh\nconnections: {source: {}, target: {}}\n"
LOAD = CONNECTIONS + (
    "steps:\n  - {id: load, uses: shadow_load,"
    " with: {from: source, schema: public, exclude: [schema_migrations], jobs: 1}}\n"
)
SYNC = CONNECTIONS + (
    "steps:\n  - {id: sync, uses: shadow_sync, with: {tables: [users], jobs: 1, deadline: 5s, connection: target}}\n"
)
VERIFY = CONNECTIONS + (
    "steps:\n  - {id: check, uses: shadow_verify, with: {level: checksum, jobs: 1, connection: target}}\n"
)


def _pair_loaded(stage: Stage) -> None:
    pair(stage)
    first(stage, LOAD)


def _pair_synced(stage: Stage) -> None:
    _pair_loaded(stage)
    first(stage, SYNC)


# ------------------------------------------------------------------ the safe migration

MIGRATE = """
name: safe_migrate
backup: {path: backups, prefix: _cdc_, jobs: 1}
steps:
  - {id: detect, uses: find_tables, with: {prefix: _cdc_, allow_empty: true}}
  - {id: ask, when: detect.count > 0, uses: confirm, with: {message: "Back up and migrate?"}}
  - {id: save, when: detect.ok and (ask.ok or detect.count == 0), uses: backup}
  - id: migrate
    when: save.ok
    uses: command
    with: {argv: [PSQL, "-Xqv", ON_ERROR_STOP=1, "-f", migration.sql, "${env.DATABASE_URL}"], env: [DATABASE_URL]}
"""
MIGRATION = """
begin;
drop table if exists _cdc_orders, _cdc_users;
create table if not exists migrated (n int);
commit;
"""
"""As tools for migrations do it: in one transaction, and a second time nothing happens."""


def _to_migrate(stage: Stage) -> None:
    (stage.folder / "migration.sql").write_text(MIGRATION)
    _fill(stage, "PSQL", stage.server.programs.tool("psql"))
    stage.run_sql(THEIRS, CDC)


def has_migrated(before: ObservedState, now: ObservedState) -> bool:
    return "public.migrated" in now.tables


# ------------------------------------------------------------------ all of them

SINGLES: tuple[Swept, ...] = (
    Swept(name="retention", plan=KEEP_ONE, prepare=_three_sessions, done={"it": _one_removed}, prunes=True),
    Swept(name="command", plan=CALL, prepare=_theirs, done={"it": has_written_file}),
    Swept(name="write", plan=WRITE, prepare=_theirs, done={"it": has_written_file}),
    Swept(name="verify", plan=PROVED, prepare=prepare_session, done={"it": has_verified}),
    *map(dump, ("insert", "custom", "directory", "csv")),
    *map(archived, ("insert", "copy", "csv", "custom", "directory")),
    *(archived(form, 2) for form in ("copy", "custom", "directory")),
    Swept(name="query", plan=QUERY, prepare=counter),
    Swept(name="check", plan=CHECK, prepare=counter),
    Swept(name="confirm", plan=CONFIRM, prepare=counter, done={"count": has_counted}, again=False),
    Swept(name="each", plan=EACH, prepare=_to_mark, again=False, loose=True),
    Swept(name="load", plan=LOAD, prepare=pair, done={"load": has_loaded}, new=SET, source=True),
    Swept(name="sync", plan=SYNC, prepare=_pair_loaded, done={"sync": has_synced}, new=SET, kept=("public.users",)),
    Swept(name="shadow-verify", plan=VERIFY, prepare=_pair_synced, new=SET, kept=("public.users",)),
    Swept(name="migrate", plan=MIGRATE, prepare=_to_migrate, done={"save.dump": new_session, "migrate": has_migrated},
          at_risk=("public._cdc_users", "public._cdc_orders")),
    Swept(name="backup-jobs", plan=BACKUP.replace("jobs: 1", "jobs: 2"), prepare=with_sessions, loose=True,
          done={"save.dump": new_session, "prove": has_proof}),
    Swept(name="refresh-jobs", plan=REFRESH.replace("jobs: 1", "jobs: 2"), prepare=pair_with_set, loose=True,
          done=REFRESH_DONE, new=SET, kept=("public.users",), alone=("public.schema_migrations",), source=True),
)  # fmt: skip
