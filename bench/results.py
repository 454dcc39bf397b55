"""Results: what the samples say, as records, as JSON, and as lines for people."""

from __future__ import annotations

import dataclasses
import datetime
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import Machine
from bench.sample import Group, Samples, Way, quotients

FOLDER = Path(__file__).parent / "results"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class WayResult:
    """Medians of one way; `peak_mb` is the greatest, in 10^6 bytes."""

    name: str
    seconds: float
    client_cpu: float | None
    server_cpu: float | None
    peak_mb: float | None


@dataclass(frozen=True)
class Ratio:
    """How many times as long `of` takes as `to`, in rounds of both.

    `cpu` is the same of the CPU seconds of client and server together, which other work on the machine changes less;
    `memory` is the ratio of the peaks.
    """

    of: str
    to: str
    median: float
    least: float
    greatest: float
    cpu: float | None
    memory: float | None
    headline: bool


@dataclass(frozen=True)
class GroupResult:
    """`rounds` of this group; 0 in older results: as many as `pairs` of the result."""

    key: str
    title: str
    ways: tuple[WayResult, ...]
    ratios: tuple[Ratio, ...]
    rounds: int = 0


@dataclass(frozen=True)
class Result:
    """One run of one subject: `size` says how much data, `note` what a reader must know about the circumstances."""

    subject: str
    date: str
    machine: Machine
    note: str
    pairs: int
    size: dict[str, Any]
    groups: tuple[GroupResult, ...]

    def to_json(self) -> str:
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Raises ValueError when the text is of another version."""
        data = json.loads(text)
        if data.pop("format_version", None) != FORMAT_VERSION:
            raise ValueError(f"not a result of version {FORMAT_VERSION}; measure again")
        groups = tuple(
            GroupResult(
                group["key"],
                group["title"],
                tuple(WayResult(**way) for way in group["ways"]),
                tuple(Ratio(**ratio) for ratio in group["ratios"]),
                int(group.get("rounds", 0)),
            )
            for group in data.pop("groups")
        )
        return cls(**{**data, "machine": Machine(**data["machine"]), "groups": groups})


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def keep(result: Result, folder: Path = FOLDER) -> Path:
    """Write SUBJECT.json and return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{result.subject}.json"
    path.write_text(result.to_json())
    return path


def read(folder: Path = FOLDER) -> dict[str, Result]:
    """Return the results in a folder by subject."""
    found = (Result.from_json(path.read_text()) for path in sorted(folder.glob("*.json")))
    return {result.subject: result for result in found}


def summary(group: Group, samples: Samples) -> GroupResult:
    """Return the medians of each way and the ratios to its peers."""
    ways = tuple(
        WayResult(
            name,
            _round(statistics.median(one.seconds for one in each)),
            _median(one.client_cpu for one in each),
            _median(one.server_cpu for one in each),
            _round(max(peaks) / 1e6) if (peaks := [one.peak for one in each if one.peak is not None]) else None,
        )
        for name, each in samples.items()
    )
    ratios = tuple(_ratio(way, peer, samples) for way in group.ways for peer in way.peers)
    return GroupResult(group.key, group.title, ways, ratios, min(len(each) for each in samples.values()))


def lines(found: GroupResult) -> Sequence[str]:
    """Return a table of the ways and one of the ratios, for a terminal."""
    text = [f"\n{found.title}", "  seconds  CPU: client  server   peak MB"]
    for way in found.ways:
        text.append(
            f"{way.seconds:9.3f}  {_cell(way.client_cpu, 11, 2)}  {_cell(way.server_cpu, 6, 2)}  "
            f"{_cell(way.peak_mb, 8, 0)}  {way.name}"
        )
    for ratio in found.ratios:
        spread = f"({ratio.least:.2f}-{ratio.greatest:.2f})"
        others = f"CPU {_cell(ratio.cpu, 6, 2)}x  memory {_cell(ratio.memory, 5, 2)}x"
        text.append(f"{ratio.median:8.2f}x {spread:15} {others}  {ratio.of}  :  {ratio.to}")
    return text


def _ratio(way: Way, peer: str, samples: Samples) -> Ratio:
    ours, its = samples[way.name], samples[peer]
    middle, least, greatest = quotients([one.seconds for one in ours], [one.seconds for one in its])
    return Ratio(
        of=way.name,
        to=peer,
        median=_round(middle),
        least=_round(least),
        greatest=_round(greatest),
        cpu=_quotient(_median(one.cpu for one in ours), _median(one.cpu for one in its)),
        memory=_quotient(_median(one.peak for one in ours), _median(one.peak for one in its)),
        headline=peer in way.peers[: way.headlines],
    )


def _quotient(of: float | None, to: float | None) -> float | None:
    return _round(of / to) if of and to else None


def _median(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return _round(statistics.median(there)) if there else None


def _round(value: float) -> float:
    """Four digits: more would only be noise in the history of a file."""
    return float(f"{value:.4g}")


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
