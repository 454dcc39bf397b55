"""The executor of a case: it performs actions for real, in the folders of the case, and makes one step fail."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner import engine
from runner.cancel import Cancel
from runner.cases.case import Fault
from runner.engine import At
from runner.errors import PlanrunError, TargetError
from runner.model import Action, Backup, Command, Confirm, CopySession, Prune, Result, Verify, Write

Trouble = Callable[[Fault], contextlib.AbstractContextManager[None]]
"""Makes what a fault needs of the server, for as long as a block takes."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a case differs from a real run.

    home: the folder that stands for `/` in paths of the plan. folder: that of the plan, in which its programs run: they
    need the project around it. commands: other programs for steps, by path. answers: those to `confirm` steps.
    check_argv: raises for a program whose arguments name an address.
    """

    home: Path
    folder: Path
    commands: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, bool | str]
    check_argv: Callable[[Sequence[str]], None]


@dataclass
class CaseExecutor:
    """An engine.Executor around the real one. is_reached: the fault has met its step."""

    inner: engine.Executor
    rules: Rules
    fault: Fault | None
    trouble: Trouble
    is_reached: bool = False
    _failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asking: threading.local = field(default_factory=threading.local)

    def act(self, action: Action, at: At, cancel: Cancel) -> Result:
        self._asking.path = at.path
        action = self._adapt(action, at)
        fault = self.fault
        if fault is None or fault.kind == "kill" or fault.step != at.path or not self._is_due(fault):
            return self.inner.act(action, at, cancel)
        self.is_reached = True
        if fault.kind == "exit" and not isinstance(action, Command):
            return self.inner.act(action, at, cancel)
        try:
            return self._fail(fault, action, at, cancel)
        except PlanrunError:
            with self._lock:
                self._failed += 1
            raise

    def _is_due(self, fault: Fault) -> bool:
        return not fault.times or self._failed < fault.times

    def _fail(self, fault: Fault, action: Action, at: At, cancel: Cancel) -> Result:
        match fault.kind:
            case "error":
                raise TargetError("this step fails because its case says so", code="PR1066")
            case "exit":
                assert isinstance(action, Command)
                program = ("/bin/sh", "-c", f"exit {fault.code}")
                return self.inner.act(replace(action, argv=program), at, cancel)
            case _:
                with self.trouble(fault):
                    return self.inner.act(action, at, cancel)

    def answer(self, question: Confirm) -> bool:
        """Answer a question as the case says. Raises PlanrunError if it does not say."""
        path = getattr(self._asking, "path", "")
        given = self.rules.answers.get(path)
        if given is None:
            raise PlanrunError(
                f"the case does not say what to answer: {question.message}",
                hint=f"answers: {{{path}: true}}",
                code="PR1067",
            )
        return given == question.expect if isinstance(given, str) and question.expect else given in (True, "y", "yes")

    # -------------------------------------------------------------- where it may act

    def _adapt(self, action: Action, at: At) -> Action:
        """Return the action as the case wants it. Raises PlanrunError if it would write elsewhere."""
        match action:
            case Command():
                argv = self.rules.commands.get(at.path, action.argv)
                self.rules.check_argv(argv)
                return replace(action, argv=argv, cwd=self._real(action.cwd))
            case Backup():
                self._refuse_outside(action.to, at)
            case Write():
                self._refuse_outside(action.path, at)
            case CopySession():
                self._refuse_outside(action.to, at)
            case Prune():
                self._refuse_outside(action.folder, at)
            case Verify():  # which records its proof beside the session
                self._refuse_outside(action.session, at)
        return action

    def _real(self, folder: str) -> str:
        """Return the folder in which a program really runs."""
        if not folder:
            return str(self.rules.folder)
        inside = Path(folder).is_relative_to(self.rules.home)
        return str(Path("/") / Path(folder).relative_to(self.rules.home)) if inside else folder

    def _refuse_outside(self, path: str, at: At) -> None:
        if not Path(path).is_relative_to(self.rules.home):
            raise PlanrunError(
                f"this step writes to {path}, which is no folder of the case",
                where=at.path,
                hint="take the path from a param, and give the case another one, relative to the plan: set: {...}",
                code="PR1068",
            )
