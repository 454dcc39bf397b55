"""Decide whether a diff may be saved, and whether a saved one still fits this plan and these databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from runner import __version__
from runner.errors import StaleError, UsageError
from runner.model import Plan, command
from runner.planfile import open_plan
from runner.redact import MARK, Redactor
from runner.report import results
from runner.result import RunResult
from runner.run.saved_plan import SavedPlan, digests


def refuse_secret_sets(plan: Plan, redactor: Redactor) -> None:
    """Raise UsageError if a `--set` word contains a secret: the file must not keep it, so it could not be applied."""
    if any(one.endswith(f"={MARK}") for one in plan.sets) or redactor.of(plan.sets) != plan.sets:
        raise UsageError(
            "planrun does not save a diff whose --set words contain a secret: the file would have to contain it",
            hint="read it from the environment, in the plan: ${env.NAME}",
            code="PR0510",
        )


def pages(result: RunResult) -> dict[str, str]:
    """Return the diff as text in each form that `show` prints."""
    forms = {form: results.render(result, form) for form in ("text", "markdown", "github", "junit")}
    return {**forms, "verbose": results.render(result, "text", verbose=True)}


def plan_of(saved: SavedPlan, file: str, env: Mapping[str, str]) -> Plan:
    """Return the plan of a saved diff as its file is now. Raises StaleError for another planrun or a missing file."""
    if saved.version != __version__:
        raise StaleError(
            f"{file} is stale: planrun {saved.version} saved it, and this is planrun {__version__}",
            hint=f"save it again: {diff_again(saved, file)}",
            code="PR0508",
        )
    if not Path(saved.file).is_file():
        raise StaleError(
            f"the plan of {file} is not here: {saved.file}",
            hint="type the command in the folder where the diff was made",
            code="PR0508",
        )
    return open_plan(Path(saved.file), sets=saved.sets, env=env)


def diff_again(saved: SavedPlan, file: str) -> str:
    """Return the command that saves this diff again."""
    return command(saved.file, saved.sets, "diff", *_options(saved), "--out", file)


def resume(saved: SavedPlan) -> str:
    """Return the command that resumes the run that a saved plan began."""
    until = ("--until", saved.until) if saved.until else ()
    return command(saved.file, saved.sets, "apply", "--resume", *until)


def _options(saved: SavedPlan) -> Iterator[str]:
    yield from ("--until", saved.until) if saved.until else ()
    yield from ("--resume",) if saved.resume else ()
    yield from ("--accept", saved.accept) if saved.accept else ()


# ------------------------------------------------------------------ what is otherwise


def other_plan(saved: SavedPlan, plan: Plan, redactor: Redactor) -> Iterator[str]:
    """Yield the files and texts of the plan that changed since the diff."""
    if saved.digest == plan.digest:
        return
    then, now = saved.content, digests(redactor.of(plan.content))
    changed = [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]
    for name in changed:
        how = "is part of the plan now" if name not in then else "is no longer part of the plan"
        yield f"{name}: {'changed since the diff' if name in then and name in now else how}"
    if not changed:
        yield "a value that is kept secret, in the params of the plan, changed since the diff"


def other_servers(saved: SavedPlan, identity: Callable[[str], Mapping[str, str]]) -> Iterator[str]:
    """Yield the connections that lead to another database, or use another role."""
    for name, then in saved.servers.items():
        now = identity(name)
        for word, what in _WORDS.items():
            if then.get(word) != now[word] and then.get(word) and now[word]:
                yield f"connection {name or 'target'}: {what} {then[word]} at the diff, {now[word]} now"


_WORDS = {
    "system": "a server with the system identifier",
    "database": "database",
    "oid": "a database with the OID",
    "role": "role",
}


def other_places(saved: SavedPlan, databases: Sequence[str]) -> Iterator[str]:
    """Yield the connections that lead to another address; the source of the address may change."""
    for then, now in zip(saved.databases, databases, strict=False):
        if _place(then) != _place(now):
            yield f"{_place(then)} at the diff, {_place(now)} now"


def _place(line: str) -> str:
    return line.partition(", from ")[0]
