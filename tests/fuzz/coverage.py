"""python -m tests.fuzz.coverage NAME [-runs=N]: atheris draws the numbers that inputs are made of, led by coverage.

Only where atheris is installed, which nothing here depends on. It ends at the first fault.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from random import Random


class Drawn(Random):
    """Random numbers that are read from bytes, and zeros behind their end: near bytes make near inputs."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        super().__init__(0)

    def getrandbits(self, bits: int, /) -> int:
        size = (bits + 7) // 8
        taken = self._data[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(taken, "little") & ((1 << bits) - 1)

    def random(self) -> float:
        return self.getrandbits(24) / 2**24


def main(argv: Sequence[str]) -> int:
    """Let atheris look for inputs until one is a fault. `argv`: the target, then options of libFuzzer."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed here: pip install atheris, or python -m tests.fuzz", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["runner"]):
        from tests.fuzz import running, targets

    target = next(one for one in targets.ALL if one.name == argv[0])

    def one(data: bytes) -> None:
        found = running.try_one(target, target.make(Drawn(data)))
        if found.faults:
            raise AssertionError(found.line)

    atheris.Setup([sys.argv[0], "-max_len=400", *argv[1:]], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["yaml"]))
