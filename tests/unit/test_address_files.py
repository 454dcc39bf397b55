"""Addresses in files: what a `.env` file sets, and what in other files leads to the database itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.database.database_line import Place
from runner.errors import RefusedError
from runner.run import address_files

REMOTE = Place("shop", "db1.example.com", "5432", "app")
OTHER = Place("shop", "db2.example.com", "5432", "app")
SOCKET = Place("shop", "/var/run/postgresql", "5432", "app")


def refused(folder: Path, name: str, text: str, place: Place, *argv: str) -> str:
    """Return why a file is a reason not to run, "" when it is none."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    try:
        address_files.refuse(folder, ("tool", *argv), place, folder / "plans")
    except RefusedError as exc:
        return exc.message.removeprefix(f"{folder}/")
    finally:
        (folder / name).unlink()
    return ""


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("alembic.ini", "\nsqlalchemy.url = postgresql+psycopg://u:p@db1.example.com/shop\n", REMOTE),
        ("drizzle.config.ts", "\nurl: `postgres://u:p@db1.example.com:5432/shop?sslmode=require`\n", REMOTE),
        ("config/knex.js", "\nhost: 'db1.example.com',\n", REMOTE),
        ("config/database.yml", "\nurl: postgres://u:p@db1.example.com/shop\n", REMOTE),
        ("a.toml", "\nurl = 'postgresql://localhost/shop'\n", SOCKET),
        ("a.toml", "\nurl = 'postgresql:///shop'\n", SOCKET),
    ],
)
def test_the_address_of_the_database_is_refused(name: str, text: str, place: Place, tmp_path: Path) -> None:
    found = refused(tmp_path, name, text, place)
    assert found.startswith(f"{name}:2 names the address of the database itself: ") and "u:p" not in found


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("alembic.ini", "sqlalchemy.url = driver://user:pass@localhost/dbname", REMOTE),
        ("alembic.ini", "sqlalchemy.url = postgresql://u:p@localhost/shop", REMOTE),
        ("drizzle.config.ts", "url: 'postgres://u:p@db1.example.com/other'", OTHER),
        ("drizzle.config.ts", "url: process.env.DATABASE_URL", REMOTE),
        ("deploy.yml", "host: db1.example.com", REMOTE),
        ("README.md", "postgres://u:p@db1.example.com/shop", REMOTE),
        ("node_modules/x/a.js", "postgres://u:p@db1.example.com/shop", REMOTE),
        ("plans/prod.yml", "url: postgres://u:p@db1.example.com/shop", REMOTE),
        ("a.toml", "url = 'postgresql://localhost:5433/shop'", SOCKET),
    ],
)
def test_other_texts_are_not(name: str, text: str, place: Place, tmp_path: Path) -> None:
    assert refused(tmp_path, name, text, place) == ""


def test_a_file_that_the_arguments_name_is_examined(tmp_path: Path) -> None:
    text = "postgres://u:p@db1.example.com/shop"
    inner = tmp_path / "app"
    inner.mkdir()
    for word in ("../db.ini", "--config=../db.ini"):
        (tmp_path / "db.ini").write_text(text)
        with pytest.raises(RefusedError, match="names the address"):
            address_files.refuse(inner, ("tool", word), REMOTE, tmp_path / "plans")


def test_what_env_files_set_is_covered(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# x\nexport A='1 2'\nB=\"two\"\nC=three # no\n\nPGPASSWORD=p\n")
    (tmp_path / ".env.local").write_text("D: 4\n")
    files = address_files.variables(tmp_path)
    assert files == {"A": "1 2", "B": "two", "C": "three", "D": "4", "PGPASSWORD": "p"}
    led = {"A": "1 2", "B": "led elsewhere", "D": "4"}
    assert address_files.cover(led, {"B": "led elsewhere"}, files) == {"C": "", "PGPASSWORD": ""}
