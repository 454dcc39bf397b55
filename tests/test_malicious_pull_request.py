"""A pull request that tries everything: each command that a reviewer's job runs on its plans, and what is left then.

Nothing of a plan runs, no file is written, the database stays as it is, no secret is told, and text stays text.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from psycopg import sql

from tests import junit
from tests.catalogs import Catalog, Contents, catalog, contents, difference, differing_tables
from tests.commandline import Done, connect_to
from tests.made import RAW
from tests.refreshes import Pair
from tests.repositories import Repository
from tests.servers import Server

CANARY = "c4n4ry"
SECRET = f"{CANARY}-token-0123456789"
EVIL = (
    "x\n::error::faked\n##[error]faked\r::add-mask::a\x1b]0;owned\x07\x1b[2J\u202egnp\u2028"
    "<img src=http://evil.example/x><!-- planrun:other --> ![x](http://evil.example/y) @everybody | a | `b` ``` "
    "]]></failure> $(touch MARK) `touch MARK` {{ 7 * 7 }} $${{ github.token }} %0A::error::faked"
)
NAME = "::error::faked\n##[error]x <!-- planrun:other --> ![x](http://evil.example/y) @everybody | `b`"
BEFORE = """
create table orders (id int primary key, note text); insert into orders select n, 'row' from generate_series(1, 50) n;
create table "::error::faked
##[error]x" (id int); create sequence counter; create view seen as select id from orders;
create function writes() returns int language plpgsql stable as
  'begin delete from public.orders; perform nextval(''public.counter''); return 1; end';
