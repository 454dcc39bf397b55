"""The checks of a release. Each returns what it found, raises Fault if it fails, or Skip if it cannot be made here.

A check gets a folder of the whole checklist: `dist/` in it is built by the first check that needs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.version import __version__
from tests.release import licences

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"
"""SOURCE_DATE_EPOCH of the two builds; any fixed second does."""


class Fault(Exception):
    """A check failed; the text says why."""


class Skip(Exception):
    """A check cannot be made on this machine; the text says what is missing."""


def run(*argv: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None, wanted: int = 0) -> str:
    """Run a program and return its stdout. Raises Fault with the end of its output if its exit code is another."""
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True
    )
    if done.returncode != wanted:
        said = (done.stdout + done.stderr).strip().splitlines()[-8:]
        raise Fault(f"{Path(str(argv[0])).name} ended with {done.returncode}: " + " | ".join(said))
    return done.stdout


# ------------------------------------------------------------------ the repository


def clean_tree(folder: Path) -> str:
    if found := run("git", "status", "--porcelain").splitlines():
        raise Fault(f"{len(found)} files are not committed: {found[0].strip()}")
    return run("git", "rev-parse", "--short", "HEAD").strip()


def version(folder: Path) -> str:
    """The version has a dated section in the changelog, nothing is left under Unreleased, and no tag has it yet."""
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$", text, re.MULTILINE)
    released = dict(one for one in headings if one[0] != "Unreleased")
    if not released.get(__version__):
        raise Fault(f"CHANGELOG.md has no section `## [{__version__}] - DATE`")
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if unreleased and re.search(r"^- ", unreleased[1], re.MULTILINE):
        raise Fault("CHANGELOG.md has entries under Unreleased")
    tag = f"v{__version__}"
    if run("git", "tag", "--list", tag).strip() and run("git", "rev-list", "-1", tag) != run(
        "git", "rev-parse", "HEAD"
    ):
        raise Fault(f"the tag {tag} is on another commit")
    return f"{__version__} of {released[__version__]}"


def generated_files(folder: Path) -> str:
    run("make", "--no-print-directory", "lint-generated")
    return "schemas, docs/reference.md and docs/errors.md are up to date"


def licence_list(folder: Path) -> str:
    if found := licences.problems():
        raise Fault("; ".join(found))
    return f"{len(licences.required_by('planrun'))} required packages, none with the GPL"


# ------------------------------------------------------------------ the files that are published


def dist(folder: Path) -> tuple[Path, Path]:
    """Return the wheel and the sdist, built with `python -m build` when they are not there yet."""
    made = folder / "dist"
    if not made.exists():
        _build(made)
    (wheel,), (sdist,) = made.glob("*.whl"), made.glob("*.tar.gz")
    return wheel, sdist


def _build(to: Path) -> None:
    run(sys.executable, "-m", "build", "--outdir", to, ROOT, env={"SOURCE_DATE_EPOCH": EPOCH})


def reproducible(folder: Path) -> str:
    """Two builds give the same bytes, the second one of a copy of the checkout at another place."""
    first = dist(folder)
    copy = folder / "copy"
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, files):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--outdir", folder / "again", copy, env={"SOURCE_DATE_EPOCH": EPOCH})
    for one in first:
        if one.read_bytes() != (folder / "again" / one.name).read_bytes():
            raise Fault(f"two builds of {one.name} differ")
    return " and ".join(one.name for one in first)


def twine(folder: Path) -> str:
    run(sys.executable, "-m", "twine", "check", "--strict", *dist(folder))
    return "metadata and README"


def only_our_names(folder: Path) -> str:
    names = {name.partition("/")[0] for name in zipfile.ZipFile(dist(folder)[0]).namelist()}
    if names != {"runner", f"planrun-{__version__}.dist-info"}:
        raise Fault(f"the wheel has {', '.join(sorted(names))}")
    return "the wheel has runner/ and nothing else"


# ------------------------------------------------------------------ installed


def pip(folder: Path) -> str:
    wheel, sdist = dist(folder)
    for name, given in (("wheel", f"{wheel}[metrics]"), ("sdist", str(sdist))):
        python = folder / f"pip-{name}" / "bin" / "python"
        run(sys.executable, "-m", "venv", python.parents[1])
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", given)
        _try(folder / f"pip-{name}", python.parent / "planrun")
    return "wheel with metrics, and sdist"


def pipx(folder: Path) -> str:
    home = folder / "pipx"
    env = {"PIPX_HOME": str(home), "PIPX_BIN_DIR": str(home / "bin"), "PIPX_MAN_DIR": str(home / "man")}
    env["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
    run(sys.executable, "-m", "pipx", "install", "--python", sys.executable, dist(folder)[0], env=env)
    _try(home, home / "bin" / "planrun")
    return "wheel"


def uv(folder: Path) -> str:
    program = Path(sys.executable).with_name("uv")
    if not program.exists():
        raise Skip("uv is not in this environment: make .venv/.release")
    home = folder / "uv"
    env = {
        "UV_TOOL_DIR": str(home / "tools"),
        "UV_TOOL_BIN_DIR": str(home / "bin"),
        "UV_CACHE_DIR": str(home / "cache"),
    }
    options = ("--python", sys.executable, "--constraints", str(ROOT / "constraints.txt"))
    run(program, "tool", "install", *options, dist(folder)[0], env=env)
    _try(home, home / "bin" / "planrun")
    return "wheel, with uv tool install"


def _try(folder: Path, planrun: Path) -> None:
    """Use an installed planrun where there is no checkout: its version, its first plan, and the data in the wheel."""
    work = folder / "work"
    work.mkdir()
    env = {"PYTHONPATH": "", "PLANRUN_STATE_DIR": str(work / "state")}
    if (said := run(planrun, "--version", cwd=work, env=env).strip()) != f"planrun, version {__version__}":
        raise Fault(f"the installed program says {said!r}")
    run(planrun, "init", cwd=work, env=env)
    run(planrun, "validate", "backup.yml", cwd=work, env=env)
    run(planrun, "validate", "nothing.yml", cwd=work, env=env, wanted=5)
    for shell in ("bash", "zsh", "fish"):
        run(planrun, "completion", shell, cwd=work, env=env)
    if run(planrun, "schema", cwd=work, env=env) != (ROOT / "schemas" / "plan.schema.json").read_text():
        raise Fault("the installed schema is another one")


# ------------------------------------------------------------------ the image


def dockerfile(folder: Path) -> str:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        raise Skip("hadolint is not in this environment: make .venv/.release")
    run(program, ROOT / "Dockerfile")
    return "hadolint has no finding"


def image(folder: Path) -> str:
    done = subprocess.run([ROOT / ".ci" / "image"], capture_output=True, text=True)
    if done.returncode == 77:
        raise Skip("no Docker or podman engine answers here")
    if done.returncode:
        raise Fault(" | ".join((done.stdout + done.stderr).strip().splitlines()[-5:]))
    return done.stdout.strip().splitlines()[-1]


ALL: Mapping[str, Callable[[Path], str]] = {
    "clean tree": clean_tree,
    "version": version,
    "generated files": generated_files,
    "licences": licence_list,
    "reproducible build": reproducible,
    "twine": twine,
    "names in the wheel": only_our_names,
    "pip": pip,
    "pipx": pipx,
    "uv": uv,
    "Dockerfile": dockerfile,
    "image": image,
}
