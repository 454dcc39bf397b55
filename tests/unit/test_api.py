"""Whole runs on a real PostgreSQL: the journal tells the truth, resume goes on, nothing happens twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import runner
from runner import api
from runner.cancel import Cancel
from runner.errors import ChangedError, Interrupted, LockedError, PlanError, TargetError, UnknownStateError, UsageError
from runner.events import ActionDone, Event, Resuming, StepEnded, StepPlanned
from runner.model import Confirm, Plan
from runner.report import runs, text
from runner.result import RunResult
from runner.run import executor
from tests.faultproxy import FaultProxy, target_of
from tests.poolproxy import PoolProxy


@pytest.fixture
def env(db: str, tmp_path: Path) -> dict[str, str]:
    return {"DATABASE_URL": db, "PLANRUN_STATE_DIR": str(tmp_path / "state")}


Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path, env: dict[str, str]) -> Make:
    def make_plan(steps: str, name: str = "p", **more: str) -> Plan:
        file = tmp_path / f"{name}.yml"
        extra = "".join(f"{key}: {value}\n" for key, value in more.items())
        file.write_text(f"name: {name}\n{extra}steps:\n{steps}")
        return api.load_plan(file, env=env)

    return make_plan


def rows(db: str, query: str) -> list[Any]:
    with psycopg.connect(db) as conn:
        return [row[0] for row in conn.execute(query.encode()).fetchall()]


TWO = """
  - {id: a, uses: sql, with: {text: "create table t (n int); insert into t values (1)"}}
  - {id: b, uses: sql, with: {text: "insert into t values (2)"}}
"""
SECOND_FAILS = """
  - {id: a, uses: sql, with: {text: "create table t (n int primary key); insert into t values (1)"}}
  - {id: b, uses: sql, with: {text: "insert into t select n from todo"}}
  - {id: c, uses: sql, with: {text: "insert into t values (3)"}}
"""


def test_the_package_offers_the_api() -> None:
    assert runner.load_plan is api.load_plan and runner.apply is api.apply and runner.diff is api.diff
    with pytest.raises(AttributeError):
        _ = runner.nothing


def test_apply_runs_and_says_so(make: Make, env: dict[str, str], db: str) -> None:
    result = api.apply(make(TWO), env=env)
    assert (result.state, result.exit_code, result.ok) == ("ok", 0, True)
    assert [(step.path, step.state) for step in result.steps] == [("a", "ok"), ("b", "ok")]
    assert result["b"].outputs == {"count": 1}
    assert rows(db, "select n from t order by n") == [1, 2]


def test_diff_changes_nothing_and_shows_the_same_actions(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(TWO)
    shown = api.diff(plan, env=env)
    assert rows(db, "select to_regclass('t')::text") == [None]
    assert rows(db, "select to_regnamespace('planrun')::text") == [None]
    done = api.apply(plan, env=env)
    assert [step.planned.actions for step in shown.steps] == [step.planned.actions for step in done.steps]


def test_a_failed_run_is_resumed_without_doing_anything_twice(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(SECOND_FAILS)
    failed = api.apply(plan, env=env)
    assert (failed.state, failed.exit_code) == ("failed", 1)
    assert 'relation "todo" does not exist' in str(failed.error)
    assert failed.next.endswith("--resume")
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table todo as select 2 as n")
    resumed = api.apply(plan, env=env, resume=True)
    assert resumed.ok and resumed.run == failed.run
    assert [planned.because for planned in (resumed["a"].planned, resumed["b"].planned)] == [
        "done by an earlier attempt",
        "",
    ]
    assert rows(db, "select n from t order by n") == [1, 2, 3]
    with pytest.raises(UsageError, match="no unfinished run"):
        api.apply(plan, env=env, resume=True)


def test_until_pauses_and_resume_goes_on(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(TWO)
    paused = api.apply(plan, env=env, until="a")
    assert (paused.state, paused.exit_code) == ("paused", 0)
    assert rows(db, "select n from t") == [1]
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(db, "select n from t order by n") == [1, 2]
    with pytest.raises(UsageError, match="no such step"):
        api.apply(plan, env=env, until="aa")


def test_until_the_last_step_comes_to_the_end(make: Make, env: dict[str, str]) -> None:
    plan = make(TWO)
    assert "as --until says" not in text.diff(api.diff(plan, env=env, until="b"))
    assert api.apply(plan, env=env, until="a").state == "paused"
    done = api.apply(plan, env=env, resume=True, until="b")
    assert (done.state, done.next) == ("ok", "")


def test_a_changed_plan_is_not_resumed(make: Make, env: dict[str, str]) -> None:
    api.apply(make(SECOND_FAILS), env=env)
    changed = make(SECOND_FAILS.replace("values (3)", "values (4)"))
    with pytest.raises(ChangedError, match="changed since run") as caught:
        api.apply(changed, env=env, resume=True)
    said = str(caught.value)
    assert (
        "p.yml:6\n" in said and "    + " in said and "values (4)" in said and "not repeated" in said and ": a\n" in said
    )
    assert f"--resume --accept {changed.digest[:12]}" in said and caught.value.exit_code == 5
    with pytest.raises(ChangedError, match=r"0 is not the digest of the plan as it is now(.|\n)*values \(4\)"):
        api.apply(changed, env=env, resume=True, accept="0" * 12)
    with pytest.raises(UsageError, match="--accept confirms how a plan changed"):
        api.apply(changed, env=env, accept=changed.digest)


def test_a_change_that_was_accepted_is_gone_on_with(make: Make, env: dict[str, str], db: str) -> None:
    failed = api.apply(make(SECOND_FAILS), env=env)
    mended = make(SECOND_FAILS.replace("select n from todo", "values (2)"))
    heard: list[Event] = []
    done = api.apply(mended, env=env, resume=True, accept=mended.digest[:12], on_event=heard.append)
    assert done.ok and done.run == failed.run and rows(db, "select n from t order by n") == [1, 2, 3]
    (found,) = [event for event in heard if isinstance(event, Resuming)]
    assert found.done == ("a",) and re.match(
        r'failed \(\S+p\.yml:5:5: relation "todo" does not exist', found.begun["b"]
    )
    (run,) = api.history(mended, env=env)
    assert run.digest == mended.digest and "values (2)" in run.content["p.yml"]


ASKED = """
  - {id: ask, uses: confirm, with: {message: Really?}}
  - {id: a, uses: sql, with: {text: "create table t (n int)"}}
  - {id: b, uses: sql, with: {text: "insert into t select n from todo"}}
