""".ci/review as it is, against a server that plays the API of GitHub or GitLab, and what hands it its variables."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from tests.codehost import CodeHost, code_host
from tests.commandline import Done, connect_to
from tests.repositories import Repository

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "review"
TOKEN = "t0k3n-canary"
ASKS = "name: asks\nsteps:\n  - {id: ask, uses: confirm, with: {message: Go on?}}\n"
DROPS = "name: drops\nconnections: {target: {}}\nsteps:\n  - {id: tidy, uses: sql, with: {text: drop table orders}}\n"
FAILS = "name: fails\nsteps:\n  - {id: look, uses: query, with: {text: select nothing_like_this}}\n"


class Checkout:
    """A folder with plans, in which a job of a pull request runs the script."""

    def __init__(self, folder: Path, api: CodeHost) -> None:
        self.folder, self.api = folder / "checkout", api
        self.summary, self.arguments = folder / "summary", folder / "arguments"
        (self.folder / "plans").mkdir(parents=True)
        (folder / "bin").mkdir()
        curl = folder / "bin" / "curl"
        curl.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >>{self.arguments}\nPATH=${{PATH#*:}} exec curl "$@"\n')
        curl.chmod(0o755)
        self.event = folder / "event.json"
        self.event_of("shop/app")
        programs = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {"PATH": programs, "HOME": str(folder), "LANG": "C.UTF-8", "CI": "true", "TMPDIR": str(folder)}

    def event_of(self, repository: str | None, base: str = "") -> None:
        """Write the event of a pull request from a repository; None: it was deleted. base: the commit that it names."""
        head = {"repo": {"full_name": repository} if repository else None}
        more = {"base": {"sha": base}} if base else {}
        self.event.write_text(json.dumps({"pull_request": {"number": 7, "head": head, **more}}))

    def plan(self, name: str, text: str) -> None:
        (self.folder / "plans" / name).write_text(text)

    def github(self, **more: str) -> Done:
        return self.run({
            "GITHUB_ACTIONS": "true", "GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": self.api.url,
            "GITHUB_REPOSITORY": "shop/app", "GITHUB_EVENT_PATH": str(self.event),
            "GITHUB_STEP_SUMMARY": str(self.summary), **more,
        })  # fmt: skip

    def gitlab(self, **more: str) -> Done:
        return self.run({
            "GITLAB_CI": "true", "PLANRUN_GITLAB_TOKEN": TOKEN, "CI_API_V4_URL": self.api.url, "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_PROJECT_ID": "42", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "7", **more,
        })  # fmt: skip

    def run(self, env: Mapping[str, str]) -> Done:
        done = subprocess.run(
            [SCRIPT], cwd=self.folder, env={**self.env, **env}, capture_output=True, text=True, timeout=60
        )
        assert TOKEN not in done.stdout + done.stderr, "the token is in the log"
        assert not self.arguments.exists() or TOKEN not in self.arguments.read_text(), "the token is an argument"
        assert not list(self.folder.parent.glob("tmp.*")), "something is left behind"
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def api() -> Iterator[CodeHost]:
    with code_host(TOKEN) as host:
        yield host


@pytest.fixture
def checkout(tmp_path: Path, api: CodeHost) -> Checkout:
    return Checkout(tmp_path, api)


def commands(log: str) -> list[str]:
    """Return the workflow commands that GitHub's runner would obey in a log."""
    found, word = list[str](), ""
    for line in log.splitlines():
        if word:
            word = "" if line.strip() == f"::{word}::" else word
        elif match := re.match(r"\s*::stop-commands::(.*)", line):
            word = match[1]
        elif re.match(r"\s*::|.*##\[", line):
            found.append(line)
    assert not word, "commands are stopped until the end"
    return found


