"""Handle an unexpected error, which is a bug in planrun: save the trace without values, and tell the user where."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runner import __version__
from runner.errors import PlanrunError
from runner.words import PLAN

EXIT_CODE = 70
CODE = "PR0999"


def report_bug(exc: Exception, args: Sequence[str]) -> int:
    """Save the trace (functions, lines and the error's type; its text and locals may contain data) and return 70."""
    from runner.cli.common import print_failure, wants_json, with_file

    place = _save(exc, args)
    look = with_file(f"planrun status {PLAN}", args)
    message = f"this is a bug in planrun ({type(exc).__name__}); the trace is in {place}"
    hint = f"look at the state of the run with `{look}`, and report the bug with that file"
    print(f"planrun: {message}\n  hint: {hint}", file=sys.stderr)
    if wants_json(args):
        print_failure({"message": message, "where": None, "hint": hint, "code": CODE, "exit_code": EXIT_CODE}, args)
    return EXIT_CODE


def _save(exc: Exception, args: Sequence[str]) -> Path:
    text = _text(exc, args)
    name = f"bug-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.txt"
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o600)
            return folder / name
        except OSError:
            continue
    print(text, file=sys.stderr)
    return Path("the lines above")


def _folders() -> list[Path]:
    from runner.journal.file import state_folder

    try:
        return [state_folder(os.environ) / "bugs", Path(tempfile.gettempdir())]
    except PlanrunError:
        return [Path(tempfile.gettempdir())]


def _text(exc: BaseException, args: Sequence[str]) -> str:
    command = next((arg for arg in args if not arg.startswith("-")), "")
    lines = [
        f"planrun {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {command}",
    ]
    cause: BaseException | None = exc
    while cause is not None:
        lines += [f"{type(cause).__module__}.{type(cause).__qualname__}"]
        frames = traceback.extract_tb(cause.__traceback__)
        lines += [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
        cause = cause.__cause__ or cause.__context__
    return "\n".join(lines) + "\n"
