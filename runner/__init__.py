"""planrun: run PostgreSQL operations from reviewed YAML plans, with a diff before and guards between the steps.

    from runner import load_plan, diff, apply

    plan = load_plan("plans/backup.yml", set={"backup.path": "/srv/backups"})
    for step in diff(plan).steps:
        print(step.path, step.state, step.message)
    result = apply(plan, confirm=lambda question: True)
    assert result.ok, result.error

The functions take values, return a result object and print nothing. See runner.api for each function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api import apply, diff, load_plan, rehearse, rollback
    from runner.result import RunResult

__version__ = "0.1.0"
__all__ = ["RunResult", "__version__", "apply", "diff", "load_plan", "rehearse", "rollback"]


def __getattr__(name: str) -> Any:
    """Import the API on first use: `planrun --help` must not pay for it."""
    if name in __all__:
        from runner import api, result

        return getattr(result if name == "RunResult" else api, name)
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
