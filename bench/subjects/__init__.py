"""What is measured, each subject in a module of its own."""

from __future__ import annotations

from typing import Any

from bench.subject import Subject
from bench.subjects import backup, catch_up, one_table, prepare, scale, stall, startup, swap, tiny, verify

SUBJECTS: list[Subject[Any]] = [
    startup.SUBJECT,
    backup.SUBJECT,
    verify.SUBJECT,
    prepare.SUBJECT,
    one_table.SUBJECT,
    tiny.SUBJECT,
    swap.SUBJECT,
    stall.SUBJECT,
    catch_up.SUBJECT,
    scale.SUBJECT,
]
