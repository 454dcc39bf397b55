"""python -m tests.crash: sweep plans by kinds of failure, and print how many points were tried and what was wrong.

python -m tests.crash --list
python -m tests.crash --plan backup --plan sql --kind target-coming --jobs 2
python -m tests.crash --plan refresh --kind file-kill --at 17      # one point, to look at
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.crash.kinds import KINDS, Kind
from tests.crash.stage import open_stage
from tests.crash.sweep import EVERY, Found, Sweep


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    if options.list:
        print("plans:", *EVERY, "\nkinds:", *KINDS)
        return 0
    plans = options.plan or [name for name, swept in EVERY.items() if not swept.slow]
    began = time.monotonic()
    work = [(options, plans, (share, options.jobs)) for share in range(options.jobs)]
    if options.jobs == 1:
        parts = [_worker(*work[0])]
    else:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_worker, *zip(*work, strict=True)))
    return _table(_merge(parts), time.monotonic() - began)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.splitlines()[0])
    parser.add_argument("--plan", action="append", choices=EVERY, help="only this plan; may be repeated")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind of failure; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="workers, each with a server of its own")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth point")
    parser.add_argument("--about", type=int, default=0, metavar="N", help="only about N points of each kind")
    parser.add_argument("--at", type=int, action="append", help="only this point; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the plans and kinds")
    parser.add_argument("--trace", action="store_true", help="only print the points")
    return parser.parse_args(argv)


def _worker(options: argparse.Namespace, plans: Sequence[str], share: tuple[int, int]) -> list[Found]:
    found = []
    with open_stage() as stage:
        for name in plans:
            try:
                sweep = Sweep(stage, EVERY[name], emit=_say)
            except AssertionError as exc:
                found.append(Found(name, "undisturbed", violations=[f"{name}: {exc}"]))
                _say(f"-- {name}: {exc}")
                continue
            if options.trace:
                for on, trace in sweep._traces[0].items():
                    print(*(f"{name} {on} {number}: {what}" for number, what in enumerate(trace, 1)), sep="\n")
                _say(f"{name}: drift {sweep.drift() or 'none'}")
                continue
            for kind in _kinds(options.kind, sweep):
                one = sweep.run(kind, numbers=options.at or (), every=options.every, about=options.about, share=share)
                _say(f"-- {name} {kind.name}: {one.swept} of {one.points} points in {one.seconds:.0f} s")
                found.append(one)
    return found


def _kinds(chosen: Sequence[str] | None, sweep: Sweep) -> list[Kind]:
    kinds = [KINDS[name] for name in chosen or KINDS]
    refreshes = "shadow_load" in sweep.swept.plan
    return [
        kind
        for kind in kinds
        if sweep.points(kind.on)
        and (kind.then != "abort" or refreshes)
        and (kind.then != "anew" or sweep.swept.again)
        and (kind.who in ("", "run") or sweep.used)
        and (kind.who != "autovacuum" or (sweep.used and sweep.used.vacuumed))
    ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _merge(parts: Sequence[Sequence[Found]]) -> list[Found]:
    merged: dict[tuple[str, str], Found] = {}
    for one in (one for part in parts for one in part):
        whole = merged.setdefault((one.plan, one.kind), Found(one.plan, one.kind, one.points))
        whole.swept += one.swept
        whole.seconds += one.seconds
        whole.violations += one.violations
    return list(merged.values())


def _table(found: Sequence[Found], seconds: float) -> int:
    print(f"{'PLAN':<10} {'KIND':<20} {'POINTS':>7} {'SWEPT':>7} {'SECONDS':>8} {'VIOLATIONS':>10}")
    for one in found:
        numbers = f"{one.points:>7} {one.swept:>7} {one.seconds:>8.0f} {len(one.violations):>10}"
        print(f"{one.plan:<10} {one.kind:<20} {numbers}")
    violations = [line for one in found for line in one.violations]
    print(f"{sum(one.swept for one in found)} points, {len(violations)} violations, {seconds:.0f} s")
    print(*violations, sep="\n")
    return 1 if violations else 0
