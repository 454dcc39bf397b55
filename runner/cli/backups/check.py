"""planrun backups check: one line for a monitor, whether the newest good session is good and young enough."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import about, output_option, plan_argument, print_json, print_text, read_plan, set_option
from runner.errors import UsageError, VerifyError
from runner.units import duration

if TYPE_CHECKING:
    from runner.monitoring.session_check import SessionCheck
    from runner.monitoring.sessions import SessionMeasures


def _seconds(context: click.Context, param: click.Parameter, value: str) -> float:
    try:
        return duration(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), context, param) from exc


@click.command(
    short_help="Tell a monitor how old the newest good session is.",
    epilog="\b\nExamples:\n  planrun backups check plans/backup.yml --max-age 26h\n"
    "  planrun backups check plans/backup.yml --max-age 8d --min-level 3",
)
@plan_argument
@set_option
@click.option("--max-age", callback=_seconds, required=True, metavar="TIME", help="Such as 26h or 8d.")
@click.option(
    "--min-level", type=click.IntRange(0, 3), default=0, show_default=True,
    help="Only sessions count that backups verify has proved at this level or higher.",
)  # fmt: skip
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], max_age: float, min_level: int, output: str) -> int:
    """Print one line, as Nagios plugins do, and end with 0 or 6. No database is asked.

    6: no good session is young enough, or the newest session is damaged or was not finished, or one has a date in the
    future.
    """
    from runner.monitoring import session_check, sessions

    loaded = read_plan(plan, sets, offline=True)
    every = sessions.of_plan(loaded)
    if every is None:
        raise UsageError(
            f"{loaded.file} has no step that makes backup sessions",
            hint="name the plan whose steps use backup or pg_dump",
            code="PR0603",
        )
    now = datetime.now(UTC)
    found = session_check.check(every, now, max_age=max_age, min_level=min_level)
    measures = sessions.measure(every, now)
    code = 0 if found.ok else VerifyError.exit_code
    if output == "json":
        data = _as_json(found, measures, max_age, min_level)
        print_json({**about(loaded, state="ok" if found.ok else "failed"), "exit_code": code, **data})
    else:
        print_text(_line(found, measures, max_age, min_level))
    return code


def _line(found: SessionCheck, measures: SessionMeasures, max_age: float, min_level: int) -> str:
    """Return `OK - ... | age=..s;;93600`, as https://nagios-plugins.org/doc/guidelines.html writes it."""
    from runner.words import one_line

    told = "; ".join((*found.problems, *((_good_text(found),) if found.ok else ()), *found.notes))
    # a bar would begin the numbers
    head = one_line(f"{'OK' if found.ok else 'CRITICAL'} - {told}").replace("|", "/")
    return f"{head} | {' '.join(_numbers(found, measures, max_age, min_level))}\n"


def _good_text(found: SessionCheck) -> str:
    from runner.words import plural, seconds, size

    good = found.good
    assert good is not None and found.age is not None  # otherwise there is a problem
    level = f"verified at level {good.verified}" if good.verified else "not verified"
    what = f"{plural(good.tables, 'table')}, {plural(good.rows, 'row')}, {size(good.bytes)}"
    return f"newest good session {good.name} is {seconds(found.age)} old, {level}: {what}"


def _numbers(found: SessionCheck, measures: SessionMeasures, max_age: float, min_level: int) -> list[str]:
    good, counts = found.good, measures.counts
    numbers = [f"age={found.age:.0f}s;;{max_age:.0f};0"] if found.age is not None else []
    if good is not None:
        level = f"level={good.verified};;{min_level}:;0;3" if min_level else f"level={good.verified};;;0;3"
        numbers += [f"size={good.bytes}B;;;0", f"rows={good.rows};;;0", level]
    return [*numbers, f"sessions={counts['complete']};;;0", f"damaged={counts['damaged']};;;0"]


def _as_json(found: SessionCheck, measures: SessionMeasures, max_age: float, min_level: int) -> dict[str, Any]:
    good = found.good
    session = good and {
        "name": good.name,
        "taken": good.taken.isoformat() if good.taken else None,
        "age_seconds": found.age,
        "verified": good.verified,
        "tables": good.tables,
        "rows": good.rows,
        "bytes": good.bytes,
    }
    return {
        "status": "OK" if found.ok else "CRITICAL",
        "max_age_seconds": max_age,
        "min_level": min_level,
        "session": session,
        "problems": list(found.problems),
        "notes": list(found.notes),
        "counts": dict(measures.counts),
        "bytes": measures.bytes,
    }
