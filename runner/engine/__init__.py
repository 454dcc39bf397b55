"""Walk a plan, drive the walk, answer its planned steps. diff, apply, resume and render drive the same walk."""

from runner.engine.acting import At, Executor, apply_answer, with_keys
from runner.engine.drive import Drive, diff_answer, drive, in_the_way, render_answer
from runner.engine.walk import Approved, Walk, acts, changes, view, walk

__all__ = [
    "Approved",
    "At",
    "Drive",
    "Executor",
    "Walk",
    "acts",
    "apply_answer",
    "changes",
    "diff_answer",
    "drive",
    "in_the_way",
    "render_answer",
    "view",
    "walk",
    "with_keys",
]
