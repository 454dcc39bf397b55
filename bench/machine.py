"""The machine that figures come from; nothing that names a host, a user or a folder."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """`memory_gb` is in 2^30 bytes; `load` is the load average of one minute when the measurement began."""

    cores: int
    memory_gb: int
    system: str
    kernel: str
    python: str
    postgresql: str
    load: float

    def __str__(self) -> str:
        return (
            f"{self.cores} cores, {self.memory_gb} GB, {self.system} {self.kernel}, Python {self.python}, "
            f"PostgreSQL {self.postgresql}"
        )


def describe(postgresql: str) -> Machine:
    """Return this machine, with the version of the PostgreSQL that is measured."""
    release = re.match(r"[\d.]*\d", platform.release())  # the rest may be a name that somebody gave it
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=platform.system(),
        kernel=release[0] if release else "",
        python=platform.python_version(),
        postgresql=postgresql,
        load=round(os.getloadavg()[0], 2),
    )