analyze;
"""


def steps(*each: object, **more: object) -> str:
    return json.dumps({"name": "p", "steps": list(each), **more})


def step(uses: str, number: int = 0, **values: object) -> dict[str, Any]:
    return {"id": f"s{number}", "uses": uses, "with": values}


def sqls(*texts: str, uses: str = "sql", **more: object) -> str:
    return steps(*({**step(uses, number, text=text, **more), "when": "true"} for number, text in enumerate(texts)))


def templates(*texts: str) -> str:
    return sqls(*(f"select {{{{ a }}}} {text}" for text in texts), values={"a": "x"})


NESTED = "[" * 400 + "]" * 400
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP: dict[str, Any] = {"id": "x", "uses": "confirm", "with": {"message": "x"}}
for _level in range(300):
    DEEP = {"id": f"g{_level}", "steps": [DEEP]}

PLANS = {
    "programs": steps(
        step("command", 0, argv=["touch", "MARK"]),
        step("command", 1, argv=["sh", "-c", "touch MARK; echo $API_TOKEN"], env=["API_TOKEN", "DATABASE_URL"]),
        step("command", 2, argv=["$(touch MARK)"], cwd="../outside"),
        step("confirm", 3, message="$(touch MARK)", expect="`touch MARK`"),
        step("find_tables", 4, lost_by=["sh", "-c", "touch MARK; echo $API_TOKEN"], env=["API_TOKEN", "DATABASE_URL"]),
    ),
    "files": steps(
        *(
            step("write", number, text="x", to=to)
            for number, to in enumerate(("MARK", "../outside/new", "../../../x", "~/.ssh/authorized_keys", "plan.yml"))
        ),
        step("pg_dump", 10, to="../outside", tables=["orders"]),
        step("retention", 11, path="../outside", keep_last=1),
        step("verify_backup", 12, session="../outside", level=3),
        step("backup", 13),
        backup={"path": "../outside/backups", "tables": ["orders"], "retention_days": 1},
        journal="../outside/journal",
    ),
    "database": sqls(
        "drop table orders cascade",
        "explain analyze delete from orders",
        "delete from orders where id = public.writes()",
        "do $$ begin delete from public.orders; end $$",
        "select public.writes(), nextval('counter')",
        "set session characteristics as transaction read write",
        "create function f() returns int immutable language sql as 'delete from orders returning 1'; select f()",
    ),
    "refused SQL": sqls(
        "truncate orders; commit; drop table seen; begin", "select '${env.API_TOKEN}'",
        "copy orders to program 'touch MARK'",
    ),
    "queries": sqls(
        "select public.writes()", "select nextval('counter')",
        "select set_config('transaction_read_only', 'off', false)",
        "select count(*) from orders where id = public.writes()",
        uses="query",
    ),
    "refused queries": sqls(
        "select pg_read_file('OUT/secret.yml')", "select lo_export(1, 'MARK')", "copy orders to '/tmp/x'",
        "select 1; drop table orders", "select pg_terminate_backend(1)", "select note from orders for update",
        "with gone as (delete from orders returning id) select * from gone", uses="check",
    ),
    "a refresh": steps(
        step("shadow_load", 0, **{"from": "source", "schema": "public"}), step("swap_tables", 1),
        connections={"source": {}, "target": {}},
    ),
    "python": templates(
        "{{ a.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch MARK') }}",
        "{{ self._TemplateReference__context }}",
        "{{ ''|attr('__class__') }}",
        "{{ '%s'.format(a.__init__.__globals__) }}",
        "{% for i in range(10 ** 9) %}{% for j in range(10 ** 9) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 10 }}",
        "{% set x = namespace() %}{{ lipsum.__globals__ }}",
    ),
    "includes": templates(*(
        f"{{% include '{name}' %}}"
        for name in ("../../outside/secret.sql", "/etc/passwd", "link.sql", "OUT/secret.sql", "folder/secret.sql")
    )),
    "python in YAML": "!!python/object/apply:os.system ['touch MARK']\n",
    "python in values": "name: p\nsteps: [{id: a, uses: confirm, with: {message: !!python/name:os.system x}}]\n",
    "python in guards": steps({**step("confirm", message="x"), "when": "__import__('os').system('touch MARK')"}),
    "secrets": steps(
        step("confirm", 0, message="${env.API_TOKEN}"),
        {**step("query", 2, text="select {{ a }} as a", values={"a": "${env.API_TOKEN}"}), "when": "true"},
        {**step("check", 3, text="select {{ a }}::int", values={"a": "${env.API_TOKEN}"}), "when": "true"},
        {**step("check", 6, text="select {{ a }} as a", values={"a": "${env.API_TOKEN}"}), "when": "true"},
        {**step("sql", 1, text="select {{ a }}", values={"a": "${env.API_TOKEN}"}), "when": "true"},
        step("write", 4, text="${env.API_TOKEN}", to="${env.API_TOKEN}"),
        step("confirm", 5, message="${env.DATABASE_URL} ${env.SHORT_KEY}"),
    ),
    "secrets in other places": json.dumps({
        "name": "${env.API_TOKEN}", "description": "${env.API_TOKEN}",
        "params": {"p": {"type": "string", "default": "${env.API_TOKEN}", "description": "${env.API_TOKEN}"}},
        "connections": {"target": {"host": "${env.API_TOKEN}", "dbname": "${env.API_TOKEN}"}},
        "steps": [step("confirm", 0, message="${params.p} ${params.${env.API_TOKEN}}"), step("${env.API_TOKEN}", 1)],
    }),
    "a secret as an argument": steps(step("command", 0, argv=["echo", "${env.API_TOKEN}"])),
    "names": json.dumps({
        "name": NAME, "description": EVIL,
        "steps": [
            {**step("confirm", 0, message=EVIL, expect=EVIL), "description": EVIL},
            {**step("query", 1, text="select {{ a }} as a", values={"a": EVIL}), "when": "true"},
            {**step("check", 2, text="select {{ a }} as a", values={"a": EVIL}), "when": "true"},
            {**step("sql", 3, text="drop table \"::error::faked\n##[error]x\""), "when": "true"},
            {**step("command", 4, argv=[EVIL], cwd=EVIL), "when": "true"},
            {**step("write", 5, text=EVIL, to=EVIL), "when": "true"},
        ],
    }),
    "names in a diff that can be saved": json.dumps({
        "name": NAME,
        "steps": [
            step("confirm", 0, message=EVIL),
            step("sql", 1, text="drop table \"::error::faked\n##[error]x\""),
            step("query", 2, text="select {{ a }} as a", values={"a": EVIL}),
        ],
    }),
    "names that are refused": json.dumps({
        EVIL: EVIL, "name": [EVIL], "connections": {EVIL: {EVIL: EVIL}}, "params": {EVIL: {"type": EVIL}},
        "steps": [{"id": EVIL, "uses": EVIL, "when": EVIL, "with": {EVIL: EVIL}}, step("sql", 1, file=EVIL)],
    }),
    "a name that is a command": steps(step("confirm", 0, message="::error::faked"), name="::error::faked"),
    "a file that is not there": steps(extends=EVIL),
    "outside": steps(step("sql", 0, file="../../outside/secret.sql"), extends="../../outside/secret.yml"),
    "outside by links": steps(
        step("sql", 0, file="link.sql"), step("./link.yml", 1), step("write", 2, template="link.sql", to="x"),
        step("sql", 3, file="folder/secret.sql"),
    ),
    "the checkout's own credentials": steps(
        step("./.git/config", 0), step("sql", 1, file="../.git/config"), step("./sql/git.yml", 2),
        step("write", 3, template="../.git/config", to="x"), extends=".git/config",
    ),
    "an absolute path": steps(step("OUT/secret.yml", 0), step("sql", 1, file="OUT/secret.sql")),
    "a deep flow": f"name: {NESTED}\nsteps: {NESTED}\n",
    "a very deep flow": "steps: " + "[" * 100_000,
    "a bomb": f"{BOMB}name: *i\nsteps: *i\n",
    "deep steps": steps(DEEP),
    "a deep guard": steps({**step("confirm", 0, message="x"), "when": "(" * 5000 + "true" + ")" * 5000}),
    "another server": steps(
        step("query", 0, text="select 1"), connections={"target": {"host": "127.0.0.1", "port": 1}}
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def target(pg_server: Server) -> Iterator[str]:
    """A database that nothing may change; all plans are tried on it."""
    db = pg_server.create("t_malicious")
    with connect_to(db) as conn:
        conn.execute(BEFORE.encode())
    before = state_of(db)
    yield db
    after = state_of(db)
    pg_server.drop("t_malicious")
    assert (
        difference(before[0], after[0]) == "" and differing_tables(before[1], after[1]) == [] and before[2] == after[2]
    )


def state_of(db: str) -> tuple[Catalog, Contents, object]:
    with connect_to(db) as conn:
        (counter,) = conn.execute(sql.SQL("select (last_value, is_called)::text from counter"))
    return catalog(db, whole=True), contents(db), counter


@pytest.fixture
def pair(target: str, tmp_path: Path) -> Pair:
    repo, outside = tmp_path / "repo", tmp_path / "outside"
    for folder in (repo / ".git", repo / "sql", outside, tmp_path / "state", tmp_path / "home"):
        folder.mkdir(parents=True)
    (outside / "secret.yml").write_text(
        f"name: {CANARY}\nsteps: [{{id: a, uses: confirm, with: {{message: {CANARY}}}}}]\n"
    )
    (outside / "secret.sql").write_text(f"select '{CANARY}' -- {CANARY}\n")
    (repo / "link.yml").symlink_to(outside / "secret.yml")
    (repo / "sql" / "link.sql").symlink_to(outside / "secret.sql")
    (repo / "sql" / "folder").symlink_to(outside)
    (repo / "sql" / "git.yml").symlink_to("../.git/config")
    (repo / ".git" / "config").write_text(f"[http]\n\textraheader = AUTHORIZATION: basic {CANARY}\n")
    pair = Pair(repo, target, target, "")
    pair.env |= {
        "DATABASE_URL": target, "HOME": str(tmp_path / "home"), "API_TOKEN": SECRET, "SHORT_KEY": f"{CANARY}8",
        "PLANRUN_STATE_DIR": str(tmp_path / "state"),
    }  # fmt: skip
    del pair.env["PLANRUN_SOURCE_URL"], pair.env["PLANRUN_TARGET_URL"]
    return pair


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return mode, size and time of everything but the state of planrun."""
    found = {str(path): path.lstat() for path in folder.rglob("*") if "state" not in path.relative_to(folder).parts}
    return {name: (one.st_mode, one.st_size, one.st_mtime_ns) for name, one in found.items()}


