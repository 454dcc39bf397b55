"""What is said when the server ended a transaction because this process stood still, whoever notices first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.database.standstill import Standstill
from runner.errors import TargetError

STOPPED = """
import os, signal
from runner.errors import TargetError
from runner.database.standstill import Standstill
with Standstill(0.2):
    os.kill(os.getpid(), signal.SIGSTOP)
    raise TargetError("whatever was noticed first", category="{}")
"""


def stop_and_continue(category: str) -> str:
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(category)], cwd=root, stderr=subprocess.PIPE, text=True
    )
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)  # longer than the limit: this is the time that it misses
    child.send_signal(signal.SIGCONT)
    return child.communicate(timeout=30)[1].splitlines()[-2]


@pytest.mark.parametrize("category", ["connection", "timeout"])
def test_a_process_that_was_stopped_says_so_whatever_was_noticed(category: str) -> None:
    assert "the server released its locks; nothing was changed" in stop_and_continue(category)


def test_other_errors_stay() -> None:
    with pytest.raises(TargetError, match="gone"), Standstill(60):
        raise TargetError("gone", category="connection")
    with pytest.raises(TargetError, match="unique"), Standstill(0):
        raise TargetError("unique")
