"""Run cases, several at a time, each in databases and folders of its own, of which nothing is left."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runner.cancel import Cancel
from runner.cases.case import Case, Fault, Move, default_connection
from runner.cases.databases import Host, Servers, Words, as_superuser, run_text
from runner.cases.expectations import Comparison
from runner.cases.result import CaseResult, Failure, RunEnd
from runner.cases.trial import Trial
from runner.database.connections import Connections
from runner.errors import Interrupted, Mark, PlanrunError, TargetError
from runner.table_name import TableName


@dataclass
class Suite:
    """What a run of cases needs. env: of the caller. jobs: how many cases run at the same time. update: write the files
    of whole texts. keep: let the databases of cases that failed stay until `close`.
    """

    cases: Sequence[Case]
    env: Mapping[str, str]
    jobs: int = 1
    postgres: int = 0
    update: bool = False
    keep: bool = False
    cancel: Cancel = field(default_factory=Cancel)

    def __post_init__(self) -> None:
        self._servers = Servers(self.cases, self.postgres)

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the servers that ran the cases."""
        return self._servers.versions

    def run(self, tell: Callable[[CaseResult], object]) -> list[CaseResult]:
        """Run all cases and return their results in the order of the cases; `tell` gets each as soon as it is there.

        Raises TargetError if there is no server for a case, and the reason if interrupted.
        """
        for major in {case.postgres for case in self.cases}:
            self._servers.host(next(case for case in self.cases if case.postgres == major))
        one_by_one = threading.Lock()

        def work(numbered: tuple[int, Case]) -> CaseResult:
            self.cancel.check()
            found = self._run_one(*numbered)
            with one_by_one:
                tell(found)
            return found

        with ThreadPoolExecutor(max(1, min(self.jobs, len(self.cases))), "case") as pool:
            futures = [pool.submit(work, one) for one in enumerate(self.cases, 1)]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _run_one(self, number: int, case: Case) -> CaseResult:
        began = time.monotonic()
        one = _CaseRun(self, number, case, self._servers.host(case))
        reason = TargetError(f"the case took longer than {case.timeout:g} s", code="PR1071")
        try:
            with self.cancel.child() as inner, inner.after(case.timeout, reason):
                one.run(inner)
            self.cancel.check()  # an interrupted run has a result, too
        except Interrupted:
            raise
        except PlanrunError as exc:
            self.cancel.check()
            one.failures.append(_of_error(case, exc))
        keep = self.keep and bool(one.failures)
        if not keep:
            one.drop()
        failures = sorted(one.failures, key=lambda failure: failure.where)
        return CaseResult(
            case=case, seconds=time.monotonic() - began, failures=tuple(failures), runs=tuple(one.runs),
            databases=one.addresses() if keep else {}, written=tuple(one.written),
        )  # fmt: skip


def _of_error(case: Case, exc: PlanrunError) -> Failure:
    where = exc.where if isinstance(exc.where, Mark) else case.where
    return Failure(where=where, message=exc.message, code=exc.code, hint=exc.hint)


@dataclass
class _CaseRun:
    """One case at work."""

    suite: Suite
    number: int
    case: Case
    host: Host
    words: dict[str, Words] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    runs: list[RunEnd] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def run(self, cancel: Cancel) -> None:
        self.host.make_roles(self.case.roles)
        for name, fixture in self.case.databases.items():
            made = self.host.create(f"case_{self.number}_{name}", fixture, self.case.role, cancel)
            self.words[name] = made
        folder = self.host.folder(self.number)
        trial = Trial(
            self.case, self.words, folder, self.suite.env, self.host.programs, self._trouble, cancel
        )  # fmt: skip
        comparison = Comparison(self.case, self.words, trial.home, self.suite.update)
        last = max(number for number, move in enumerate(self.case.moves) if move.verb)
        for number, move in enumerate(self.case.moves):
            if not move.verb:
                self._run_sql(move, cancel)
                continue
            self.runs.append(self._do(trial, move))
            self.failures += comparison.of_run(move, self.runs[-1], last=number == last)
            if self.failures and number != last:
                break  # what comes next would only tell consequences
        else:
            self.failures += comparison.of_state()
        self.written += comparison.written

    def _do(self, trial: Trial, move: Move) -> RunEnd:
        end = trial.run(move)
        if move.fault and move.fault.kind == "kill":
            self.host.wait_for_end(self._names())
        return end

    def _run_sql(self, move: Move, cancel: Cancel) -> None:
        assert move.sql is not None
        words = as_superuser(self._words(move.connection))
        with contextlib.closing(Connections({"db": words}, {}).open("db", own_path=False)) as conn:
            run_text(conn, move.sql, cancel)

    @contextlib.contextmanager
    def _trouble(self, fault: Fault) -> Iterator[None]:
        """Make what a fault needs of the server, as long as the block takes."""
        if fault.kind == "connection":
            chosen = [self._words(fault.connection)["dbname"]] if fault.connection else self._names()
            with self.host.cut(chosen):
                yield
        else:
            name = self._words(fault.connection)["dbname"]
            with self.host.lock(name, TableName.parse(fault.table), fault.hold):
                yield

    def _words(self, connection: str) -> Words:
        return self.words[connection or default_connection(self.case.plan) or next(iter(self.words))]

    def _names(self) -> list[str]:
        return [words["dbname"] for words in self.words.values()]

    def addresses(self) -> dict[str, str]:
        """Return the arguments of psql for each database."""
        return {
            name: shlex.join(["-h", one["host"], "-p", one["port"], "-U", one["user"], one["dbname"]])
            for name, one in self.words.items()
        }

    def drop(self) -> None:
        with contextlib.suppress(PlanrunError):  # the server goes with the suite
            self.host.drop(self._names())