def test_one_comment_is_made_and_then_updated(checkout: Checkout, api: CodeHost, db: str) -> None:
    with connect_to(db) as conn:
        conn.execute("create table orders as select 1 as id; analyze orders")
    checkout.plan("drops.yml", DROPS)
    done = checkout.github(DATABASE_URL=db)
    assert done.code == 0, done.output
    at = "file=plans/drops.yml,line=4,col=5,title=planrun diff of drops"
    told = commands(done.out)
    assert "::notice title=planrun::1 valid: validate found no problem in the plans" in told
    assert f"::warning {at}::table public.orders, dropped: 1 row, 8,192 bytes; drop table" in told
    assert "- 1 table of public dropped" in done.out and "### planrun diff: drops" in checkout.summary.read_text()
    (first,) = api.bodies()
    assert re.match(r"<!-- planrun-review:[0-9a-f]{32} -->\n<!-- planrun:drops -->\n### planrun diff: drops\n", first)
    assert [each.partition("?")[0] for each in api.requests] == [
        "GET /repos/shop/app/issues/7/comments",
        "POST /repos/shop/app/issues/7/comments",
    ]

    ours = api.comments.pop()
    theirs = [first.replace("orders", "nothing"), *(f"comment {number}" for number in range(149))]
    for body in theirs:
        api.add(body)
    api.comments.append(ours | {"id": 5000})
    with connect_to(db) as conn:
        conn.execute("insert into orders values (2), (3)")
    assert checkout.github(DATABASE_URL=db).code == 0
    assert api.requests[-1] == "PATCH /repos/shop/app/issues/comments/5000"
    (second,) = api.bodies()
    assert second.splitlines()[0] == first.splitlines()[0] and "3 rows" in second
    assert api.bodies(ours=False) == theirs, "the marker in somebody else's comment means nothing"
    with connect_to(db) as conn:
        assert conn.execute("select count(*) from orders").fetchone() == (3,)


def test_each_plan_has_its_comment_also_when_their_names_are_alike(checkout: Checkout, api: CodeHost) -> None:
    checkout.plan("a.yml", ASKS)
    checkout.plan("-b.yml", ASKS.replace("Go on", "Really"))
    for _ in range(2):
        assert checkout.github(PLANRUN_REVIEW_PLANS="  plans/a.yml \n\nplans/-*.yml\n").code == 0
        assert len({body.splitlines()[0] for body in api.bodies()}) == len(api.bodies()) == 2
    assert "Really" in api.bodies()[1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (403, "the API answers 403: the token may not read and write comments here"),
        (0, "the API does not answer within 1 s"),
    ],
)
def test_an_api_that_refuses_or_hangs_is_only_a_warning(
    checkout: Checkout, api: CodeHost, answer: int, reason: str
) -> None:
    checkout.plan("asks.yml", ASKS)
    api.answer = answer
    done = checkout.github(PLANRUN_REVIEW_DEADLINE="1")
    assert done.code == 0 and "### planrun diff: asks" in checkout.summary.read_text()
    assert f"::warning title=planrun::no comment for plans/asks.yml: {reason}" in commands(done.out)
    assert "refused" not in done.output, "what a server answers is not repeated"


def test_no_api_no_token_or_no_wish_for_a_comment(checkout: Checkout, api: CodeHost) -> None:
    checkout.plan("asks.yml", ASKS)
    assert "there is no token" in checkout.github(GITHUB_TOKEN="").out
    assert "the API cannot be reached" in checkout.github(GITHUB_API_URL="http://127.0.0.1:1").out
    assert "no comment" not in checkout.github(PLANRUN_REVIEW_COMMENT="false").out
    assert not api.requests


def test_a_plan_of_a_fork_is_validated_and_nothing_else(checkout: Checkout, api: CodeHost) -> None:
    checkout.plan("asks.yml", ASKS)
    checkout.plan("bad.yml", ASKS.replace("confirm", "confrim"))
    for repository in ("evil/app", None):
        checkout.event_of(repository)
        done = checkout.github(DATABASE_URL="host=127.0.0.1 port=1")
        assert done.code == 5 and "::error file=plans/bad.yml,line=3," in done.out
        assert "::notice title=planrun::no diff: this comes from a fork" in done.out and "1 port" not in done.output
        assert "no diff: this comes from a fork" in checkout.summary.read_text()
    assert checkout.gitlab(CI_MERGE_REQUEST_SOURCE_PROJECT_ID="43").out.count("no diff: this comes from a fork") == 1
    assert not api.requests
    checkout.event.write_text("{")
    assert checkout.github().code == 1, "who knows where it comes from"


def test_the_worst_exit_code_and_the_reason_of_each(checkout: Checkout, api: CodeHost, db: str) -> None:
    assert checkout.github().code == 64, "green would mean that something was looked at"
    checkout.plan("fails.yml", FAILS)
    done = checkout.github(DATABASE_URL=db)
    assert done.code == 1 and "::error file=plans/fails.yml,line=3,col=5," in done.out
    assert "nothing_like_this" in api.bodies()[0]
    checkout.plan("bad.yml", "name: [")
    done = checkout.github(DATABASE_URL="host=127.0.0.1 port=1")
    assert done.code == 5 and "::error title=planrun::target: " in done.out
    assert "cannot connect" in api.bodies()[0] and "nothing_like_this" not in api.bodies()[0], "no old diff stays"
    assert len(api.bodies()) == 2 and "| plans/bad.yml:" in api.bodies()[1]


