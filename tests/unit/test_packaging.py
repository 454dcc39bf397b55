"""What a user installs: one top-level package with its data inside, built the way pip builds it."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from runner.report.topics import TOPICS
from runner.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist and not from the checkout: a file missing there would be missing here."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)
    build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    (built,) = folder.glob("*.whl")
    return built


def build(source: Path, target: str, to: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(to)]
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def data_files(folder: str) -> set[str]:
    """Return the data files of the checkout, as a wheel names them."""
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"runner/_bundled/{path.relative_to(ROOT).as_posix()}" for path in files}


def test_one_top_level_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {f"planrun-{__version__}.dist-info", f"planrun-{__version__}.data"}
    assert {name.partition("/")[0] for name in names} == {"runner"} | folders


def test_the_data_is_inside(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("schemas", "sql", "plans"):
        assert data_files(folder), f"{folder}/ is empty"
        assert data_files(folder) <= names
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runner").rglob("*.py")}
    assert code <= names
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runner" / "webpage" / "templates").iterdir()}
    assert len(pages) >= 5 and pages <= names


def test_the_manual_is_inside(wheel: Path) -> None:
    """An installer puts what is below data/ into the environment, where man looks for it."""
    names = set(zipfile.ZipFile(wheel).namelist())
    man = f"planrun-{__version__}.data/data/share/man/man1"
    assert {f"{man}/{path.name}" for path in (ROOT / "man").iterdir()} <= names
    assert {f"runner/_bundled/docs/{topic.page}" for topic in TOPICS.values()} <= names
    docs = {name for name in names if name.startswith("runner/_bundled/docs/")}
    assert all(name.endswith(".md") for name in docs), "pictures and the site's own files are not for a terminal"


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"planrun-{__version__}.dist-info"
        text = archive.read(f"{info}/METADATA").decode()
        points = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert f"Version: {__version__}" in text
    assert "License-Expression: PostgreSQL" in text
    assert "Requires-Python: >=3.11" in text
    assert "planrun = runner.__main__:start" in points
    assert "Copyright (c) 2026, the planrun developers" in licence


def test_it_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has our dependencies and not our checkout."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    site = tmp_path / "env" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(*words: str) -> str:
        done = subprocess.run([python, "-I", "-m", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert __version__ in run("runner", "--version")
    assert run("runner", "schema") == (ROOT / "schemas" / "plan.schema.json").read_text()
    (tmp_path / "backup.yml").write_text("backup:\n  path: ./backups\n  format: sql\n")
    run("runner", "validate", "backup.yml")
    assert "`when:` replaces the default" in run("runner", "help", "guards")


# ------------------------------------------------------------------ the files around it


def test_pins_have_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [\w .'<>=!]+)?", line) for line in lines)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for wanted in [*project["dependencies"], *extras["dev"], *extras["embedded"]]:
        name = re.match(r"[\w.-]+", wanted)
        assert name and name[0].lower().replace("_", "-") in pinned, f"make constraints: {wanted}"


def test_the_pre_commit_hooks_find_plans() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["entry"] for hook in hooks] == ["planrun fmt", "planrun validate", "planrun lint"]
    for hook in hooks:
        for path, meant in (("plans/a.yml", True), ("db/plans/steps/a.yaml", True), ("myplans/a.yml", False)):
            assert bool(re.search(hook["files"], path)) is meant
