"""planrun show: print a saved diff, without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import output_option, print_json, print_text
from runner.words import one_line, safe

if TYPE_CHECKING:
    from runner.run.saved_plan import SavedPlan


@click.command(epilog="Example: planrun show p.plan -v")
@click.argument("file", type=click.Path(dir_okay=False))
@output_option("text", "json", "markdown", "github", "junit")
@click.option("-v", "--verbose", is_flag=True, help="Show every table and the whole SQL.")
def command(file: str, output: str, verbose: bool) -> int:
    """Print the diff that `planrun diff --out FILE` saved. Runs nothing and needs no database."""
    from runner.run import saved_plan

    saved = saved_plan.read(file)
    if output == "json":
        print_json(_json(saved, verbose=verbose))
    elif output == "text":
        print_text(_head(saved) + saved.pages["verbose" if verbose else "text"], whole=verbose)
    else:
        print(safe(saved.pages[output]), end="")  # the file may come from anybody
    return 0


def _head(saved: SavedPlan) -> str:
    at = saved.saved[:19].replace("T", " ")
    words = [saved.file, *(f"--set {one}" for one in saved.sets), *([f"--until {saved.until}"] if saved.until else [])]
    resumed = f", to go on with run {saved.resume}" if saved.resume else ""
    return one_line(f"saved {at} UTC by planrun {saved.version}, of {' '.join(words)}{resumed}") + "\n"


def _json(saved: SavedPlan, *, verbose: bool) -> dict[str, Any]:
    told = {
        "at": saved.saved, "planrun": saved.version, "file": saved.file, "sets": list(saved.sets),
        "digest": saved.digest, "until": saved.until, "resume": saved.resume, "servers": saved.servers,
    }  # fmt: skip
    steps = saved.diff["steps"]
    if not verbose:
        steps = [{name: value for name, value in step.items() if name != "actions"} for step in steps]
    return {**saved.diff, "steps": steps, "saved": told}