"""


def test_what_was_confirmed_of_one_text_is_asked_again_of_another(make: Make, env: dict[str, str], db: str) -> None:
    asked: list[Confirm] = []

    def yes(question: Confirm) -> bool:
        asked.append(question)
        return True

    api.apply(make(ASKED), env=env, confirm=yes)
    api.apply(make(ASKED), env=env, confirm=yes, resume=True)
    assert len(asked) == 1  # the same text: the answer holds
    changed = make(ASKED.replace("select n from todo", "values (2)"))
    with pytest.raises(SystemExit):  # and it is asked again although the attempt that first met the change was killed
        api.apply(changed, env=env, resume=True, accept=changed.digest, on_event=cut_after("ask", StepPlanned))
    assert len(asked) == 1
    assert api.apply(changed, env=env, confirm=yes, resume=True).ok
    assert len(asked) == 2 and rows(db, "select n from t") == [2]


def test_a_change_of_a_param_is_told_and_named_in_the_next_command(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "p.yml"
    file.write_text(
        "name: p\nparams: {n: {type: integer, default: 1}, token: {type: string, default: x}}\n"
        "steps: [{id: a, uses: sql, with: {text: 'select {{ n }} from nowhere', values: {n: \"${params.n}\"}}}]\n"
    )

    def load(*sets: str) -> Plan:
        return api.load_plan(file, set=sets, env=env)

    failed = api.apply(load("n=2", "token=k3y of m1ne"), env=env)
    assert failed.next == f"planrun apply {file} --set n=2 --set 'token=***' --resume"
    with pytest.raises(PlanError, match="is shown instead of a secret value"):
        load("n=2", "token=***")
    with pytest.raises(ChangedError) as caught:
        api.apply(load("n=3", "token=another k3y"), env=env, resume=True)
    assert (
        f"hint: continue with the plan as it was: planrun apply {file} --set n=2 --set 'token=***' --resume\n"
        in str(caught.value)
    )
    assert "  params\n    - n: 2\n    + n: 3\n" in str(caught.value) and "k3y" not in str(caught.value)
    with pytest.raises(ChangedError, match="a value that is kept secret"):
        api.apply(load("n=2", "token=another k3y"), env=env, resume=True)


PROVED = """
  - {id: keep, uses: sql, with: {text: "insert into t values (1)"}}
  - {id: prove, uses: command, with: {argv: [sh, -c, "echo proved >> proofs"]}}
  - {id: risky, uses: sql, with: {text: "insert into todo values (1)"}}
