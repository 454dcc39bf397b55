"""The runs of one case: its plan led to the databases of the case, in folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import api, tools
from runner.cancel import Cancel
from runner.cases.case import Case, Fault, Move, default_connection
from runner.cases.case_executor import CaseExecutor, Rules, Trouble
from runner.cases.case_file import base_environment
from runner.cases.databases import Words
from runner.cases.result import RunEnd, StepEnd
from runner.engine import Executor
from runner.errors import Interrupted, PlanrunError
from runner.events import Emit, Event, RunBegan, StepEnded
from runner.model import Confirm
from runner.planfile import open_plan
from runner.report import results
from runner.result import RunResult
from runner.run.redirection import Redirection, redirect, url

MARKER = "reached"
"""The file in a case's folder that says that planrun was killed at the step which the case names."""


def no_trouble(fault: Fault) -> contextlib.AbstractContextManager[None]:
    """Make nothing: for a process that is killed, whose fault needs no server."""
    return contextlib.nullcontext()


@dataclass
class Trial:
    """A case at work.

    words: how to reach the database of each connection. folder: where everything goes that it writes. env: the
    environment of the caller. programs: a folder where the plan's programs look first, for psql and pg_dump. trouble:
    makes the faults that need the server.
    """

    case: Case
    words: Mapping[str, Words]
    folder: Path
    env: Mapping[str, str]
    programs: str
    trouble: Trouble = no_trouble
    cancel: Cancel = field(default_factory=Cancel)

    def __post_init__(self) -> None:
        self.home = self.folder.resolve() / "files"
        self._redirection = self._redirect()
        self.plan, self.variables = self._redirection.plan, self._redirection.env

    def _redirect(self) -> Redirection:
        """Load the plan anew, with the addresses and folders of the case. Raises PlanError."""
        for each in ("state", "tmp"):
            (self.folder / each).mkdir(parents=True, exist_ok=True)
        own = {"PLANRUN_STATE_DIR": str(self.folder / "state"), "TMPDIR": str(self.folder / "tmp"), **self.case.env}
        path = os.pathsep.join(filter(None, [self.programs, self.env.get("PATH", "")]))
        env = {**base_environment(self.env), "PATH": path, "DATABASE_URL": url(self._default()), **own}
        plan = open_plan(Path(self.case.plan.file), sets=self.case.sets, env=env, tells=False)
        folder = self.home / plan.folder.resolve().relative_to("/")
        folder.mkdir(parents=True, exist_ok=True)
        journal = plan.journal if not Path(plan.journal).expanduser().is_absolute() else "file"
        to = {**{name: self.words[name] for name in plan.connections}, "": self._default()}
        return redirect(replace(plan, folder=folder, journal=journal, notify=()), env, to)

    def _default(self) -> Words:
        return self.words[default_connection(self.case.plan) or next(iter(self.words))]

    # -------------------------------------------------------------- runs

    def run(self, move: Move, on_event: Emit | None = None) -> RunEnd:
        """Do what a move of the case says; how it ends is told, not raised. Raises Interrupted."""
        if move.fault and move.fault.kind == "kill" and on_event is None:
            return self._kill(move)
        shown: list[RunResult] = []
        ends = _Ends(on_event)
        hook = _Hook(self._rules(), move.fault, self.trouble)
        try:
            result = self._call(move, hook, ends.event, shown)
        except Interrupted:
            raise
        except PlanrunError as exc:
            self.cancel.check()
            found = RunEnd(
                verb=move.verb, state="failed", exit_code=exc.exit_code, code=exc.code, message=exc.message,
                steps=ends.steps, report=f"error: {exc}\n",
            )  # fmt: skip
        else:
            found = self._end_of(move, result, ends)
        diff = results.render(shown[-1], "text") if shown else ""
        return replace(
            found, diff=self.plain_text(diff), report=self.plain_text(found.report), is_reached=hook.is_reached
        )

    def _rules(self) -> Rules:
        return Rules(
            home=self.home, folder=self.case.plan.folder.resolve(), commands=self.case.commands,
            answers=self.case.answers, check_argv=self._redirection.refuse_elsewhere,
        )  # fmt: skip

    def _call(self, move: Move, hook: _Hook, emit: Emit, shown: list[RunResult]) -> RunResult:
        def approve(diff: RunResult) -> bool:
            shown.append(diff)
            return True

        more: dict[str, Any] = {"env": self.variables, "on_event": emit, "cancel": self.cancel}
        acting = {**more, "approve": approve, "confirm": hook.answer, "wrap": hook}
        match move.verb:
            case "diff":
                shown.append(api.diff(self.plan, until=move.until, **more))
                return shown[-1]
            case "rollback":
                return api.rollback(self.plan, **acting)
            case "abort":
                return api.abort(self.plan, **acting)
            case _:
                return api.apply(self.plan, until=move.until, resume=move.verb == "resume", **acting)

    def _end_of(self, move: Move, result: RunResult, ends: _Ends) -> RunEnd:
        steps = {
            step.path: StepEnd(state=step.state, code=step.code, message=step.message)
            for step in (*result.steps, *result.hooks)
        }
        error = result.error
        return RunEnd(
            verb=move.verb, state=result.state, exit_code=result.exit_code, steps={**ends.steps, **steps},
            code=error.code if error else "", message=error.message if error else "",
            report="" if move.verb == "diff" else results.render(result, "text", after=True),
        )  # fmt: skip

    # -------------------------------------------------------------- a run that is killed

    def _kill(self, move: Move) -> RunEnd:
        """Do it in a process of its own, which kills itself when its step is told."""
        marker = self.folder / MARKER
        marker.unlink(missing_ok=True)
        spec = {
            "file": str(self.case.path), "name": self.case.name, "move": list(self.case.moves).index(move),
            "words": {name: dict(words) for name, words in self.words.items()}, "folder": str(self.folder),
            "programs": self.programs,
        }  # fmt: skip
        env = {**self.env, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        argv = [sys.executable, "-P", "-m", "runner.cases.kill"]
        code = tools.call(
            argv, env=env, cancel=self.cancel, source=[json.dumps(spec).encode()], allowed=(*range(256), -9)
        ).code
        runs = api.history(self.plan, env=self.variables)
        last = runs[-1] if runs else None
        steps = {
            path: StepEnd(state=one["state"], code=one.get("code", ""), message=one.get("message", ""))
            for path, one in (last.outcomes if last else {}).items()
        }
        cut = {path: StepEnd(state="cut off") for path in (last.paths_at_work() if last else ())}
        return RunEnd(
            verb=move.verb, state=last.state if last else "failed", exit_code=137 if marker.exists() else code,
            steps={**steps, **cut}, is_reached=marker.exists(), message=last.message if last else "",
        )  # fmt: skip

    # -------------------------------------------------------------- text

    def plain_text(self, text: str) -> str:
        """Return text without what differs from run to run: folders, names of databases, ids, times, sizes."""
        text = text.replace(str(self.home), "").replace(str(self.folder.resolve()), "<folder>")
        text = text.replace(str(self.case.plan.root.resolve()), "<root>")
        for name in self.words:
            text = re.sub(rf"^{name}: .* at .* as .*, from .*$", f"{name}: <database>", text, flags=re.MULTILINE)
        for words in self.words.values():
            text = text.replace(words["dbname"], "<database>")
        for pattern, instead in _VARYING:
            text = pattern.sub(instead, text)
        return text


_VARYING = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}"), "<run>"),
    (re.compile(r"backup_\d{4}-\d\d-\d\dT[\d-]+Z"), "backup_<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC"), "<date>"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min)\b"), "<time>"),
    (re.compile(r"[\d,]+(\.\d+)? (bytes|kB|MB|GB)\b"), "<size>"),
    (re.compile(r"('pg_class', |\"oid\": )\d+"), r"\1<oid>"),
    (re.compile(r"(planrun[\w\". ]*?(?:note|keys)_)\d+"), r"\1<oid>"),
    (re.compile(r"(\$ )\S*/(pg_dump|pg_restore|psql) "), r"\1\2 "),
)


class _Hook:
    """Puts the executor of the case around the real one, and answers questions by it."""

    def __init__(self, rules: Rules, fault: Fault | None, trouble: Trouble) -> None:
        self._rules, self._fault, self._trouble = rules, fault, trouble
        self._made: CaseExecutor | None = None

    def __call__(self, executor: Executor) -> Executor:
        self._made = CaseExecutor(executor, self._rules, self._fault, self._trouble)
        return self._made

    def answer(self, question: Confirm) -> bool:
        """Answer a question of the run as the case says. Raises PlanrunError if it does not say."""
        return self._made is not None and self._made.answer(question)

    @property
    def is_reached(self) -> bool:
        """Whether the fault met its step; also where there is none."""
        return self._fault is None or bool(self._made and self._made.is_reached)


class _Ends:
    """Listens to how steps end, for a run that ends without a result."""

    def __init__(self, on_event: Emit | None) -> None:
        self.steps: dict[str, StepEnd] = {}
        self._more, self._acting = on_event, False

    def event(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._acting = event.mode != "diff"
        if isinstance(event, StepEnded) and self._acting:
            one = event.outcome
            self.steps[one.path] = StepEnd(state=one.state.value, code=one.code, message=one.message)
        if self._more and self._acting:
            self._more(event)
