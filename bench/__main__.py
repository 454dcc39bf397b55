"""Measure planrun beside what does the same job without it. Nothing here is a test."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from bench import compare, readme, results
from bench.place import place
from bench.subject import Subject, measure_subject
from bench.subjects import SUBJECTS

PAIRS = 5
MAJOR = 15  # pgcopydb of Debian knows no newer one


def main(argv: list[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    given.act(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subject in SUBJECTS:
        about = subject.about.strip()
        command = commands.add_parser(
            subject.name,
            help=about.splitlines()[0],
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(act=_measure, subjects=[subject])
        _add_options(command)
        command.add_argument("--quick", action="store_true", help="small data and one pair; no result is kept")
        for name, value in subject.numbers().items():
            many = isinstance(value, tuple)
            shown = " ".join(map(str, value)) if many else value
            command.add_argument(
                f"--{name.replace('_', '-')}",
                type=int,
                nargs="+" if many else None,
                metavar="N",
                help=f"{shown} unless given",
            )
    command = commands.add_parser("all", help="every subject, each with a server of its own")
    command.set_defaults(act=_measure, subjects=SUBJECTS, quick=False)
    _add_options(command)
    commands.add_parser("compare", help="the change against the results of the last commit").set_defaults(
        act=lambda _: print(compare.report(results.read(), compare.committed_results()))
    )
    commands.add_parser("table", help="write the table of README.md").set_defaults(act=lambda _: readme.write())
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--pairs", type=int, help=f"how many rounds of planrun and its peers ({PAIRS})")
    command.add_argument("--major", type=int, default=MAJOR, help=f"version of the server, if it is here ({MAJOR})")
    command.add_argument("--note", default="", help="what readers must know of the circumstances; kept in the result")


def _measure(given: argparse.Namespace) -> None:
    for subject in given.subjects:
        began = time.monotonic()
        _measure_one(subject, given)
        print(f"{subject.name}: {time.monotonic() - began:.0f} s in all\n", file=sys.stderr)


def _measure_one(subject: Subject[Any], given: argparse.Namespace) -> None:
    words = {name: getattr(given, name, None) for name in subject.numbers()}
    size = subject.size(given.quick, **{k: tuple(v) if isinstance(v, list) else v for k, v in words.items()})
    pairs = given.pairs or (1 if given.quick else PAIRS)
    with place(given.major) as where:
        result = measure_subject(subject, where, size, pairs, given.note)
    if not given.quick:
        results.keep(result)


if __name__ == "__main__":
    main()