"""


def test_a_proof_is_made_again_when_what_it_proved_is(make: Make, env: dict[str, str], db: str, tmp_path: Path) -> None:
    with psycopg.connect(db) as conn:
        conn.execute("create table t (n int)")
    api.apply(make(PROVED), env=env)
    renamed = make(PROVED.replace("id: keep", "id: hold"))
    heard: list[Event] = []
    with pytest.raises(SystemExit):  # also by the attempt after one that was killed in between
        api.apply(renamed, env=env, resume=True, accept=renamed.digest, on_event=cut_after("prove", StepPlanned))
    failed = api.apply(renamed, env=env, resume=True, on_event=heard.append)
    assert failed["prove"].planned.because == "" and (tmp_path / "proofs").read_text() == "proved\n" * 2
    (found,) = [event for event in heard if isinstance(event, Resuming)]
    assert found.done == ("hold",)  # no step that the plan has no more


def test_a_secret_param_is_in_no_journal(env: dict[str, str], tmp_path: Path, db: str) -> None:
    file = tmp_path / "p.yml"
    file.write_text(
        "name: p\nparams: {api_token: {type: string}}\nsteps: [{id: a, uses: sql, with: "
        "{text: 'create table {{ t|ident }} (n int)', values: {t: \"${params.api_token}\"}}}]\n"
    )
    result = api.apply(api.load_plan(file, set={"api_token": "hunter2secret"}, env=env), env=env)
    assert result.ok and "hunter2" not in str(result.steps[0].planned.actions)
    assert rows(db, "select count(*) from planrun.journal where event::text like '%hunter2%'") == [0]
    assert rows(db, "select to_regclass('hunter2secret') is not null") == [True]


def test_what_is_named_to_type_goes_no_further_than_what_was(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(SECOND_FAILS)
    failed = api.apply(plan, env=env, until="b")
    assert failed.next == f"planrun apply {plan.file} --resume --until b"
    (run,) = api.history(plan, env=env)
    assert runs.next_command(run, plan, "") == failed.next
    with psycopg.connect(db) as conn:
        conn.execute("create table todo as select 2 as n")
    shown: list[RunResult] = []

    def approve(diff: RunResult) -> bool:
        shown.append(diff)
        return True

    paused = api.apply(plan, env=env, resume=True, until="b", approve=approve)
    assert [step.path for step in shown[0].steps] == ["a", "b"] and "as --until says" in text.diff(shown[0])
    assert paused.state == "paused" and paused.next == f"planrun apply {plan.file} --resume"
    assert [step.path for step in api.diff(plan, env=env, until="a").steps] == ["a"]


def test_an_interrupt_while_it_looks_begins_nothing(make: Make, env: dict[str, str], db: str) -> None:
    cancel = Cancel()
    asked: list[RunResult] = []

    def approve(diff: RunResult) -> bool:
        asked.append(diff)
        return True

    def interrupt(event: Event) -> None:
        cancel.cancel(Interrupted("interrupted by SIGINT", signal=2))

    with pytest.raises(Interrupted):
        api.apply(make(TWO), env=env, approve=approve, on_event=interrupt, cancel=cancel)
    assert not asked and api.history(make(TWO), env=env) == []


def test_a_diff_says_what_it_is_of(make: Make, env: dict[str, str]) -> None:
    plan = make(TWO + 'rollback:\n  - {id: back, uses: sql, with: {text: "drop table t"}}\n')
    assert [api.diff(plan, env=env, rollback=back).of for back in (False, True)] == ["apply", "rollback"]


def test_declined_means_nothing_was_done(make: Make, env: dict[str, str], db: str) -> None:
    result = api.apply(make(TWO), env=env, approve=lambda diff: False)
    assert (result.state, result.exit_code) == ("declined", 1)
    assert rows(db, "select to_regclass('t')::text") == [None]
    assert api.history(make(TWO), env=env) == []


def test_a_confirm_step_is_asked_and_a_no_stops_what_follows(make: Make, env: dict[str, str], db: str) -> None:
    plan = make("  - {id: ask, uses: confirm, with: {message: Really?, expect: prod}}\n" + TWO)
    asked: list[Confirm] = []

    def no(question: Confirm) -> bool:
        asked.append(question)
        return False

    result = api.apply(plan, env=env, confirm=no)
    assert [(question.message, question.expect) for question in asked] == [("Really?", "prod")]
    assert {step.path: step.state for step in result.steps} == {"ask": "failed", "a": "skipped", "b": "skipped"}
    assert rows(db, "select to_regclass('t')::text") == [None]
    assert api.apply(plan, env=env, confirm=lambda question: True).ok


def test_rollback_runs_its_own_steps(tmp_path: Path, env: dict[str, str], db: str) -> None:
    file = tmp_path / "r.yml"
    file.write_text(f"name: r\nsteps: {TWO}rollback:\n  - {{id: back, uses: sql, with: {{text: drop table t}}}}\n")
    plan = api.load_plan(file, env=env)
    api.apply(plan, env=env)
    assert api.diff(plan, env=env, rollback=True).something_to_do
    assert api.rollback(plan, env=env).ok
    assert rows(db, "select to_regclass('t')::text") == [None]


def test_a_second_run_meets_the_lock(make: Make, env: dict[str, str]) -> None:
    plan = make(TWO)

    def approve(diff: RunResult) -> bool:
        with pytest.raises(LockedError):
            api.apply(plan, env=env)
        assert diff.run in api.run_holder(plan, env=env)
        return False

    api.apply(plan, env=env, approve=approve)
    assert api.run_holder(plan, env=env) == ""


# ------------------------------------------------------------------ the journal and the COMMIT


def test_the_step_and_its_journal_row_commit_together(make: Make, env: dict[str, str], db: str) -> None:
    api.apply(make(TWO), env=env)
    same = """
        select count(distinct j.xmin::text) from planrun.journal j
        where event->>'event' = 'action_done' and (j.xmin::text = (select xmin::text from t where n = 1)
                                                or j.xmin::text = (select xmin::text from t where n = 2))
    """
    assert rows(db, same) == [2]


def env_of_proxy(env: dict[str, str], proxy: FaultProxy) -> dict[str, str]:
    here = {"host": "127.0.0.1", "port": str(proxy.port), "sslmode": "disable"}
    words = psycopg.conninfo.conninfo_to_dict(env["DATABASE_URL"]) | here
    return env | {"DATABASE_URL": psycopg.conninfo.make_conninfo("", **{k: str(v) for k, v in words.items()})}


def first_words_of_queries(proxy: FaultProxy) -> list[str]:
    return [chunk[5:-1].split(maxsplit=1)[0].decode() for chunk in proxy.sent if chunk[:1] == b"Q"]


def test_a_diff_of_ten_steps_of_sql_opens_two_connections_and_asks_seventeen_times(
    make: Make, env: dict[str, str], db: str
) -> None:
    """The settings of a connection are one message; each statement of a `sql` step is explained in a transaction."""
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    steps = [
        f'  - {{id: s{n}, uses: {"query" if n % 2 else "sql"}, with: {{text: "select {n} as n"}}}}\n' for n in range(10)
    ]
    plan = make("".join(steps))
    with FaultProxy(target_of(words)) as proxy:
        assert api.diff(plan, env=env_of_proxy(env, proxy)).ok
    assert proxy.connections == 2
    assert first_words_of_queries(proxy) == ["select", "select", "select", *["begin", "explain", "rollback"] * 5]


def test_a_diff_reads_the_catalog_over_the_connection_that_it_has_checked(
    make: Make, env: dict[str, str], db: str
) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    plan = make("  - {id: find, uses: find_tables, with: {prefix: none_, allow_empty: true}}\n")
    with FaultProxy(target_of(words)) as proxy:
        assert api.diff(plan, env=env_of_proxy(env, proxy)).ok
    assert proxy.connections == 1
    assert first_words_of_queries(proxy)[:2] == ["select", "select"]


def test_a_lost_answer_to_commit_is_looked_up_not_guessed(make: Make, env: dict[str, str], db: str) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    plan = make(TWO)
    with FaultProxy(target_of(words)) as proxy:
        through = env_of_proxy(env, proxy)
        proxy.swallow_on = b"commit\0"
        result = api.apply(plan, env=through)
    assert result.ok
    assert rows(db, "select n from t order by n") == [1, 2]


def test_a_commit_that_never_arrived_is_a_failure_that_resume_mends(make: Make, env: dict[str, str], db: str) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    plan = make(TWO)
    with FaultProxy(target_of(words)) as proxy:
        proxy.cut_on = b"commit\0"
        result = api.apply(plan, env=env_of_proxy(env, proxy))
    assert (result.state, result.exit_code) == ("failed", 1)
    assert rows(db, "select to_regclass('t')::text") == [None]
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(db, "select n from t order by n") == [1, 2]


def test_a_commit_whose_server_is_gone_is_unknown_and_resume_finds_out(
    make: Make, env: dict[str, str], db: str
) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    plan = make(TWO)
    with FaultProxy(target_of(words)) as proxy:
        through = env_of_proxy(env, proxy)

        def cut_connection(event: Event) -> None:
            if isinstance(event, StepPlanned) and event.planned.path == "b":
                proxy.swallow_on, proxy.refuse = b"commit\0", True

        result = api.apply(plan, env=through, on_event=cut_connection)
        assert isinstance(result.error, UnknownStateError) and result.exit_code == 75
    resumed = api.apply(plan, env=env, resume=True)
    assert resumed.ok
    assert rows(db, "select n from t order by n") == [1, 2]


def test_a_plan_that_only_reads_leaves_a_local_journal(make: Make, env: dict[str, str], db: str) -> None:
    plan = make('  - {id: q, uses: query, with: {text: "select 1 as one"}}\n')
    assert api.apply(plan, env=env).ok
    (file,) = Path(env["PLANRUN_STATE_DIR"]).glob("p-*.jsonl")
    events = [json.loads(line)["event"] for line in file.read_text().splitlines()]
    assert events == ["run_began", "turn", "action_done", "outcome", "run_ended"]
    assert rows(db, "select to_regnamespace('planrun')::text") == [None]
    assert [run.state for run in api.history(plan, env=env)] == ["ok"]
    assert oct(file.stat().st_mode & 0o777) == "0o600"


def test_a_torn_line_of_the_local_journal_is_passed_over(make: Make, env: dict[str, str]) -> None:
    plan = make('  - {id: q, uses: query, with: {text: "select 1 as one"}}\n')
    api.apply(plan, env=env)
    (file,) = Path(env["PLANRUN_STATE_DIR"]).glob("p-*.jsonl")
    with file.open("a") as torn:
        torn.write('{"run": "x", "event": "tu')
    assert api.apply(plan, env=env).ok
    assert [run.state for run in api.history(plan, env=env)] == ["ok", "ok"]


def test_statements_outside_of_a_transaction(make: Make, env: dict[str, str]) -> None:
    plan = make("  - {id: v, uses: sql, with: {text: vacuum pg_catalog.pg_class, transaction: false}}\n")
    assert api.apply(plan, env=env).ok


def test_one_step_sees_nothing_of_the_session_of_another(make: Make, env: dict[str, str]) -> None:
    plan = make(
        "  - {id: a, uses: sql, with: {text: \"set work_mem = '1234kB'; create temp table x (n int)\"}}\n"
        "  - {id: b, uses: sql, with: {text: create temp table x (n int)}}\n"
        "  - {id: c, uses: query, with: {text: \"select current_setting('work_mem') as m\"}}\n"
    )
    result = api.apply(plan, env=env)
    assert result.ok, result.error
    assert result["c"].outputs["row"] != {"m": "1234kB"}


def test_the_diff_of_a_resume_shows_what_is_left(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(SECOND_FAILS)
    api.apply(plan, env=env)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table todo as select 2 as n")
    shown: list[RunResult] = []

    def approve(diff: RunResult) -> bool:
        shown.append(diff)
        return True

    assert api.apply(plan, env=env, resume=True, approve=approve).ok
    assert {step.path: step.state for step in shown[0].steps} == {"a": "ok", "b": "would run", "c": "would run"}


# ------------------------------------------------------------------ resume: nothing twice, nothing passed over


def cut_after(path: str, kind: type[Event]) -> Callable[[Event], None]:
    """End planrun, as a SIGKILL would, right after an event of a step was written to the journal."""

    def listen(event: Event) -> None:
        told = event.planned.path if isinstance(event, StepPlanned) else getattr(event, "path", "")
        told = event.outcome.path if isinstance(event, StepEnded) else told
        if isinstance(event, kind) and told == path:
            raise SystemExit(9)

    return listen


def test_a_resume_that_is_killed_itself_forgets_nothing(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(
        "  - {id: a, uses: sql, with: {text: create table t as select 1 as n}}\n"
        + SECOND_FAILS[1:]
        .replace("{id: a, uses: sql", "{id: z, uses: sql")
        .replace("create table t (n int primary key); ", "")
    )
    api.apply(plan, env=env)
    with pytest.raises(SystemExit):
        api.apply(plan, env=env, resume=True, on_event=cut_after("z", StepPlanned))
    (run,) = api.history(plan, env=env)
    assert set(run.recorded_outcomes()) == {"a", "z"}


def test_after_a_rollback_there_is_nothing_to_resume(tmp_path: Path, env: dict[str, str], db: str) -> None:
    file = tmp_path / "r.yml"
    back = "rollback:\n  - {id: back, uses: sql, with: {text: drop table t}}\n"
    file.write_text(f"name: r\nsteps: {SECOND_FAILS}{back}")
    plan = api.load_plan(file, env=env)
    assert api.apply(plan, env=env).state == "failed"
    assert api.rollback(plan, env=env).ok
    with pytest.raises(UsageError, match="no unfinished run"):
        api.apply(plan, env=env, resume=True)


def test_a_text_with_the_time_of_the_run_is_not_run_twice(make: Make, env: dict[str, str], db: str) -> None:
    plan = make("""
  - {id: a, uses: sql, with: {text: create table t (at text)}}
  - {id: b, uses: sql, with: {text: "insert into t values ({{ at }})", values: {at: "${run.started}"}}}
