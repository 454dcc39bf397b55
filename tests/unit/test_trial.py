"""What a command loses, found by its run in a scratch copy, and then by its run on the database itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import api
from runner.errors import PlanrunError
from runner.result import RunResult

APPLY = "import os, sys, psycopg; psycopg.connect(os.environ['DATABASE_URL'], autocommit=True).execute(sys.argv[1])"


@pytest.fixture
def shop(db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table users (id int primary key, email text, age numeric(5,2), note text)")
        conn.execute("insert into users select n, 'user' || n, n + 0.5, null from generate_series(1, 50) n")
        conn.execute("create table logs (line text, at int)")
        conn.execute("insert into logs select 'line ' || n % 5, n from generate_series(1, 20) n")
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", db)
    return db


def detect(folder: Path, sql: str, **given: Any) -> RunResult:
    (folder / "p.yml").write_text(
        json.dumps(
            {
                "name": "p",
                "steps": [
                    {
                        "id": "detect",
                        "uses": "find_tables",
                        "with": {"lost_by": [sys.executable, "-c", APPLY, sql], **given},
                    }
                ],
            }
        )
    )
    return api.apply(api.load_plan(folder / "p.yml"), confirm=lambda question: True)


def test_x(shop: str, tmp_path: Path) -> None:
    for sql in ["drop table users", "alter table users drop column email", "delete from users where id < 10; delete from logs where at = 3",
                "alter table users alter age type int", "update users set email = null", "truncate users",
                "alter table users rename to people; alter table people rename email to mail", "select 1", "alter table users alter id type bigint",
                "create table l2 as table logs; drop table logs; alter table l2 rename to logs",
                "drop table logs; create table logs (line text)",
                "create view v as table users; drop view v; create schema x",
                "update logs set line = 'x' where at = 5",
                ]:
        got = detect(tmp_path, sql)
        print(sql, "->", got.state, got.error, got.seconds)
        out = got.steps[0].outputs
        print("    ", out.get("losses"), out.get("renamed"), out.get("unseen"), out.get("seen"))
    for sql in ["delete from logs where at = 19", "delete from users where id = -1", "do $$ begin execute 'update users set id = id where false'; end $$"]:
        got = detect(tmp_path, sql, whole_up_to=0, sample=5)
        out = got.steps[0].outputs
        print(sql, "->", got.state, got.error, got.seconds)
        print("    ", out.get("losses"), out.get("renamed"), out.get("unseen"), out.get("seen"))
    assert 0