def check(done: Done, words: tuple[str, ...]) -> None:
    """See that a command told no secret and that none of its text drives a terminal or the runner of a job."""
    assert done.code in (0, 1, 2, 4, 5), done.output
    assert CANARY not in done.output, done.output
    assert not RAW.search(done.output), repr(RAW.search(done.output))
    form = words[-1]
    if form == "github":
        for line in done.out.splitlines():
            assert re.match(r"::(error|warning|notice) (([a-z]+=[^,:]*,)*title=[^,:]*)::", line), line
    elif form == "markdown":
        check_page(done.out)
    elif form == "junit" and done.out:
        junit.cases(done.out)
    elif form in ("json", "sarif", "gitlab"):
        json.loads(done.out)


def check_page(page: str) -> None:
    """See that a renderer of Markdown makes of a page only what planrun means: no tag, link, picture or mention."""
    every = list(_flat(MarkdownIt("commonmark").enable("table").parse(page)))
    assert not {one.type for one in every} & {"link_open", "image"}
    tags = "".join(one.content for one in every if one.type in ("html_block", "html_inline"))
    tags = re.sub(r"<!-- (planrun:[\w.-]+ )?-->|</?(details|summary)>", "", tags.replace("<!-- planrun:other", "!"))
    assert "<" not in tags and ">" not in tags, tags
    assert not any("@everybody" in one.content for one in every if one.type in ("text", "html_block"))


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    for one in tokens:
        yield one
        yield from _flat(one.children or ())


