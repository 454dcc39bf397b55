"""Walk a plan, drive the walk, answer its turns; diff, apply, resume and render are drivers of one walk."""

from runner.engine.acting import At, Hands, acting, keyed
from runner.engine.drive import Drive, drive, in_the_way, unasked, would
from runner.engine.walk import Walk, acts, changes, view, walk

__all__ = [
    "At",
    "Drive",
    "Hands",
    "Walk",
    "acting",
    "acts",
    "changes",
    "drive",
    "in_the_way",
    "keyed",
    "unasked",
    "view",
    "walk",
    "would",
]
