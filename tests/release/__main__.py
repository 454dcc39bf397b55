"""python -m tests.release: the checks of docs/releasing.md, a line for each; ends non-zero if one fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.release import checks
from tests.release.checks import Fault, Skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks; return 1 if one failed. A check that cannot be made here is told, and counts as failed with
    --all."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK", help=f"only these: {', '.join(checks.ALL)}")
    parser.add_argument("--all", action="store_true", help="a check that cannot be made here is a failure")
    given = parser.parse_args(argv)
    if unknown := set(given.names) - set(checks.ALL):
        parser.error(f"no check {', '.join(sorted(unknown))}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="planrun-release-") as folder:
        for name in given.names or checks.ALL:
            failed += not _passes(name, Path(folder), strict=given.all)
    print(f"{failed} failed" if failed else "all ok")
    return 1 if failed else 0


def _passes(name: str, folder: Path, *, strict: bool) -> bool:
    began = time.monotonic()
    try:
        told = checks.ALL[name](folder)
        word, good = "ok", True
    except Skip as exc:
        word, told, good = "not tried", str(exc), not strict
    except Fault as exc:
        word, told, good = "FAILED", str(exc), False
    print(f"{word:9}  {name}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
