"""`extends`, `--set` and the root folder: what is merged, where it points, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Mark, PlanError, UsageError
from runner.language.compose import Files, extend, leads_out, merge, root_of, settings, value_of, with_setting
from runner.language.source import Document, parse
from runner.report.problems import from_disk


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compose(name: str = "plan.yml") -> Document:
    files = Files(Path(name))
    return extend(files, files.main)


def error_of(name: str = "plan.yml") -> str:
    with pytest.raises(PlanError) as caught:
        compose(name)
    return str(caught.value)


# ------------------------------------------------------------------ merging


def test_mappings_merge_and_lists_and_scalars_replace() -> None:
    base = parse("a: {x: 1, y: {p: 1, q: 2}}\nl: [1, 2]\ns: old\nm: {k: 1}\n", "base")
    over = parse("a:\n  y: {q: 3}\nl: [9]\ns: new\nm: text\n", "over")
    document = merge(base, over)
    assert document.data == {"a": {"x": 1, "y": {"p": 1, "q": 3}}, "l": [9], "s": "new", "m": "text"}
    assert base.data["a"]["y"]["q"] == 2


def test_every_value_keeps_the_place_in_its_own_file() -> None:
    document = merge(parse("a: {x: 1, y: 2}\nb: 3\n", "base"), parse("c: 1\na:\n  y: 4\n", "over"))
    assert document.at(("a", "x")) == Mark("base", 1, 8)
    assert document.key_at(("a", "x")) == Mark("base", 1, 5)
    assert document.at(("a", "y")) == Mark("over", 3, 6)
    assert document.key_at(("a", "y")) == Mark("over", 3, 3)
    assert document.at(("b",)) == Mark("base", 2, 4)
    assert document.at(("missing",)) == Mark("over", 1, 1)


def test_a_chain_of_files(folder: Path) -> None:
    write(folder, base="name: base\nb: 1\n", shared__mid="extends: ../base.yml\nname: mid\nm: 1\n")
    write(folder, plan="extends: shared/mid.yml\np: 1\n")
    document = compose()
    assert document.data == {"name": "mid", "b": 1, "m": 1, "extends": "shared/mid.yml", "p": 1}
    assert [document.at((key,)).file for key in ("b", "m", "p")] == ["base.yml", "shared/mid.yml", "plan.yml"]


def test_names_in_messages_start_from_how_the_plan_was_named(folder: Path) -> None:
    write(folder, base="b: 1\n", plans__plan="extends: ../base.yml\n")
    assert compose("plans/plan.yml").at(("b",)).file == "base.yml"
    assert compose(str(folder / "plans" / "plan.yml")).at(("b",)).file == str(folder / "base.yml")


def test_files_that_extend_each_other(folder: Path) -> None:
    write(folder, plan="extends: a.yml\n", a="extends: b.yml\n", b="extends: a.yml\n", own="extends: own.yml\n")
    assert "b.yml:1:10: PR0116 these files extend each other: plan.yml -> a.yml -> b.yml -> a.yml" in error_of()
    assert "own.yml -> own.yml" in error_of("own.yml")


# ------------------------------------------------------------------ the root folder


def test_the_root_is_the_nearest_folder_with_git_or_sql(folder: Path) -> None:
    write(folder, plans__deep__plan="a: 1\n", other__plans__plan="a: 1\n")
    (folder / "other" / "sql").mkdir()
    assert root_of(Path("plans/deep/plan.yml")) == folder
    assert root_of(Path("other/plans/plan.yml")) == folder / "other"
    (folder / ".git").rmdir()
    assert root_of(Path("plans/deep/plan.yml")) == folder / "plans" / "deep"


@pytest.mark.parametrize(
    "name", ["../outside.yml", "/etc/hostname", "link.yml", "dir/outside.yml", "a/../../outside.yml"]
)
def test_nothing_is_read_outside_of_the_root(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "home"
    write(folder, outside="secret: 1\n", home__plan=f"extends: {name}\n")
    (home / ".git").mkdir()
    (home / "a").mkdir()
    (home / "link.yml").symlink_to(folder / "outside.yml")
    (home / "dir").symlink_to(folder)
    monkeypatch.chdir(home)
    assert f"'{name}' is outside the plan's root folder" in error_of()


def test_a_plan_that_is_a_link_out_of_the_checkout_is_not_even_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    (home / ".git").mkdir(parents=True)
    (folder / "outside.yml").write_text("secret: 1\n")
    (home / "dir").symlink_to(folder)
    (home / "link.yml").symlink_to(folder / "outside.yml")
    (home / "circle.yml").symlink_to("circle.yml")
    (home / "inside.yml").symlink_to("plan.yml")
    (folder / "alone.yml").symlink_to("outside.yml")
    monkeypatch.chdir(home)
    for name in ("link.yml", "dir/outside.yml", "circle.yml", str(home / "link.yml")):
        assert "this file is a link out of its root folder" in error_of(name) and "secret" not in error_of(name)
        assert from_disk(name) is None
    (home / "plan.yml").write_text("name: p\n")
    for name in ("inside.yml", "../outside.yml", "../alone.yml"):
        assert not leads_out(Path(name)) and from_disk(name)


def test_files_that_cannot_be_read(folder: Path) -> None:
    write(folder, plan="extends: bse.yml\n", base="a: 1\n", pipe="extends: fifo\n")
    write(folder, list="- a\n", nul='extends: "a\\u0001"\n')
    assert "plan.yml:1:10: PR0115 there is no file 'bse.yml'\n  hint: did you mean 'base.yml'?" in error_of()
    os.mkfifo(folder / "fifo")
    assert "there is no file 'fifo'" in error_of("pipe.yml")
    assert "list.yml:1:1: PR0114 a plan is a mapping of keys" in error_of("list.yml")
    assert "there is no file" in error_of("nul.yml")
    assert "none.yml:1:1: PR0102 cannot read this file" in error_of("none.yml")


def test_the_digest_counts_names_and_bytes(folder: Path) -> None:
    write(folder, plan="a: 1\n")
    digests = set()
    for text in ("a: 1\n", "a: 2\n"):
        write(folder, plan=text)
        files = Files(Path("plan.yml"))
        files.open(files.main)
        digests |= {files.digest(), files.digest({"n": 1})}
    assert len(digests) == 4


# ------------------------------------------------------------------ --set


@pytest.mark.parametrize(
    ("text", "types", "value"),
    [
        ("5", ["string"], "5"),
        ("5", ["integer"], 5),
        ("true", ["boolean"], True),
        ("true", ["boolean", "string"], True),
        ("gzip", ["boolean", "string"], "gzip"),
        ("5", ["boolean", "string"], "5"),
        ("[a, 'b']", ["array"], ["a", "b"]),
        ("{a: 1}", ["object"], {"a": 1}),
        ("[open", ["array"], "[open"),
        ("null", ["integer", "null"], None),
        ("", ["string"], ""),
        ("", ["integer"], None),
        ("a: b", ["object"], "a: b"),
        ("9" * 30, ["integer"], "9" * 30),
    ],
)
def test_the_text_of_a_setting_is_read_as_its_type(text: str, types: list[str], value: Any) -> None:
    assert value_of(text, types) == value


def test_settings() -> None:
    assert settings(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    assert settings({"a": "1"}) == {"a": "1"}
    with pytest.raises(UsageError):
        settings(["a"])


def test_a_setting_goes_over_the_file_and_points_at_itself() -> None:
    document = with_setting(parse("backup: {path: a, jobs: 2}\n", "p"), ("backup", "path"), "b")
    assert document.data == {"backup": {"path": "b", "jobs": 2}}
    assert document.at(("backup", "path")).file == "--set backup.path"
    assert document.at(("backup", "jobs")).file == "p"
    assert with_setting(document, ("new", "deep", "key"), 1).data["new"] == {"deep": {"key": 1}}