OFFLINE = [*(("validate", "-o", form) for form in ("text", "json", "github", "gitlab", "sarif", "junit")),
           ("render",), ("render", "-o", "json"), ("graph",), ("fmt", "--check"), ("fmt", "--diff")]  # fmt: skip
SAVED = "../state/saved.plan"
ONLINE = [("diff", "-v"), *(("diff", "-o", form) for form in ("json", "github", "junit")),
          ("diff", "--out", SAVED, "-o", "markdown")]  # fmt: skip
SHOWN = [("show", "-v"), *(("show", "-o", form) for form in ("json", "markdown", "github", "junit"))]


@pytest.mark.parametrize("what", PLANS)
def test_looking_at_a_plan_does_nothing_else(what: str, pair: Pair, tmp_path: Path) -> None:
    mark, before = tmp_path / "MARK", contents(pair.target)
    pair.write(PLANS[what].replace("MARK", str(mark)).replace("OUT", str(tmp_path / "outside")))
    files = tree(tmp_path)
    for words in (*OFFLINE, *ONLINE):
        done = pair.here(words[0], "plan.yml", *words[1:])
        check(done, words)
        if words[-1] in ("text", "-v", "render", "graph"):
            assert not re.search(r"^(::|##\[)", done.output, re.MULTILINE), "a line that is only the plan's"
    if (tmp_path / "state" / "saved.plan").exists():
        for words in SHOWN:
            check(pair.here(words[0], SAVED, *words[1:]), words)
    assert tree(tmp_path) == files
    assert differing_tables(before, contents(pair.target)) == []


def test_a_plan_that_is_a_link_is_not_read(pair: Pair, tmp_path: Path) -> None:
    for to in (tmp_path / "outside" / "secret.yml", Path("/proc/self/environ"), Path(".git/config")):
        (pair.folder / "plan.yml").unlink()
        (pair.folder / "plan.yml").symlink_to(to)
        for words in OFFLINE:
            done = pair.here(words[0], "plan.yml", *words[1:])
            check(done, words)
            assert done.code == 5 and "a link out of its root folder" in done.output


