"""The executor of a case acts for real, in the folders of the case, and fails where the case says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.cancel import Cancel
from runner.cases.case import Fault
from runner.cases.case_executor import CaseExecutor, Rules
from runner.cases.kill import kill_at
from runner.engine import At
from runner.errors import PlanrunError, RefusedError, TargetError
from runner.events import ActionDone, Event, StepEnded, StepPlanned
from runner.model import (
    Action,
    Backup,
    Command,
    Confirm,
    Note,
    Outcome,
    PlannedStep,
    Prune,
    Result,
    State,
    Step,
    Verify,
    Write,
)

HOME = Path("/tmp/planrun-test-x/1/files")
PLANS = HOME / "srv" / "shop" / "plans"


@dataclass
class Recorder:
    """Keeps what it was asked to do, and fails as often as it is told to."""

    done: list[Action] = field(default_factory=list)
    fails: int = 0

    def act(self, action: Action, at: At, cancel: Cancel) -> Result:
        self.done.append(action)
        if self.fails:
            self.fails -= 1
            raise TargetError("really", code="PR0404")
        return {}


def refuse(argv: Sequence[str]) -> None:
    if "-h" in argv:
        raise RefusedError("elsewhere", code="PR1001")


def executor(fault: Fault | None = None, **rules: object) -> tuple[CaseExecutor, Recorder, list[str]]:
    inner, troubles = Recorder(), list[str]()

    @contextlib.contextmanager
    def trouble(one: Fault) -> Iterator[None]:
        troubles.append(one.kind)
        yield
        troubles.append("over")

    given = {"home": HOME, "folder": Path("/srv/shop/plans"), "commands": {}, "answers": {}, "check_argv": refuse}
    return CaseExecutor(inner, Rules(**{**given, **rules}), fault, trouble), inner, troubles  # type: ignore[arg-type]


def act(one: CaseExecutor, action: Action, path: str = "here") -> Result:
    return one.act(action, At(path, "k"), Cancel())


def test_programs_run_in_the_folder_of_the_plan_and_not_in_that_of_the_case() -> None:
    one, inner, _ = executor(commands={"there": ("sh", "-c", "true")})
    for cwd, path in (("", "here"), (str(HOME / "srv/shop"), "here"), ("/opt", "there")):
        act(one, Command(argv=("npx", "x"), cwd=cwd), path)
    assert [(done.cwd, done.argv[0]) for done in inner.done if isinstance(done, Command)] == [
        ("/srv/shop/plans", "npx"),
        ("/srv/shop", "npx"),
        ("/opt", "sh"),
    ]


def test_a_program_that_names_an_address_does_not_run() -> None:
    one, inner, _ = executor(commands={"there": ("psql", "-h", "db1")})
    for argv, path in ((("psql", "-h", "db1"), "here"), (("psql",), "there")):
        with pytest.raises(RefusedError):
            act(one, Command(argv=argv), path)
    assert inner.done == []


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: Write(path=f"{folder}/x", text=""),
        lambda folder: Backup(connection="", to=str(folder), dumps=()),
        lambda folder: Prune(folder=str(folder), sessions=()),
        lambda folder: Verify(session=str(folder), level=1),
    ],
    ids=["write", "backup", "prune", "verify"],
)
def test_what_it_writes_stays_in_the_folder_of_the_case(make: object) -> None:
    assert callable(make)
    one, inner, _ = executor()
    act(one, make(PLANS / "backups"))
    for folder in ("/srv/shop/plans/backups", HOME.parent, "/tmp/planrun-test-x/1/files-of-somebody"):
        with pytest.raises(PlanrunError, match="which is no folder of the case") as caught:
            act(one, make(folder))
        assert caught.value.code == "PR1068"
    assert len(inner.done) == 1


def test_a_fault_meets_its_step_only_and_as_often_as_it_says() -> None:
    one, inner, _ = executor(Fault(step="here", kind="error", times=2))
    assert act(one, Note(text="a"), "elsewhere") == {} and not one.is_reached
    for _ in range(2):
        with pytest.raises(TargetError) as caught:
            act(one, Note(text="b"))
        assert (caught.value.code, caught.value.category) == ("PR1066", "")
    assert one.is_reached and act(one, Note(text="c")) == {}
    assert inner.done == [Note(text="a"), Note(text="c")]


def test_trouble_on_the_server_lasts_as_long_as_the_action_and_ends_with_attempts_that_failed() -> None:
    one, inner, troubles = executor(Fault(step="here", kind="lock", table="t", times=1))
    act(one, Note(text="not its fault"))
    assert troubles == ["lock", "over"]
    inner.fails = 1
    with pytest.raises(TargetError, match="really"):
        act(one, Note(text="now"))
    act(one, Note(text="again"))
    assert troubles == ["lock", "over", "lock"]


def test_exit_replaces_the_program_and_nothing_else() -> None:
    one, inner, _ = executor(Fault(step="here", kind="exit", code=7))
    act(one, Note(text="first"))
    act(one, Command(argv=("npx", "x"), fail_if_output=("ERROR",)))
    assert inner.done[0] == Note(text="first")
    command = inner.done[1]
    assert isinstance(command, Command) and command.argv == ("/bin/sh", "-c", "exit 7")
    assert command.fail_if_output == ("ERROR",)


@pytest.mark.parametrize(
    ("given", "expect", "yes"),
    [
        (True, "", True), (False, "", False), (True, "prod", True), (False, "prod", False),
        ("prod", "prod", True), ("prd", "prod", False), ("yes", "", True), ("no", "", False),
    ],
)  # fmt: skip
def test_answers(given: bool | str, expect: str, yes: bool) -> None:
    one, _, _ = executor(answers={"here": given})
    question = Confirm(message="Really?", expect=expect)
    act(one, question)
    assert one.answer(question) is yes


def test_a_question_without_an_answer_is_an_error_that_says_where_it_belongs() -> None:
    one, _, _ = executor(answers={"elsewhere": True})
    act(one, question := Confirm(message="Really?"))
    with pytest.raises(PlanrunError) as caught:
        one.answer(question)
    assert (caught.value.code, caught.value.hint) == ("PR1067", "answers: {here: true}")


def test_the_process_kills_itself_at_the_step_and_at_no_other_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("runner.cases.kill.os.kill", lambda pid, number: killed.append(number))
    step = Step(id="here", where=None, kind="sql")  # type: ignore[arg-type]
    skipped = Outcome(path="here", state=State.SKIPPED)
    planned = PlannedStep(path="here", step=step, because="")
    events: list[Event] = [
        StepPlanned(planned=PlannedStep(path="other", step=step, because="")),
        StepPlanned(planned=PlannedStep(path="here", step=step, because="", settled=skipped)),
        StepPlanned(planned=planned),
        ActionDone(path="other", key="k", result={}),
        ActionDone(path="here", key="k", result={}),
        StepEnded(outcome=Outcome(path="here", state=State.OK)),
    ]
    at = []
    for after in (False, True):
        listen = kill_at(Fault(step="here", kind="kill", after=after), tmp_path / f"{after}")
        for number, event in enumerate(events):
            killed.clear()
            listen(event)
            at += [(after, number)] * len(killed)
    assert at == [(False, 2), (True, 4)]
    assert (tmp_path / "False").exists() and (tmp_path / "True").exists()
