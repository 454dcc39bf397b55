"""A metrics file: Prometheus text for node_exporter's textfile collector. The only module that uses prometheus_client.

Several plans may write into one file or folder: each replaces its own samples and leaves those of the others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runner import files
from runner.errors import TargetError, UsageError
from runner.monitoring.families import FAMILIES, Family, Owner, Sample

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

SUFFIX = ".prom"
INSTALL = "pip install 'planrun[metrics]'"
_READABLE = 0o644
"""Rights of the file: node_exporter runs as another user."""
_PATIENCE = 5.0
"""Seconds to wait for another planrun that writes into the same folder, which takes milliseconds."""
_LARGEST = 16 << 20


@dataclass
class Content:
    """What a metrics file holds. others: metrics of a newer planrun, which this one passes on."""

    samples: list[Sample] = field(default_factory=list)
    others: dict[str, Family] = field(default_factory=dict)


# ------------------------------------------------------------------ what is refused before a run begins


def refuse_without_library() -> None:
    """Raise UsageError if the extra `metrics` is not installed."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise UsageError(
            "metrics need the package prometheus_client, which is not installed", hint=INSTALL, code="PR1125"
        )


def place(target: str, plan: str) -> Path:
    """Return the file for a plan: `target`, or one named after the plan if that is a folder. Raises UsageError."""
    path = Path(target).absolute()
    if path.is_dir():
        return path / f"planrun-{re.sub(r'[^A-Za-z0-9_.-]', '_', plan)}{SUFFIX}"
    if path.suffix != SUFFIX:
        raise UsageError(
            f"{target} is no folder, and no name that node_exporter reads",
            hint=f"name a folder that exists, or a file that ends in {SUFFIX}",
            code="PR1126",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"{target}: there is no folder {path.parent}",
            hint=f"mkdir -p {shlex.quote(str(path.parent))}",
            code="PR1126",
        )
    return path


def refuse_conflict(path: Path, owner: Owner) -> None:
    """Raise UsageError if the samples of a plan would take the place of those of another one, or exist twice.

    node_exporter gives no metrics of any file when two files have the same sample.
    """
    if path.exists() and not _is_ours(path):
        raise UsageError(
            f"{path} holds metrics of another program, or no metrics",
            hint=f"name another file, or remove it: rm {shlex.quote(str(path))}",
            code="PR1127",
        )
    for other in sorted({path, *path.parent.glob(f"*{SUFFIX}")}):
        for one in _samples_of_info(other):
            if one.label("plan") == owner.plan:
                _refuse_other_file(other, path, one.label("file"), owner)


def _refuse_other_file(found: Path, path: Path, file: str, owner: Owner) -> None:
    if file != owner.file and Path(file).is_file():
        raise UsageError(
            f"another plan of the name {owner.plan}, {file}, has its metrics in {found}",
            hint=f"give one of them another `name:`, or another folder; if it does not run any more: "
            f"rm {shlex.quote(str(found))}",
            code="PR1128",
        )
    if found != path:
        raise UsageError(
            f"the metrics of plan {owner.plan} are already in {found}: node_exporter refuses samples that exist twice",
            hint=f"write into that file, or remove it: rm {shlex.quote(str(found))}",
            code="PR1128",
        )


def _samples_of_info(path: Path) -> list[Sample]:
    with contextlib.suppress(TargetError, ValueError):
        return [one for one in read(path).samples if one.name == "planrun_info"]
    return []


def _is_ours(path: Path) -> bool:
    with contextlib.suppress(TargetError, ValueError):
        content = read(path)
        return all(one.name.startswith("planrun_") for one in content.samples)
    return False


# ------------------------------------------------------------------ reading and writing


def read(path: Path) -> Content:
    """Return what a metrics file holds; nothing if it does not exist. Raises TargetError, ValueError if it is no
    Prometheus text."""
    try:
        with files.open_plain(path) as file:
            text = file.read(_LARGEST).decode()
    except FileNotFoundError:
        return Content()
    except OSError as exc:
        raise TargetError(f"cannot read it: {exc.strerror or exc}", where=str(path), code="PR1127") from exc
    return parse(text)


def parse(text: str) -> Content:
    """Parse Prometheus text. Raises ValueError."""
    from prometheus_client.parser import text_string_to_metric_families

    content = Content()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            content.samples.append(Sample(one.name, tuple(one.labels.items()), one.value))
            if one.name not in FAMILIES:
                content.others[one.name] = Family(family.type, family.documentation)
    return content


def update(path: Path, change: Callable[[list[Sample]], list[Sample]]) -> None:
    """Replace the samples of a file by what `change` makes of them. Readers see the old or the new file.

    Raises TargetError; ValueError if something else has written the file.
    """
    with _lock(path.parent):
        content = read(path)
        content.samples = change(content.samples)
        files.write_text(path, as_text(content), mode=_READABLE)


def as_text(content: Content) -> bytes:
    """Return Prometheus text: each metric once, with HELP and TYPE."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterable[Metric]:
            return _metrics(content)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _metrics(content: Content) -> Iterator[Metric]:
    from prometheus_client.metrics_core import Metric

    for name, family in {**FAMILIES, **content.others}.items():
        samples = [one for one in content.samples if one.name == name]
        metric = Metric(name.removesuffix("_total") if family.kind == "counter" else name, family.help, family.kind)
        for one in samples:
            metric.add_sample(name, dict(one.labels), one.value)
        if samples:
            yield metric


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other processes of planrun from writing into a folder. Raises TargetError if one does so for too long."""
    with files.translate_errors("write in the folder", folder):
        fd = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while not files.try_lock(fd):
            if time.monotonic() > end:
                raise TargetError("another process holds the lock of this folder", where=str(folder), code="PR1127")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)
