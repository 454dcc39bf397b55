"""Walk a plan, drive the walk, answer its planned steps. diff, apply, resume and render drive the same walk."""

from runner.engine.acting import At, Executor, apply_answer, with_keys
from runner.engine.drive import Drive, diff_answer, drive, in_the_way, render_answer
from runner.engine.walk import Answer, Approved, HookBlock, Walk, acts, changes, failure, outputs_of, view, walk

__all__ = [
    "Answer",
    "Approved",
    "At",
    "Drive",
    "Executor",
    "HookBlock",
    "Walk",
    "acts",
    "apply_answer",
    "changes",
    "diff_answer",
    "drive",
    "failure",
    "in_the_way",
    "outputs_of",
    "render_answer",
    "view",
    "walk",
    "with_keys",
]