""")
    with pytest.raises(SystemExit):
        api.apply(plan, env=env, on_event=cut_after("b", ActionDone))
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(db, "select count(*) from t") == [1]


def test_what_was_read_is_read_again_when_nothing_was_done_with_it(make: Make, env: dict[str, str], db: str) -> None:
    plan = make("""
  - {id: seed, uses: sql, with: {text: create table t as select 1 as n}}
  - {id: read, uses: query, with: {text: select n from t}}
  - {id: use, uses: check, with: {text: "select n::text from t where n = 1"}}
  - {id: end, uses: sql, with: {text: "insert into t values (10)"}}
  - {id: broken, uses: sql, with: {text: select no_such_column from t}}
""")
    assert api.apply(plan, env=env).state == "failed"
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("update t set n = 2")
    again = api.apply(plan, env=env, resume=True)
    assert again["read"].outputs["row"] == {"n": 2} and again["end"].state == "ok"
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("update t set n = 3")
    third = api.apply(plan, env=env, resume=True)
    assert third["read"].outputs["row"] == {"n": 2}, "a later step has acted on it"


def test_a_resume_does_not_go_on_without_the_backup_it_made(
    make: Make, env: dict[str, str], db: str, tmp_path: Path
) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table t as select 1 as n")
    plan = make(f"""
  - {{id: save, uses: pg_dump, with: {{tables: [t], to: {tmp_path}/b}}}}
  - {{id: risky, uses: sql, with: {{text: "select 1 / (select count(*) - 1 from t); drop table t"}}}}
