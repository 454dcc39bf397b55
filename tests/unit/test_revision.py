"""The files of a plan as of a revision: what git keeps, whatever the names, links and settings of a repository say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.cancel import Cancel
from runner.effects import revision
from runner.effects.revision import Revision
from runner.errors import PlanrunError, UsageError
from tests.repositories import Repository

PLAN = "name: p\nsteps:\n  - {id: a, uses: query, with: {file: a.sql}}\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.write("plans/p.yml", PLAN)
    made.write("sql/a.sql", "select 1\n")
    made.write("README.md", "no plan\n")
    made.commit()
    return made


@contextmanager
def files(repo: Repository, rev: str, name: str = "plans/p.yml") -> Iterator[Revision]:
    with revision.files_of(repo.folder / name, rev, env=os.environ, cancel=Cancel()) as found:
        yield found


def names(found: Revision) -> list[str]:
    every = (path for path in found.folder.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path.relative_to(found.folder).as_posix() for path in every)


def test_the_files_of_a_revision_are_those_that_it_had(repo: Repository) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.write("sql/a.sql", "select 2\n")
    repo.write("sql/b.sql", "select 3\n")
    with files(repo, first) as found:
        assert names(found) == ["plans/p.yml", "sql/a.sql"], "only what a plan can name"
        assert (found.folder / "sql/a.sql").read_text() == "select 1\n"
        assert found.is_there and found.plan.read_text() == PLAN
        assert (found.name, found.commit, found.top) == (first, first, repo.folder.resolve())
        assert found.folder.stat().st_mode & 0o077 == 0
        folder = found.folder
    assert not folder.exists()


def test_a_revision_is_shown_with_its_commit(repo: Repository) -> None:
    with files(repo, "HEAD") as found:
        assert re.fullmatch(r"HEAD \([0-9a-f]{10}\)", found.label)
    with files(repo, found.commit[:12]) as found:
        assert found.label == found.commit[:10]


def test_the_work_tree_and_the_index_stay_as_they_are(repo: Repository) -> None:
    repo.write("plans/p.yml", "changed")
    repo.git("add", "plans/p.yml")
    repo.write("plans/p.yml", "changed again")
    before = {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in repo.folder.rglob("*")}
    with files(repo, "HEAD"):
        pass
    assert before == {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in repo.folder.rglob("*")}
    assert repo.git("status", "--porcelain") == "MM plans/p.yml"


NO_REVISIONS = [
    "--output=x",
    "-x",
    "--",
    "",
    "nosuch",
    "a b",
    "$(touch x)",
    "`touch x`",
    "HEAD:plans",
    "HEAD^{tree}",
    "x\ny",
    "\x1b[2J",
    "--upload-pack=touch x",
    "HEAD;touch x",
    "../..",
    "@{u}",
    "-",
    "HEAD..HEAD~1",
]


def test_a_name_that_is_no_revision_is_only_that(repo: Repository) -> None:
    before = sorted(repo.folder.rglob("*"))
    for rev in NO_REVISIONS:
        with pytest.raises(UsageError) as caught, files(repo, rev):
            pass
        assert caught.value.code == "PR1041" and "\x1b" not in str(caught.value) and "\n" not in caught.value.message
    assert sorted(repo.folder.rglob("*")) == before


def test_a_branch_whose_name_is_an_option_is_a_branch(repo: Repository) -> None:
    head = repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/heads/--output=x", head)
    with files(repo, "--output=x") as found:
        assert found.commit == head
    assert not list(repo.folder.rglob("x"))


def test_a_folder_without_a_repository(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(PLAN)
    wanted = revision.files_of(tmp_path / "p.yml", "main", env=os.environ, cancel=Cancel())
    with pytest.raises(UsageError, match="is in no work tree of git") as caught, wanted:
        pass
    assert caught.value.code == "PR1040"


def test_a_shallow_clone_says_what_it_lacks(repo: Repository, tmp_path: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.write("plans/p.yml", PLAN.replace("name: p", "name: q"))
    repo.commit()
    repo.git("clone", "--quiet", "--depth=1", f"file://{repo.folder}", str(tmp_path / "shallow"))
    shallow = tmp_path / "shallow" / "plans" / "p.yml"
    with pytest.raises(UsageError) as caught, revision.files_of(shallow, first, env=os.environ, cancel=Cancel()):
        pass
    assert "fetch-depth: 0" in caught.value.hint


def test_nothing_that_a_repository_configures_runs_or_changes_what_is_read(repo: Repository, tmp_path: Path) -> None:
    mark, program = tmp_path / "MARK", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    for key in (
        "filter.x.smudge",
        "filter.x.clean",
        "filter.x.process",
        "diff.x.textconv",
        "core.fsmonitor",
        "core.pager",
    ):
        repo.git("config", key, str(program))
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        repo.write(f".git/hooks/{hook}", program.read_text()).chmod(0o755)
    mark.unlink(missing_ok=True)
    attributes = "* filter=x diff=x\nsql/** export-ignore\nplans/* export-subst ident\n"
    head = repo.commit_tree(
        ("100644", ".gitattributes", attributes),
        ("40000", "plans", repo.tree(("100644", "p.yml", f"# $Format:%H$ $Id$\n{PLAN}"))),
        ("40000", "sql", repo.tree(("100644", "a.sql", "select 1\n"))),
    )
    mark.unlink(missing_ok=True)
    with files(repo, head) as found:
        assert names(found) == ["plans/p.yml", "sql/a.sql"]
        assert found.plan.read_text().startswith("# $Format:%H$ $Id$\n")
    assert not mark.exists()


def test_an_object_that_is_replaced_is_read_as_it_was(repo: Repository) -> None:
    old = repo.git("rev-parse", "HEAD:sql/a.sql")
    other = repo.git("hash-object", "-w", "--stdin", given=b"drop table t\n")
    repo.git("replace", old, other)
    with files(repo, "HEAD") as found:
        assert (found.folder / "sql/a.sql").read_text() == "select 1\n"


def test_links_are_links_and_nothing_is_written_through_one(repo: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    head = repo.commit_tree(
        ("120000", "link", str(outside)),
        ("40000", "plans", repo.tree(("120000", "q.yml", "p.yml"), ("100644", "p.yml", PLAN))),
        ("120000", "sql", str(outside)),
    )
    with files(repo, head) as found:
        assert names(found) == ["link", "plans/p.yml", "plans/q.yml", "sql"]
        assert (found.folder / "sql").is_symlink()
    assert not list(outside.iterdir())


def test_a_name_that_leads_elsewhere_is_refused(repo: Repository, tmp_path: Path) -> None:
    inner = repo.tree(("100644", "x.yml", "y"))
    before = sorted(path for path in tmp_path.rglob("*") if ".git" not in path.parts)
    for name in ("..", ".git", ".GIT", "a/../../b.yml", "../x.yml", "/abs.yml"):
        entry = ("100644", name, "x") if name.endswith(".yml") else ("40000", name, inner)
        with pytest.raises(PlanrunError) as caught, files(repo, repo.commit_tree(entry)):
            pass
        assert caught.value.code == "PR1042"
    assert sorted(path for path in tmp_path.rglob("*") if ".git" not in path.parts) == before


def test_a_file_below_a_link_is_refused(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    head = repo.commit_tree(
        ("120000", "sql", str(tmp_path / "outside")), ("40000", "sql", repo.tree(("100644", "x.sql", "drop table t")))
    )
    with pytest.raises(PlanrunError) as caught, files(repo, head):
        pass
    assert caught.value.code == "PR1042" and not list((tmp_path / "outside").iterdir())


def test_too_much_is_refused(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "MAX_FILES", 1)
    with pytest.raises(PlanrunError, match="too much") as caught, files(repo, "HEAD"):
        pass
    assert caught.value.code == "PR1042"


def test_many_files_come_in_several_answers(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "_AT_ONCE", 3)
    for number in range(10):
        repo.write(f"sql/many/{number}.sql", f"select {number}\n" * number)
    repo.commit()
    with files(repo, "HEAD") as found:
        for number in range(10):
            assert (found.folder / f"sql/many/{number}.sql").read_text() == f"select {number}\n" * number


def test_a_file_that_the_revision_lacks(repo: Repository) -> None:
    repo.write("plans/new.yml", PLAN)
    with files(repo, "HEAD", "plans/new.yml") as found:
        assert not found.is_there
