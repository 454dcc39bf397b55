"""By what each step that takes something away is protected: plans as a user writes them, and the verdict on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import PlanError
from runner.planfile import open_plan, prove, templates_of
from runner.protection.verdicts import StepVerdict, verdicts
from runner.safesql.destruction import sql_effects

SAVE = "{id: save, uses: pg_dump, with: {to: ./b}}"
FIND = "{id: detect, uses: find_tables, with: {prefix: _cdc_, allow_empty: true}}"
WIPE = "drop table orders"
LOAD = "{id: load, uses: shadow_load, with: {from: source}}"
SYNC = "{id: sync, uses: shadow_sync, with: {tables: [users]}}"
CHECK = "{id: check, uses: shadow_verify}"
TWO = "connections: {source: {dbname: a}, target: {dbname: b}}\n"
BACKUP = "backup: {path: ./b}\n"


def judge(text: str, folder: Path) -> list[StepVerdict]:
    (folder / "p.yml").write_text(text)
    plan = open_plan(folder / "p.yml", env={}, offline=True)
    templates = templates_of(plan.root)
    return list(verdicts(plan, lambda given: sql_effects(given, templates)))


def steps(*lines: str, head: str = "") -> str:
    return head + "steps:\n" + "".join(f"  - {line}\n" for line in lines)


def save(more: str = "", id_: str = "save", values: str = "to: ./b") -> str:
    return f"{{id: {id_}, uses: pg_dump{more}, with: {{{values}}}}}"


def sql(id_: str, text: str = "select 1", more: str = "", values: str = "") -> str:
    return f"{{id: {id_}, uses: sql{more}, with: {{text: '{text}'{values}}}}}"


def wipe(when: str = "", text: str = WIPE, more: str = "", values: str = "") -> str:
    return sql("wipe", text, (f", when: '{when}'" if when else "") + more, values)


def group(id_: str, *lines: str, more: str = "") -> str:
    return f"{{id: {id_}{more}, steps: [{', '.join(lines)}]}}"


WARN = ", on_error: warn"
OK, FREE, AROUND, UNSAVED, FORBIDDEN, KNOWN = (
    "protected", "unprotected", "around", "unsaved", "forbidden", "acknowledged",
)  # fmt: skip

PLANS = {
    # -------------------------------------------------- what is asked for at all
    "a plan without a backup may drop": (steps(wipe()), FREE, "nothing in the plan protects it"),
    "a backup of another database protects nothing here": (
        steps(save(values="to: ./b, connection: source"), wipe(), head=TWO), FREE, "",
    ),
    "the default connection is target": (
        steps(save(values="to: ./b, connection: target"), wipe(), head=TWO), OK, "wipe <- save.ok",
    ),
    "a drop before the backup": (steps(wipe(), SAVE), AROUND, "save comes only later"),
    # -------------------------------------------------- guards
    "the default guard": (steps(SAVE, wipe()), OK, "wipe <- save.ok"),
    "the default guard after a step between": (steps(SAVE, sql("other"), wipe()), OK, "wipe <- save.ok"),
    "save.ok": (steps(SAVE, wipe("save.ok")), OK, "wipe <- save.ok"),
    "save.ok and more": (steps(FIND, SAVE, wipe("detect.count > 3 and save.ok")), OK, "wipe <- save.ok"),
    "a guard that does not ask": (steps(SAVE, sql("other", more=", when: true"), wipe("other.ok")), AROUND,
        "runs although save failed"),
    "or": (steps(SAVE, sql("other", more=", when: true"), wipe("save.ok or other.ok")), AROUND, "save failed"),
    "or of two that both need it": (
        steps(SAVE, sql("a", more=", when: save.ok"), sql("b", more=", when: save.ok"), wipe("a.ok or b.ok")), OK, "",
    ),
    "not failed is not ok": (
        steps(FIND, save(", when: detect.count > 0"), wipe("not save.failed")), AROUND,
        "save was skipped because detect.count is 0",
    ),
    "not failed, where it cannot be skipped": (steps(save(), wipe("not save.failed")), OK, "wipe <- save.ok"),
    "neither failed, warned nor skipped": (
        steps(FIND, save(", when: detect.ok" + WARN), wipe("not (save.failed or save.warned or save.skipped)")), OK, "",
    ),
    "the state by word": (steps(SAVE, wipe('save.state == "ok"')), OK, "wipe <- save.ok"),
    "the state by a list of words": (
        steps(save(WARN), wipe('save.state in ["ok", "warned"]')), AROUND, "save failed, which only warns",
    ),
    "the state by what it is not": (steps(save(WARN), wipe('save.state != "warned"')), OK, ""),
    "the state that is not ok": (steps(SAVE, wipe('save.state != "ok"')), AROUND, "save failed"),
    "a word of no state": (steps(SAVE, wipe('save.state == "done"')), OK, ""),
    "an output that only a success has": (steps(SAVE, wipe("save.rows > 0")), OK, "wipe <- save.ok"),
    "an output that is not equal to a number": (steps(SAVE, wipe("save.rows != 0")), AROUND, "save failed"),
    "an output by its absence": (steps(SAVE, wipe("save.session == none")), AROUND, "save failed"),
    "the brief's own: a skipped backup": (
        steps(FIND, "{id: ask, when: detect.count > 0, uses: confirm, with: {message: go}}",
              save(", when: 'detect.ok and (ask.ok or detect.count == 0)'"), wipe("save.ok")), OK, "",
    ),
    "nothing to save is not saved": (
        steps(FIND, save(", when: detect.count > 0"), wipe("save.ok or detect.count == 0")), AROUND,
        "save was skipped because detect.count is 0",
    ),
    "two guards about one number": (
        steps(FIND, save(", when: detect.count > 0"), wipe("detect.count > 0 and not save.failed")), OK, "",
    ),
    "two guards about two numbers": (
        steps(FIND, save(", when: detect.count > 1"), wipe("detect.count > 0 and not save.failed")), AROUND,
        "detect.count is 1",
    ),
    "a chain between two numbers": (steps(FIND, SAVE, wipe("0 < detect.count < 5")), AROUND, "save failed"),
    "a number from the right": (
        steps(FIND, save(", when: 0 < detect.count"), wipe("0 < detect.count and not save.failed")), OK, "",
    ),
    "a constant guard": (steps(SAVE, wipe("false")), OK, ""),
    "a guard that is always true": (steps(SAVE, wipe("true")), AROUND, "save failed"),
    "after a failure": (steps(SAVE, wipe("save.failed")), AROUND, "save failed"),
    # -------------------------------------------------- params
    "a param that is off": (
        steps(save(), wipe("params.force or save.ok"), head="params: {force: {type: boolean, default: false}}\n"),
        OK, "",
    ),
    "a param that is on": (
        steps(save(), wipe("params.force or save.ok"), head="params: {force: {type: boolean, default: true}}\n"),
        AROUND, "save failed",
    ),
    "a param that only the run knows": (
        steps(save(), wipe("params.force or save.ok"), head="params: {force: {type: boolean}}\n"), AROUND, "",
    ),
    # -------------------------------------------------- warned steps
    "a backup that only warns": (steps(save(WARN), wipe()), AROUND, "save failed, which only warns (on_error: warn)"),
    "a backup that only warns, and is asked": (steps(save(WARN), wipe("save.ok")), OK, "wipe <- save.ok"),
    "another step that warns": (steps(SAVE, sql("other", more=WARN), wipe()), OK, "wipe <- save.ok"),
    "a proof that only warns": (
        steps(SAVE, "{id: prove, uses: verify_backup, on_error: warn, with: {session: '${steps.save.session}'}}",
              wipe()), OK, "wipe <- save.ok",
    ),
    "retries end like one attempt": (steps(save(", retry: {attempts: 3}"), wipe()), OK, "wipe <- save.ok"),
    # -------------------------------------------------- chains
    "a proof between": (
        steps(SAVE, "{id: prove, when: save.ok, uses: verify_backup, with: {session: '${steps.save.session}'}}",
              wipe("prove.ok")), OK, "wipe <- prove.ok <- save.ok",
    ),
    "a chain with a hole": (
        steps(SAVE, sql("a", more=", when: true"), sql("b", more=", when: a.ok"), wipe("b.ok")), AROUND, "save failed",
    ),
    "skipped is not ok, further on": (
        steps(FIND, save(", when: detect.count > 0"), sql("other", more=", when: save.ok or save.skipped"),
              wipe("other.ok")), AROUND, "save was skipped because detect.count is 0",
    ),
    # -------------------------------------------------- groups
    "a group": (steps(group("prepare", SAVE, sql("other")), wipe("prepare.ok")), OK, "wipe <- prepare.ok <- save.ok"),
    "a group by default": (steps(group("prepare", SAVE), wipe()), OK, "wipe <- prepare.ok <- save.ok"),
    "a group whose backup is skipped": (
        steps(FIND, group("prepare", sql("other"), save(", when: detect.count > 0")), wipe("prepare.ok")), AROUND,
        "prepare.save was skipped because detect.count is 0",
    ),
    "a group that only warns": (steps(group("prepare", SAVE, more=WARN), wipe()), AROUND, "prepare.save failed"),
    "a warned step in a group": (
        steps(group("prepare", save(WARN), sql("other")), wipe()), AROUND, "prepare.save failed",
    ),
    "a warned step makes the group warned": (
        steps(group("prepare", save(WARN), sql("other")), wipe("prepare.ok")), OK, "",
    ),
    "a group in a group": (
        steps(group("a", group("b", SAVE)), wipe("a.ok")), OK, "wipe <- a.ok <- save.ok",
    ),
    "a drop in a group": (steps(SAVE, group("g", wipe(), more=", when: save.ok")), OK, "g.wipe <- save.ok"),
    "a drop in a group that asks the outside": (
        steps(SAVE, group("g", wipe("save.ok"), more=", when: true")), OK, "g.wipe <- save.ok",
    ),
    "a drop in a group by default": (
        steps(SAVE, group("g", wipe(), more=", when: true")), AROUND, "save failed",
    ),
    "a skipped group": (
        steps(FIND, group("prepare", SAVE, more=", when: detect.count > 0"), wipe("not prepare.failed")), AROUND,
        "prepare was skipped because detect.count is 0",
    ),
    # -------------------------------------------------- for_each
    "for_each over nothing": (
        steps(FIND, save(", for_each: detect.tables", values="to: ./b, tables: ['${item.name}']"), wipe("save.ok")),
        AROUND, "the list of its for_each was empty",
    ),
    "for_each over something": (
        steps(FIND, save(", for_each: detect.tables", values="to: ./b, tables: ['${item.name}']"),
              wipe("save.ok and save.count > 0")), OK, "wipe <- save.ok",
    ),
    "for_each over the same list": (
        steps(FIND, save(", for_each: detect.tables", values="to: ./b, tables: ['${item.name}']"),
              wipe("save.ok", more=", for_each: detect.tables")), OK, "wipe <- save.ok",
    ),
    "for_each over the same list, around a group": (
        steps(FIND, save(", for_each: detect.tables", values="to: ./b, tables: ['${item.name}']"),
              group("every", wipe(), more=", for_each: detect.tables")), OK, "every.wipe <- save.ok",
    ),
    "for_each over another list": (
        steps(FIND, FIND.replace("detect", "again"),
              save(", for_each: detect.tables", values="to: ./b, tables: ['${item.name}']"),
              wipe("save.ok", more=", for_each: again.tables")), AROUND, "was empty",
    ),
    "for_each over a list of the plan": (
        steps(save(", for_each: [a, b]", values="to: './b/${item}'"), wipe("save.ok")), OK, "wipe <- save.ok",
    ),
    "a group for each": (
        steps(FIND, group("every", SAVE, more=", for_each: detect.tables"), wipe("every.ok")), AROUND,
        "the list of its for_each was empty",
    ),
    "a group for each, that had something to do": (
        steps(FIND, group("every", SAVE, more=", for_each: detect.tables"), wipe("every.ok and every.count > 0")), OK,
        "wipe <- every.ok <- save.ok",
    ),
    "rounds that failed are counted as well": (
        steps(FIND, group("every", SAVE, more=", for_each: detect.tables"), wipe("every.count > 0")), AROUND,
        "every.save failed",
    ),
    "a resume of rounds": (
        steps(FIND, group("every", SAVE, more=", for_each: detect.tables"),
              wipe("every.count > 0 and not every.failed and not every.skipped and not every.warned")), "unproved",
        "planrun does not examine how a resume continues the rounds of a group with for_each",
    ),
    "save and drop in each round": (
        steps(FIND, group("every", SAVE, wipe("save.ok"), more=", for_each: detect.tables")),
        OK, "every.wipe <- save.ok",
    ),
    "a backup of the round before is none": (
        steps(FIND, group("every", save(", when: item.empty"), wipe("not save.failed"),
        more=", for_each: detect.tables")),
        AROUND, "every.save was skipped",
    ),
    "a drop for each": (steps(FIND, SAVE, wipe(more=", for_each: detect.tables")), OK, "wipe <- save.ok"),
    # -------------------------------------------------- templates
    "the backup template": (
        steps("{id: save, uses: backup}", wipe("save.ok"), head=BACKUP), OK, "wipe <- save.ok <- dump.ok",
    ),
    "the backup template, switched off": (
        steps("{id: save, uses: backup}", wipe("not save.failed"), head="backup: {path: ./b, enabled: false}\n"),
        AROUND,
        "save.dump was skipped because find.ok is false",
    ),
    "the backup template, perhaps switched off": (
        steps("{id: save, uses: backup}", wipe("save.ok"),
              head="params: {on: {type: boolean}}\nbackup: {path: ./b, enabled: '${params.on}'}\n"), OK, "",
    ),
    "the output of a template": (
        steps("{id: save, uses: backup}", wipe("save.count > 0"), head=BACKUP), AROUND, "save.dump",
    ),
    # -------------------------------------------------- tables by name
    "the table is in the backup": (
        steps(save(values="to: ./b, tables: [orders]"), wipe()), OK, "wipe <- save.ok",
    ),
    "the table is not in the backup": (
        steps(save(values="to: ./b, tables: [customers]"), wipe()), UNSAVED, "no backup of the plan contains it",
    ),
    "one of two tables is not": (
        steps(save(values="to: ./b, tables: [orders]"), wipe(text="drop table orders, customers")), UNSAVED,
        "drop table customers",
    ),
    "each table in a backup of its own": (
        steps(save(values="to: ./b, tables: [orders]"), save("", "more", "to: ./b, tables: [lines]"),
              wipe(text="drop table orders, lines")), OK, "wipe <- save.ok, more.ok",
    ),
    "two steps on one table": (
        steps(save(values="to: ./b, tables: [orders]"), sql("empty", "truncate orders", WARN),
              wipe("empty.ok or empty.warned")), OK, "wipe <- empty.ok <- save.ok",
    ),
    "a table of the same name elsewhere": (
        steps(save(values="to: ./b, tables: [old.orders]"), wipe(text="drop table new.orders")), UNSAVED, "",
    ),
    "a table that the plan made": (
        steps(save(values="to: ./b, tables: [orders]"), sql("make", "create table tmp (a int)"),
              wipe(text="drop table tmp")), FREE, "",
    ),
    "a table that was perhaps there": (
        steps(save(values="to: ./b, tables: [orders]"), sql("make", "create table if not exists tmp (a int)"),
              wipe(text="drop table tmp")), UNSAVED, "",
    ),
    # -------------------------------------------------- other kinds
    "a swap after prepare": (
        steps(group("prepare", LOAD, SYNC, CHECK), "{id: wipe, when: prepare.ok, uses: swap_tables}", head=TWO), OK,
        "wipe <- prepare.ok <- load.ok, sync.ok, check.ok",
    ),
    "a swap that does not wait for the proof": (
        steps(LOAD, CHECK, "{id: wipe, when: load.ok, uses: swap_tables}", head=TWO), AROUND, "check failed",
    ),
    "a proof that only warns before a swap": (
        steps(LOAD, CHECK.replace("}", WARN + "}"), "{id: wipe, uses: swap_tables}", head=TWO), AROUND, "check failed",
    ),
    "the old set goes before the new tables are there": (
        steps("{id: wipe, uses: drop_backup_set}", LOAD, CHECK, head=TWO), AROUND, "load comes only later",
    ),
    "a set that is named": (
        steps("{id: wipe, uses: drop_backup_set, with: {set: abc}}", LOAD, head=TWO), None, "",
    ),
    "retention after a backup that failed": (
        steps(SAVE, "{id: wipe, when: not save.skipped, uses: retention, with: {path: ./b, keep_last: 3}}"), AROUND,
        "save failed",
    ),
    "retention of another folder": (
        steps(SAVE, "{id: wipe, when: true, uses: retention, with: {path: ./c, keep_last: 3}}"), FREE, "",
    ),
    "retention that keeps all": (steps(SAVE, "{id: wipe, when: true, uses: retention, with: {path: ./b}}"), None, ""),
    "a restore that replaces": (
        steps(SAVE, "{id: wipe, when: true, uses: pg_restore, with: {from: ./b, replace: true}}"),
        AROUND, "save failed",
    ),
    "a restore beside": (
        steps(SAVE, "{id: wipe, when: true, uses: pg_restore, with: {from: ./b, as_schema: x}}"), None, "",
    ),
    "a program": (steps(SAVE, "{id: wipe, when: true, uses: command, with: {argv: [migrate]}}"), None, ""),
    "a program that is marked": (
        steps(SAVE, "{id: wipe, when: true, uses: command, with: {argv: [migrate], destructive: true}}"), AROUND,
        "migrate, which is marked `destructive`",
    ),
    # -------------------------------------------------- opaque SQL, acknowledged
    "a DO block": (steps(SAVE, wipe("true", text="do $$ begin end $$")), AROUND, "a DO block"),
    "a DO block after the backup": (steps(SAVE, wipe(text="call clean()")), OK, "wipe <- save.ok"),
    "a DO block that is acknowledged": (
        steps(SAVE, wipe("true", text="call clean()", more=", acknowledge: it only counts")), KNOWN, "it only counts",
    ),
    "a drop that is acknowledged": (
        steps(save(values="to: ./b, tables: [x]"), wipe(more=", acknowledge: an import table")), KNOWN, "",
    ),
    "a name that only the run knows": (
        steps(save(values="to: ./b, tables: [x]"), FIND,
              wipe(text="drop table {{ t|ident }}", values=", values: {t: '${steps.detect.count}'}")), OK, "any backup",
    ),
    "a branch that only the run knows": (
        steps(SAVE, FIND, wipe("true", text="{% if n == 7 %}drop table x;{% endif %} select 1",
                               values=", values: {n: '${steps.detect.count}'}")), AROUND, "",
    ),
    # -------------------------------------------------- protected:
    "a table of protected": (steps(SAVE, wipe(), head="protected: [orders]\n"), FORBIDDEN, "one of the tables"),
    "not even acknowledged": (
        steps(wipe(more=", acknowledge: yes it is"), head="protected: [public.orders]\n"), FORBIDDEN, "",
    ),
    "another table than protected": (steps(wipe(text="truncate lines"), head="protected: [orders]\n"), FREE, ""),
    "the schema of protected": (
        steps(wipe(text="drop schema app cascade"), head="protected: [app.orders]\n"), FORBIDDEN, "drop schema app",
    ),
    "opaque SQL beside protected": (
        steps(wipe(text="call x()"), head="protected: [orders]\n"), FORBIDDEN, "may affect",
    ),
    "opaque SQL beside protected, acknowledged": (
        steps(wipe(text="call x()", more=", acknowledge: no rows"), head="protected: [orders]\n"), KNOWN, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_verdict(name: str, tmp_path: Path) -> None:
    text, verdict, part = PLANS[name]
    found = [one for one in judge(text, tmp_path) if one.path.rpartition(".")[2] == "wipe"]
    assert [one.verdict.value for one in found] == [verdict] * (verdict is not None), found
    for one in found:
        assert part in one.chain
        assert (one.problem is None) == (verdict in (OK, FREE, KNOWN))


def test_a_resume_finds_what_one_run_cannot(tmp_path: Path) -> None:
    """`first` ran because `other` had failed; in the resume `other` is ok, and `first` stays done."""
    text = steps(
        sql("other"), sql("first", more=", when: other.failed"), save(", when: other.failed"),
        wipe("first.ok and other.ok"),
    )  # fmt: skip
    found = judge(text, tmp_path)
    assert found[0].verdict == AROUND
    assert found[0].chain.endswith(
        "wipe runs although save was skipped because other.failed is false, in a resumed run"
    )


def test_the_problem_is_at_the_guard_and_says_what_to_write(tmp_path: Path) -> None:
    text = steps(FIND, save(", when: detect.count > 0"), wipe("detect.ok"))
    (tmp_path / "p.yml").write_text(text)
    with pytest.raises(PlanError) as caught:
        prove(open_plan(tmp_path / "p.yml", env={}, offline=True))
    problem = caught.value.problems[0]
    assert (problem.code, problem.where.line) == ("PR0210", 4)
    assert text.splitlines()[3][problem.where.column - 1 :].startswith("'detect.ok'") or problem.where.column > 1
    assert problem.hint.startswith("add `save.ok` to the `when:`; or")


def test_too_many_outcomes_are_said_to_be_too_many(tmp_path: Path) -> None:
    """Twenty free numbers that all matter at the end; nothing here is an error of the plan's author but the size."""
    finds = [FIND.replace("detect", f"f{n}") for n in range(20)]
    every = " and ".join(f"f{n}.count != 3" for n in range(20))
    late = f"({every}) and not save.failed"
    found = judge(steps(*finds, save(f", when: '{every}'"), wipe(late)), tmp_path)
    assert found[0].verdict == "unproved" and found[0].problem and found[0].problem.code == "PR0212"


def test_a_rollback_has_a_proof_of_its_own(tmp_path: Path) -> None:
    text = steps(SAVE, sql("x")) + "rollback:\n  - " + wipe() + "\n"
    assert [(one.verdict.value, one.of_rollback) for one in judge(text, tmp_path)] == [(FREE, True)]


def test_a_long_plan_is_proved_in_time(tmp_path: Path) -> None:
    many = [sql(f"s{n}", f"drop table t{n}", f", when: '{f's{n - 1}' if n else 'save'}.ok'") for n in range(3000)]
    found = judge(steps(SAVE, *many), tmp_path)
    assert {one.verdict.value for one in found} == {OK} and len(found) == 3000
    assert found[-1].chain == "s2999 <- s2998.ok <- s2997.ok <- s2996.ok <- s2995.ok <- s2994.ok <- s2993.ok" + (
        " <- ... <- save.ok (any backup counts: the tables are known only during the run)"
    )