""")
    failed = api.apply(plan, env=env)
    assert failed["save"].state == "ok" and failed.state == "failed"
    session = Path(failed["save"].outputs["session"])
    session.rename(session.with_name("elsewhere"))
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("insert into t values (2)")
    resumed = api.apply(plan, env=env, resume=True)
    assert {step.path: step.state for step in resumed.steps} == {"save": "failed", "risky": "skipped"}
    assert "no longer complete" in str(resumed.error)
    session.with_name("elsewhere").rename(session)
    assert api.apply(plan, env=env, resume=True).ok


@pytest.fixture
def two(make: Make, env: dict[str, str], new_db: Callable[[], str]) -> tuple[Plan, dict[str, str], str]:
    """A plan whose journal is in one database and whose step works in another."""
    other = new_db()
    with psycopg.connect(other, autocommit=True) as conn:
        conn.execute("create table t (n int)")
    env |= {"PLANRUN_TARGET_URL": env["DATABASE_URL"], "PLANRUN_OTHER_URL": other}
    words = "{target: {application_name: x}, other: {application_name: x}}"
    steps = '\n  - {id: a, uses: sql, with: {text: "insert into t values (1)", connection: other}}\n'
    return make(steps, connections=words), env, other


def test_what_was_committed_in_another_database_without_a_word_is_found_out(
    two: tuple[Plan, dict[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, env, other = two
    real = executor.Executor.act

    def exit_at_once(*args: Any) -> Any:
        real(*args)
        raise SystemExit(9)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(executor.Executor, "act", exit_at_once)
        api.apply(plan, env=env)
    assert rows(other, "select n from t") == [1]
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(other, "select n from t") == [1]


def test_what_was_not_committed_in_another_database_is_done_by_resume(
    two: tuple[Plan, dict[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, env, other = two

    def exit_at_once(*args: Any) -> Any:
        raise SystemExit(9)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(executor.Executor, "_commit", exit_at_once)
        api.apply(plan, env=env)
    assert rows(other, "select n from t") == []
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(other, "select n from t") == [1]


def test_a_statement_that_came_to_its_end_although_it_was_told_to_stop_is_done(
    make: Make, env: dict[str, str], db: str
) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table t (n int)")
    stubborn = (
        "do $$ begin begin perform pg_sleep(5); exception when query_canceled then null; end; "
        "insert into t values (1); end $$"
    )
    result = api.apply(
        make(f'\n  - {{id: a, timeout: 1s, uses: sql, with: {{text: "{stubborn}", transaction: false}}}}\n'), env=env
    )
    assert rows(db, "select n from t") == [1] and result["a"].state == "ok"


def test_a_resumed_run_holds_the_lock_under_its_own_name(make: Make, env: dict[str, str], db: str) -> None:
    plan = make(SECOND_FAILS)
    failed = api.apply(plan, env=env)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table todo as select 2 as n")
    holders: list[str] = []

    def approve(diff: RunResult) -> bool:
        holders.append(api.run_holder(plan, env=env))
        return True

    assert api.apply(plan, env=env, resume=True, approve=approve).ok
    assert f"run {failed.run}" in holders[0]


def test_status_of_a_resumed_run_forgets_what_the_attempt_before_failed(make: Make, env: dict[str, str]) -> None:
    plan = make(SECOND_FAILS)
    api.apply(plan, env=env)
    seen: list[dict[str, str]] = []

    def look(event: Event) -> None:
        if isinstance(event, StepPlanned) and event.planned.path == "b":
            (run,) = api.history(plan, env=env)
            seen.append({path: record["state"] for path, record in run.outcomes.items()})

    api.apply(plan, env=env, resume=True, on_event=look)
    assert seen == [{"a": "ok"}]


SOME_FAIL = """
  - {id: find, uses: find_tables, with: {prefix: part_}}
  - {id: fill, for_each: find.tables, jobs: 2, uses: sql,
     with: {text: "insert into {{ t|ident }} values (1)", values: {t: "${item.name}"}}}
"""


def test_keep_going_does_the_others_and_resume_only_the_rest(make: Make, env: dict[str, str], db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(
            "create table part_a (n int); create table part_b (n int check (n > 1)); create table part_c (n int)"
        )
    plan = make(SOME_FAIL)
    result = api.apply(plan, env=env, keep_going=True)
    assert (result.state, result.exit_code) == ("failed", 3)
    assert "1 of 3 failed" in result["fill"].message and "part_b" in result["fill"].message
    assert rows(db, "select n from part_a union all select n from part_c") == [1, 1]
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("alter table part_b drop constraint part_b_n_check")
    assert api.apply(plan, env=env, resume=True).ok
    assert rows(db, "select n from part_a union all select n from part_b union all select n from part_c") == [1, 1, 1]


def test_a_pooler_in_transaction_mode_is_refused_by_the_diff_already(make: Make, env: dict[str, str], db: str) -> None:
    with PoolProxy(db) as pool:
        env["DATABASE_URL"] = f"host=127.0.0.1 port={pool.port} user=postgres dbname=x"
        plan = make('\n  - {id: a, uses: sql, with: {text: "create table t (n int)"}}\n')
        with pytest.raises(TargetError, match="pooler in transaction mode"):
            api.diff(plan, env=env)
