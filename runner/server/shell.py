"""A shell of the user, in a folder and with an environment of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path


def open_shell(shell: str, folder: Path, env: Mapping[str, str]) -> int:
    """Run a shell until the user ends it; return its exit code.

    A Ctrl-C in the shell is for what runs there: planrun goes on waiting.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # the child must not inherit that a signal is ignored, as it would pass that on (POSIX, XCU 2.11)
        return subprocess.Popen([shell], cwd=folder, env=dict(env), restore_signals=True, preexec_fn=_listen).wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