@pytest.mark.parametrize("to", ["../outside", ".git"])
def test_a_folder_of_templates_that_is_a_link_is_not_read(to: str, pair: Pair) -> None:
    for path in (pair.folder / "sql").iterdir():
        path.unlink()
    (pair.folder / "sql").rmdir()
    (pair.folder / "sql").symlink_to(to)
    pair.write(templates("{% include 'secret.sql' %}", "{% include 'config' %}"))
    for words in (*OFFLINE, *ONLINE):
        check(pair.here(words[0], "plan.yml", *words[1:]), words)
    assert pair.here("validate", "plan.yml").output.count("there is no template") == 2


@pytest.mark.parametrize(
    "name", ["::error::faked.yml", "$(touch x).yml", "a\nb\x1b[2J.yml", "-o.yml", "<img src=x>.yml"]
)
def test_the_name_of_a_file_is_text(name: str, pair: Pair, tmp_path: Path) -> None:
    for text in (PLANS["names"], PLANS["names that are refused"]):
        (pair.folder / name).write_text(text)
        files = tree(tmp_path)
        for words in (*OFFLINE, ("diff", "-v"), ("diff", "-o", "markdown"), ("diff", "-o", "github")):
            check(pair.here(*words, "--", name), words)
        assert tree(tmp_path) == files


BOTH = (
    *(
        "programs",
        "secrets",
        "secrets in other places",
        "names",
        "names that are refused",
        "outside",
        "outside by links",
    ),
    *("the checkout's own credentials", "a bomb", "a very deep flow", "deep steps", "another server"),
)


def test_two_hostile_versions_are_only_compared(pair: Pair, tmp_path: Path) -> None:
    """Each plan is once the old version, as of a revision, and once the new one."""
    shutil.rmtree(pair.folder / ".git")
    repo = Repository(pair.folder)
    (pair.folder / ".git" / "secret.yml").write_text(CANARY)
    mark, old = tmp_path / "MARK", "name: p\nsteps: [{id: a, uses: confirm, with: {message: x}}]\n"
    for what in (*BOTH, BOTH[0]):
        pair.write(old)
        repo.commit()
        old = PLANS[what].replace("MARK", str(mark)).replace("OUT", str(tmp_path / "outside"))
        pair.write(old)
        files = tree(tmp_path)
        for form in ("text", "json", "markdown"):
            words = ("compare", "--base", "HEAD", "-o", form)
            done = pair.here(*words, "plan.yml")
            check(done, words)
            assert form != "text" or not re.search(r"^(::|##\[)", done.output, re.MULTILINE), (
                "a line that is only the plan's"
            )
        assert tree(tmp_path) == files
    assert not mark.exists()


def test_links_of_a_revision_lead_nowhere(pair: Pair, tmp_path: Path) -> None:
    """The base of a request has links out of the checkout; the request itself is harmless."""
    shutil.rmtree(pair.folder / ".git")
    repo = Repository(pair.folder)
    for to in (tmp_path / "outside" / "secret.yml", Path("/proc/self/environ"), Path(".git/config")):
        (pair.folder / "plan.yml").unlink()
        (pair.folder / "plan.yml").symlink_to(to)
        repo.commit()
        (pair.folder / "plan.yml").unlink()
        pair.write("name: p\nsteps: [{id: a, uses: confirm, with: {message: x}}]\n")
        words = ("compare", "--base", "HEAD", "-o", "text")
        done = pair.here(*words, "plan.yml")
        check(done, words)
        assert done.code == 0 and "cannot be read" in done.out and "environ" not in done.out


def test_the_schema_needs_no_plan_and_no_file_of_the_repository(pair: Pair, tmp_path: Path) -> None:
    (pair.folder / "schemas").mkdir()
    (pair.folder / "schemas" / "plan.schema.json").write_text(CANARY)
    files = tree(tmp_path)
    for words in (("schema",), ("schema", "--template"), ("schema", "--output-json")):
        check(pair.here(*words), ("json",))
    assert tree(tmp_path) == files