def test_a_merge_request_has_a_report_and_a_comment(checkout: Checkout, api: CodeHost, tmp_path: Path) -> None:
    checkout.plan("asks.yml", ASKS)
    (tmp_path / "precious").write_text("precious")
    report = checkout.folder / "gl-code-quality-report.json"
    report.symlink_to(tmp_path / "precious")
    assert checkout.gitlab().code == 0
    assert (tmp_path / "precious").read_text() == "precious" and json.loads(report.read_text()) == []
    api.add(api.bodies()[0])
    checkout.plan("bad.yml", "name: p\nsteps:\n  - {id: a, uses: sqll}\n")
    done = checkout.gitlab()
    assert done.code == 5 and "did you mean 'sql'?" in done.out
    assert [one["location"]["path"] for one in json.loads(report.read_text())] == ["plans/bad.yml"]
    assert [each.split()[0] for each in api.requests] == [
        "GET",
        "GET",
        "POST",
        *["GET", "GET", "PUT"],
        "GET",
        "GET",
        "POST",
    ]
    assert len(api.bodies()) == 2 and len(api.bodies(ours=False)) == 1


def test_nothing_in_names_or_plans_commands_the_runner_or_the_shell(checkout: Checkout, api: CodeHost) -> None:
    evil = "::error::faked\n##[error]faked\n::add-mask::a\n\x1b[31m<!-- x -->@all ![x](http://evil/x)"
    text = f"name: {json.dumps(evil)}\nsteps:\n  - {{id: ask, uses: confirm, with: {{message: {json.dumps(evil)}}}}}\n"
    names = [
        "::error::faked.yml",
        "$(touch x).yml",
        "`touch x`.yml",
        "a\n::error::faked.yml",
        "x; touch x.yml",
        "* .yml",
    ]
    for name in names:
        checkout.plan(name, text)
    (checkout.folder / "json.py").write_text("open('x', 'w')")
    (checkout.folder / "runner").mkdir()
    (checkout.folder / "runner" / "__init__.py").write_text("open('x', 'w')")
    before = sorted(checkout.folder.rglob("*"))
    github, gitlab = checkout.github(), checkout.gitlab(PLANRUN_REVIEW_COMMENT="false")
    for done in (github, gitlab):
        assert "faked" in done.out and "\x1b" not in done.output
    (checkout.folder / "gl-code-quality-report.json").unlink()
    assert sorted(checkout.folder.rglob("*")) == before
    for line in commands(github.out):
        assert re.match(r"::(error|warning|notice) ([a-z]+=[^,:]+,)*title=planrun[^,:]*::", line), line


# ------------------------------------------------------------------ what differs from the base


@pytest.fixture
def based(checkout: Checkout) -> tuple[Checkout, str]:
    """A checkout of a repository, and the commit that the request is based on."""
    repository = Repository(checkout.folder)
    checkout.plan("drops.yml", DROPS.replace("drop table orders", "select 1"))
    base = repository.commit()
    checkout.plan("drops.yml", DROPS)
    repository.commit()
    return checkout, base


def test_a_review_begins_with_what_differs_from_the_base(based: tuple[Checkout, str], api: CodeHost, db: str) -> None:
    checkout, base = based
    with connect_to(db) as conn:
        conn.execute("create table orders as select 1 as id; analyze orders")
    checkout.event_of("shop/app", base)
    done = checkout.github(DATABASE_URL=db)
    assert done.code == 0, done.output
    (body,) = api.bodies()
    changes, diff = body.index("### planrun changes: drops"), body.index("### planrun diff: drops")
    assert changes < body.index("**object worse off**: table public.orders, 1 row, 8,192 bytes (step tidy)") < diff
    assert "**destructive action added, not protected**: drop table orders (step tidy)" in body
    assert body.splitlines()[0].startswith("<!-- planrun-review:")
    page = checkout.summary.read_text()
    assert page.index("### planrun changes: drops") < page.index("### planrun diff: drops")


def test_without_a_database_the_files_alone_are_compared(based: tuple[Checkout, str], api: CodeHost) -> None:
    checkout, base = based
    done = checkout.github(DATABASE_URL="host=127.0.0.1 port=1", PLANRUN_REVIEW_BASE=base)
    assert done.code == 4
    (body,) = api.bodies()
    assert "**destructive action added, not protected**: drop table orders" in body and "cannot connect" in body


