"""What a user installs: one top-level package with its data inside, built the way pip builds it."""

from __future__ import annotations

import os
import re
import shutil
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
from tests.release import __main__ as release
from tests.release import checks, licences

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, what is in it, and the wheel, built from the sdist and not from the checkout: a file
    missing there would be missing here."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)
    build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


def build(source: Path, target: str, to: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(to)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(argv, cwd=source, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_two_builds_at_two_places_have_the_same_bytes(dist: Path, wheel: Path, tmp_path: Path) -> None:
    (unpacked,) = (one for one in dist.iterdir() if one.is_dir())
    copy = shutil.copytree(unpacked, tmp_path / "copy", ignore=shutil.ignore_patterns("PKG-INFO"))
    build(copy, "sdist", tmp_path)
    build(ROOT, "wheel", tmp_path)
    (sdist,) = dist.glob("*.tar.gz")
    assert (tmp_path / sdist.name).read_bytes() == sdist.read_bytes()
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_twine_finds_nothing(dist: Path, wheel: Path) -> None:
    argv = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.glob("*.tar.gz")), str(wheel)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


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
    assert "compdef" in run("runner", "completion", "zsh")


# ------------------------------------------------------------------ the files around it


def test_pins_have_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [\w .'<>=!]+)?", line) for line in lines)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for wanted in [*project["dependencies"], *(one for name in extras for one in extras[name])]:
        name = re.match(r"[\w.-]+", wanted)
        assert name and name[0].lower().replace("_", "-") in pinned, f"make constraints: {wanted}"


def test_the_pre_commit_hooks_find_plans() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["entry"] for hook in hooks] == ["planrun fmt", "planrun validate", "planrun lint"]
    for hook in hooks:
        for path, meant in (
            *(("plans/a.yml", True), ("db/plans/steps/a.yaml", True), ("myplans/a.yml", False)),
            *(("backup.yml", True), ("tests/backup.yml", True), ("roles/backup.yml", False), ("mybackup.yml", False)),
        ):
            assert bool(re.search(hook["files"], path)) is meant


# ------------------------------------------------------------------ a release


def test_no_required_package_has_a_licence_that_planrun_must_not_need() -> None:
    required = licences.required_by("planrun")
    assert {"click", "psycopg", "psycopg-binary", "pyyaml", "markupsafe"} <= set(required)
    assert not [name for name, text in required.items() if licences._FORBIDDEN.search(text) or text == "unknown"]
    assert required["psycopg"] == "LGPL-3.0-only" and licences._FORBIDDEN.search("GPL-3.0-or-later")
    page = licences.PAGE.read_text()
    assert all(f"| {name} |" in page for name in required), "make licences"


def test_the_checklist_of_a_release_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "releasing.md").read_text()
    assert re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) == list(checks.ALL)


def test_a_check_that_fails_ends_the_checklist_non_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def skip(folder: Path) -> str:
        raise checks.Skip("no engine")

    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n- new\n")
    monkeypatch.setattr(checks, "ALL", {"version": checks.version, "image": skip})
    assert release.main([]) == 1
    said = capsys.readouterr().out
    assert re.match(rf"FAILED     version: CHANGELOG.md has no section `## \[{re.escape(__version__)}\] - DATE`", said)
    assert "not tried  image: no engine" in said and said.endswith("1 failed\n")
    (tmp_path / "CHANGELOG.md").write_text(f"## [Unreleased]\n\n- new\n\n## [{__version__}] - 2026-01-01\n\n- old\n")
    assert release.main(["version"]) == 1 and "entries under Unreleased" in capsys.readouterr().out
    (tmp_path / "CHANGELOG.md").write_text(f"## [Unreleased]\n\n## [{__version__}] - 2026-01-01\n\n- old\n")
    assert release.main(["version"]) == 0 and release.main(["image"]) == 0 and release.main(["--all", "image"]) == 1
    with pytest.raises(SystemExit):
        release.main(["nothing"])


def test_the_image_is_built_from_what_the_wheel_needs_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = {*config["only-include"], *config["shared-data"]}
    assert {f"COPY {name} {name}" for name in folders} <= set(text.splitlines())
    seen = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.search(r"^COPY (pyproject\.toml .*) \./$", text, re.MULTILINE)
    assert copied and seen == {*folders, *copied[1].split()}
    assert text.rindex("USER 10001") < text.rindex("ENTRYPOINT") and "HEALTHCHECK" in text
    assert all(f"postgresql-client-{major}" in text for major in range(14, 19))
