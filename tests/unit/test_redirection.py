"""A plan that is led elsewhere: neither planrun nor a command of the plan meets the database that the plan names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from runner import api
from runner.errors import RefusedError
from runner.model import Plan
from runner.run.redirection import Redirection, redirect

CANARY = """
import json, os, psycopg
met = {}
for name, given in {"default": "", **{k: v for k, v in os.environ.items() if "://" in v}}.items():
    try:
        with psycopg.connect(given) as conn:
            met[name] = conn.info.dbname
    except psycopg.Error as exc:
        met[name] = type(exc).__name__
print(json.dumps({"met": met, "env": dict(os.environ)}))
"""
NAMES = [
    "DATABASE_URL",
    "DIRECT_URL",
    "PGHOST",
    "PGSERVICE",
    "PGPASSFILE",
    "PLANRUN_SOURCE_URL",
    "DB_NAME",
    "DB_HOST",
    "MODE",
]


def words_of(db: str) -> dict[str, str]:
    return {word: str(value) for word, value in psycopg.conninfo.conninfo_to_dict(db).items()}


def load(folder: Path, text: str, env: Mapping[str, str], **more: object) -> Plan:
    file = folder / "p.yml"
    file.write_text(f"name: p\n{text}")
    return api.load_plan(file, env=env, **more)  # type: ignore[arg-type]


def run_canary(
    folder: Path, head: str, env: Mapping[str, str], to: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return what a command saw and met whose plan is led to other databases."""
    step = json.dumps({"argv": [sys.executable, "-c", CANARY], "env": NAMES})
    plan = load(folder, f"{head}steps:\n  - {{id: canary, uses: command, with: {step}}}\n", env)
    led = redirect(plan, env, to)
    result = api.apply(led.plan, env=led.env)
    assert result.exit_code == 0, result.error
    said: dict[str, dict[str, str]] = json.loads(str(result.steps[0].outputs["output"]).splitlines()[-1])
    return said


def test_a_command_meets_the_other_database_only(new_db: Callable[[], str], tmp_path: Path) -> None:
    target, scratch = words_of(new_db()), words_of(new_db())
    url = f"postgresql://{target['user']}@/{target['dbname']}?host={target['host']}&port={target['port']}"
    env = {
        **{"PATH": os.environ["PATH"], "PLANRUN_STATE_DIR": str(tmp_path / "state"), "DB_NAME": target["dbname"]},
        **{"DATABASE_URL": url, "DIRECT_URL": f"{url}&schema=public", "PGDATABASE": target["dbname"]},
        **{"PGSERVICE": "prod", "PGPASSFILE": "/home/me/.pgpass", "DB_HOST": "db1", "MODE": "keep"},
    }
    said = run_canary(tmp_path, "", env, {"": scratch})
    assert said["met"].pop("DIRECT_URL") == "ProgrammingError"  # libpq knows no word `schema`, which an ORM reads
    assert set(said["met"].values()) == {scratch["dbname"]} and len(said["met"]) == 2
    assert target["dbname"] not in json.dumps(said) and "prod" not in said["env"].values()
    assert said["env"]["DIRECT_URL"].endswith("&schema=public") and scratch["dbname"] in said["env"]["DIRECT_URL"]
    assert (said["env"]["DB_NAME"], said["env"]["DB_HOST"]) == (scratch["dbname"], scratch["host"])
    assert said["env"]["MODE"] == "keep" and "PGSERVICE" not in said["env"]


def test_each_connection_has_its_own(new_db: Callable[[], str], tmp_path: Path) -> None:
    source, target, one, two = (words_of(new_db()) for _ in range(4))
    env = {
        **{"PATH": os.environ["PATH"], "PLANRUN_STATE_DIR": str(tmp_path / "state")},
        "PLANRUN_SOURCE_URL": f"postgresql://{source['user']}@/{source['dbname']}?host={source['host']}&port={source['port']}",
    }
    head = f"connections: {{source: {{service: staging}}, target: {json.dumps(target)}}}\n"
    said = run_canary(tmp_path, head, env, {"source": one, "target": two})
    assert said["met"] == {
        "default": two["dbname"], "DATABASE_URL": two["dbname"], "PLANRUN_SOURCE_URL": one["dbname"]
    }  # fmt: skip


def test_the_variables_of_the_process_lead_nowhere(
    new_db: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq reads those of the process: no service and no address of theirs may enter a connection that leads away."""
    scratch = words_of(new_db())
    (tmp_path / "services").write_text("[prod]\nhostaddr=192.0.2.1\npassword=secret\nsslmode=require\n")
    for name, value in {"PGSERVICE": "prod", "PGHOSTADDR": "192.0.2.1", "PGSSLMODE": "verify-full"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    led = redirect(
        load(tmp_path, "steps: [{id: a, uses: sql, with: {text: create table t ()}}]\n", {}), os.environ, {"": scratch}
    )
    assert api.apply(led.plan, env=led.env).exit_code == 0
    monkeypatch.undo()
    with psycopg.connect(psycopg.conninfo.make_conninfo("", **scratch)) as conn:
        assert conn.execute("select count(*) from t").fetchone() == (0,)


def led_by(text: str, tmp_path: Path, env: Mapping[str, str], **more: object) -> Redirection:
    return redirect(
        load(tmp_path, text, env, **more), env, {"": {"host": "/tmp/x", "port": "5432", "user": "u", "dbname": "d"}}
    )


def test_values_of_the_plan_lead_elsewhere_too(tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgresql://app:pw@db1/prod", "PGSERVICE": "prod"}
    text = (
        "params: {url: {type: string}, also: {type: array, default: [a, 'postgres+psycopg2://app@db1/prod']}}\n"
        "steps: [{id: a, uses: command, "
        "with: {argv: [x, '${env.DATABASE_URL}', '${env.PGSERVICE}', '${params.url}']}}]\n"
    )
    led = led_by(text, tmp_path, env, set={"url": "postgresql://app:pw@db1/prod"})
    new = "u@/d?host=%2Ftmp%2Fx&port=5432"
    assert led.plan.env == {"DATABASE_URL": f"postgresql://{new}", "PGSERVICE": ""}
    assert led.plan.params == {"url": f"postgresql://{new}", "also": ["a", f"postgres+psycopg2://{new}"]}
    assert (led.replaced, led.removed) == (("DATABASE_URL",), ("PGSERVICE",))
    led.refuse_elsewhere(["x", f"postgresql://{new}"])


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["x", "postgresql://app:pw@db1/prod"], "postgresql://db1/prod"),
        (["psql", "-h", "db1"], "-h db1"),
        (["pg_dump", "--host=db1"], "--host=db1"),
        (["sh", "-c", "psql 'service=prod' -c x"], "service=prod"),
    ],
)
def test_arguments_with_an_address_are_refused(argv: list[str], found: str, tmp_path: Path) -> None:
    led = led_by("steps: [{id: a, uses: sql, with: {text: select 1}}]\n", tmp_path, {})
    with pytest.raises(RefusedError) as told:
        led.refuse_elsewhere(argv)
    assert told.value.message.endswith(f": {found}") and told.value.code == "PR1001"


def test_ordinary_arguments_are_not(tmp_path: Path) -> None:
    led = led_by("steps: [{id: a, uses: sql, with: {text: select 1}}]\n", tmp_path, {})
    led.refuse_elsewhere(["npx", "drizzle-kit", "push", "--force"])
    led.refuse_elsewhere(["psql", "-c", "select 1", "-f", "a.sql"])
    led.refuse_elsewhere(["curl", "-h", "x"])
