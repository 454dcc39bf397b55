"""python -m tests.fuzz: bad input at scale, each target in a process of its own, so that a crash is reported, too."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.fuzz import alone, targets


def main(argv: Sequence[str] | None = None) -> int:
    """Run the targets; return 1 when one of them found a fault."""
    given = _arguments().parse_args(argv)
    chosen = [one for one in targets.ALL if given.target in (None, one.name)]
    print(f"seed {given.seed}; one input again: --target NAME --seed {given.seed} --first NUMBER --runs 1", flush=True)
    began, found = time.monotonic(), []
    for target, runs in targets.shares(given.runs, chosen):
        found.append(alone.run(target, runs, given.seed, given.first))
        print(found[-1].line, flush=True)
    print(f"{sum(one.inputs for one in found):,} inputs in {(time.monotonic() - began) / 60:.1f} minutes")
    return int(any(one.faults for one in found))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs over all targets (default 100,000)")
    parser.add_argument("--target", choices=[target.name for target in targets.ALL], help="only this one")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed gives the same inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    return parser


if __name__ == "__main__":
    sys.exit(main())