def test_a_plan_of_a_fork_is_compared_by_its_files(based: tuple[Checkout, str], api: CodeHost) -> None:
    checkout, base = based
    checkout.event_of("evil/app", base)
    done = checkout.github(DATABASE_URL="host=127.0.0.1 port=1")
    assert done.code == 0 and "no diff: this comes from a fork" in done.out and "1 port" not in done.output
    assert "**destructive action added, not protected**: drop table orders" in checkout.summary.read_text()
    done = checkout.gitlab(CI_MERGE_REQUEST_SOURCE_PROJECT_ID="43", CI_MERGE_REQUEST_DIFF_BASE_SHA=base)
    assert done.code == 0 and "**destructive action added, not protected**: drop table orders" in done.out
    assert not api.requests


def test_a_base_that_git_does_not_have_is_a_notice(based: tuple[Checkout, str], api: CodeHost) -> None:
    checkout, _ = based
    checkout.event_of("evil/app", "HEAD; touch x")
    for env in ({"PLANRUN_REVIEW_BASE": "--output=x"}, {"GITHUB_BASE_REF": "x;touch x"}):
        done = checkout.github(**env)
        assert done.code == 0 and "is not compared with its base" in done.out, done.output
        assert f"PR1041 git knows no revision '{env.get('PLANRUN_REVIEW_BASE', 'origin/x;touch x')}'" in done.out
    assert not list(checkout.folder.rglob("x"))
    assert "compared" not in checkout.github(PLANRUN_REVIEW_BASE="none").out


def test_a_catalog_file_stands_in_for_the_database(
    based: tuple[Checkout, str], api: CodeHost, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, base = based
    with connect_to(db) as conn:
        conn.execute("create table orders as select 1 as id; analyze orders")
    monkeypatch.chdir(checkout.folder)
    monkeypatch.setenv("DATABASE_URL", db)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["snapshot", "plans/drops.yml", "--out", "catalog.json"]) == 0
    done = checkout.github(PLANRUN_REVIEW_SNAPSHOT="catalog.json", PLANRUN_REVIEW_BASE=base)
    assert done.code == 0, done.output
    (body,) = api.bodies()
    assert "target: the catalog file catalog.json, of t" in body and "**object worse off**: table public.orders" in body
    assert (
        "::warning file=plans/drops.yml,line=4,col=5,title=planrun diff of drops::table public.orders, dropped"
        in done.out
    )


# ------------------------------------------------------------------ what hands it its variables


def variables(script: str) -> set[str]:
    """Return the variables that a script reads."""
    return set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", script))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_action_passes_what_the_script_reads() -> None:
    action = read("action.yml")
    assert action["runs"]["using"] == "composite"
    *_, review = action["runs"]["steps"]
    assert set(review["env"]) <= variables(SCRIPT.read_text()) and review["run"].endswith('/.ci/review"')
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"\binputs\.([\w-]+)", text)) == set(action["inputs"])
    for step in action["runs"]["steps"]:
        assert "shell" in step or "uses" in step
        assert "${{" not in step.get("run", ""), "an input in a script would be a part of it"
    for each in action["inputs"].values():
        assert each["description"] and isinstance(each["default"], str)


def test_the_template_passes_what_the_script_reads() -> None:
    (job,) = read(".ci/gitlab.yml").values()
    known = variables(SCRIPT.read_text()) | variables("\n".join(job["script"]))
    assert set(job["variables"]) <= known and all(isinstance(each, str) for each in job["variables"].values())
    assert job["artifacts"]["reports"]["codequality"] in SCRIPT.read_text()
    assert all(isinstance(line, str) for line in job["script"]) and job["script"][-1].endswith('/.ci/review"')


def test_the_page_lists_every_input_and_variable_with_its_default() -> None:
    page = (ROOT / "docs" / "pull-requests.md").read_text()
    for name, each in read("action.yml")["inputs"].items():
        assert f"| `{name}` | `{each['default']}` |" in page
    for name in read(".ci/gitlab.yml")["planrun-review"]["variables"]:
        assert re.search(rf"^\| [^|]*`{name}`", page, re.MULTILINE)


def test_every_variable_of_the_script_is_explained_or_comes_from_the_code_host() -> None:
    head = SCRIPT.read_text().partition("\nset -")[0]
    ours = {name for name in variables(SCRIPT.read_text()) if "PLANRUN" in name}
    assert ours == set(re.findall(r"PLANRUN_\w+", head))


@pytest.mark.parametrize("script", ["image", "review", "run"])
def test_shellcheck_finds_nothing(script: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), ROOT / ".ci" / script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
