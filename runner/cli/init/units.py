"""A systemd service that applies a plan, and the timer that starts it (systemd.service(5), systemd.timer(5))."""

from __future__ import annotations

import getpass
from collections.abc import Mapping

from runner.cli.init.answers import Answers
from runner.cli.init.workflows import secrets
from runner.cli.program_name import program_words


def unit_texts(answers: Answers) -> Mapping[str, str]:
    """Return the texts of the service and of the timer, by the names of the files."""
    name = unit_name(answers)
    return {f"{name}.service": _service(answers), f"{name}.timer": _timer(answers)}


def unit_name(answers: Answers) -> str:
    return f"planrun-{answers.name}".replace("_", "-")


def environment_file(answers: Answers) -> str:
    return f"/etc/planrun/{answers.name}.env"


def _service(answers: Answers) -> str:
    words = [*program_words(), "apply", str(answers.file.absolute()), "--yes"]
    return f"""\
[Unit]
Description=planrun apply {_escape(answers.name)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={_escape(getpass.getuser())}
WorkingDirectory={_escape(str(answers.start))}
# Lines such as {secrets(answers)[0]}=postgresql://USER@HOST/DATABASE; a file that only root may read (chmod 600).
EnvironmentFile=-{environment_file(answers)}
ExecStart={" ".join(map(quote, words))}
# planrun gets the signal alone, ends its programs itself and rolls back.
KillMode=mixed
TimeoutStopSec=2min
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
"""


def _timer(answers: Answers) -> str:
    return f"""\
[Unit]
Description=planrun apply {_escape(answers.name)}, every night

[Timer]
OnCalendar=*-*-* {answers.at}:00
RandomizedDelaySec=5min
# a night that the machine slept through is made up for
Persistent=true

[Install]
WantedBy=timers.target
"""


def _escape(text: str) -> str:
    """Return a text in which systemd replaces nothing (systemd.unit(5), specifiers)."""
    return text.replace("%", "%%")


def quote(text: str) -> str:
    """Return one word of a command line (systemd.service(5), command lines)."""
    escaped = _escape(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"\\';") else escaped
