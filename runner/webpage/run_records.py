"""Read the facts of one run from its records. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from runner.journal import history
from runner.journal.records import Record
from runner.webpage.fields import Fields, mapping, moment, number, objects, text, texts
from runner.webpage.run_facts import Attempt, Done, RunFacts, StepFacts, Wait


def run_facts(records: Iterable[Record]) -> RunFacts | None:
    """Return the facts of one run from its records; None if it has not begun. Records of unknown shape are skipped."""
    found: RunFacts | None = None
    for record in records:
        if not history.is_known(record):
            continue
        if record["event"] == "run_began":
            found = found or RunFacts(id=record["run"])
            found.attempts.append(_attempt(len(found.attempts) + 1, record))
        elif found:
            _take(found, found.attempts[-1], record)
        if found:
            found.last = moment(record) or found.last
    return found


def _attempt(count: int, record: Fields) -> Attempt:
    return Attempt(number=count, mode=text(record, "mode"), began=moment(record), record=record)


def _take(run: RunFacts, attempt: Attempt, record: Record) -> None:
    match record["event"]:
        case "turn":
            _take_step(attempt, record)
        case "action_done" | "committing":
            _take_action(attempt, record)
        case "outcome":
            _take_outcome(attempt, record)
        case "waiting":
            _take_wait(attempt, record)
        case "wait_ended":
            _end_wait(attempt, record)
        case "retrying":
            _take_retry(attempt, record)
        case "run_ended":
            attempt.state, attempt.message = record["state"], record["message"]
            attempt.ended, attempt.seconds = moment(record), number(record, "seconds")
            run.exit_code, run.next, run.way_back = record["exit_code"], record["next"], text(record, "way_back")


def _take_step(attempt: Attempt, record: Record) -> None:
    path = record["path"]
    attempt.steps.pop(path, None)
    attempt.steps[path] = StepFacts(
        path=path, uses=text(record, "uses"), because=text(record, "because"),
        acknowledge=text(record, "acknowledge"), actions=objects(record, "actions"),
        objects=objects(record, "objects"), coming=objects(record, "coming"), locks=texts(record, "locks"),
        began=moment(record),
    )  # fmt: skip


def _take_action(attempt: Attempt, record: Record) -> None:
    step = attempt.steps.get(record["path"])
    if step is None:
        return
    took, ended = number(record, "seconds") or None, moment(record)
    began = ended - timedelta(seconds=took) if ended and took is not None and took < 1e9 else None
    done = Done(key=record["key"], result=record["result"], ended=ended, began=began, seconds=took)
    if step.done and step.done[-1].key == done.key:  # announced before its COMMIT, then done
        step.done.pop()
    step.done.append(done)


def _take_outcome(attempt: Attempt, record: Record) -> None:
    path = record["path"]
    if path not in attempt.steps:
        _take_step(attempt, {"path": path})
    step = attempt.steps[path]
    step.state, step.message, step.hint = record["state"], text(record, "message"), text(record, "hint")
    step.code, step.outputs, step.seconds = text(record, "code"), mapping(record, "outputs"), number(record, "seconds")
    step.recorded, step.ended = record.get("recorded") is True, moment(record)
    step.tries = int(number(record, "attempts") or 1)


def _take_wait(attempt: Attempt, record: Record) -> None:
    _end_wait(attempt, record)
    wait = Wait(
        path=attempt.current(), connection=record["connection"], message=record["message"], began=moment(record)
    )
    attempt.waits.append(wait)


def _end_wait(attempt: Attempt, record: Record) -> None:
    """End the last wait of a connection: it waits for nothing any more, or for somebody else."""
    at = moment(record)
    for wait in reversed(attempt.waits):
        if wait.connection == record["connection"] and wait.resumes is None:
            if wait.seconds is None and wait.began and at:
                wait.seconds = max((at - wait.began).total_seconds(), 0.0)
            return


def _take_retry(attempt: Attempt, record: Record) -> None:
    """Take an attempt at locks that failed as a wait: it lasted since the attempt before, without the pause."""
    at, path = moment(record), record["path"]
    step = attempt.steps.get(path)
    if at is None or step is None or number(record, "of"):  # a step that is repeated as a whole is no wait
        return
    since = next((one.resumes for one in reversed(attempt.waits) if one.path == path and one.resumes), step.began)
    took = max((at - since).total_seconds(), 0.0) if since else None
    resumes = at + timedelta(seconds=min(number(record, "delay") or 0.0, 1e6))
    attempt.waits.append(
        Wait(
            path=path, connection="", message=record["message"], began=since, seconds=took, about="at most",
            resumes=resumes,
        )
    )  # fmt: skip
