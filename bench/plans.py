"""The plans that several subjects run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def write(file: Path, text: str) -> Path:
    """Write a plan and return its file."""
    file.write_text(text)
    return file


def steps(count: int) -> str:
    """Return a plan of so many steps: queries, SQL and guards, as a long plan has them."""
    lines = [f"name: steps_{count}", "steps:"]
    for n in range(count):
        guard = f", when: s{n - 1}.ok" if n % 3 else ""
        kind = "query" if n % 2 else "sql"
        lines.append(f'  - {{id: s{n}{guard}, uses: {kind}, with: {{text: "select {n} as n"}}}}')
    return "\n".join(lines) + "\n"


def backup(folder: str, form: str) -> str:
    """Return a plan that saves the tables whose names begin with `t`; one session is kept, so no disk gets full."""
    words = f"path: ./{folder}, prefix: t, format: {form}, compress: false, keep_last: 1, retention_days: 0"
    return f"backup: {{{words}}}\n"


def refresh(preserved: Sequence[str] = (), checksums: bool = True) -> str:
    """Return a plan that replaces the tables of `target` by those of `source`."""
    return f"""\
name: refresh
connections: {{source: {{}}, target: {{}}}}
steps:
  - id: prepare
    steps:
      - {{id: load, uses: shadow_load, with: {{from: source, checksums: {json.dumps(checksums)}}}}}
      - {{id: sync, uses: shadow_sync, with: {{tables: {json.dumps(list(preserved))}}}}}
      - {{id: check, uses: shadow_verify, with: {{level: {"checksum" if checksums else "counts"}}}}}
  - {{id: cleanup, when: prepare.ok, uses: drop_backup_set}}
  - {{id: swap, when: prepare.ok, uses: swap_tables}}
"""
