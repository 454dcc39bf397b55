"""The journal of a plan that changes nothing in the database: a file of JSON Lines."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.errors import PlanrunError, TargetError
from runner.events import AtWork, Event, RunBegan, RunEnded
from runner.journal.records import Record, is_kept, is_milestone, record_of


class FileJournal:
    """JSON Lines, each line on disk (fsync) before the work continues. A line that a crash cut off is skipped.

    What `note` writes is in a second file, which holds one record and vanishes with the end of the run.
    It is an error if the file vanishes or is replaced while a run writes it: a resume would not know what was done.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)
        self._file: int | None = None  # held open, so that its inode number is not used for another file

    def write(self, run: str, event: Event) -> None:
        if not is_kept(event):
            return
        if isinstance(event, RunBegan | RunEnded):
            with contextlib.suppress(OSError):  # of this attempt or of one that was killed
                self._beside.unlink(missing_ok=True)
        line = json.dumps(record_of(run, event), ensure_ascii=True) + "\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            here, there = os.fstat(self._file), self.path.stat()
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(errno.ENOENT, "it was replaced while this run was at work")
            _write_whole(self._file, line.encode())
            os.fsync(self._file)
        except OSError as exc:
            why = "its folder is a file" if isinstance(exc, FileExistsError) else exc.strerror
            raise TargetError(
                f"cannot write the journal: {why}",
                where=self.place,
                hint="set PLANRUN_STATE_DIR to a folder that can be written, or `journal:` in the plan",
                code="PR0515",
            ) from exc

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + ".at_work")

    def note(self, run: str, at_work: AtWork) -> None:
        part = self._beside.with_name(self._beside.name + ".part")
        with open(part, "w", encoding="ascii", opener=_private) as file:
            file.write(json.dumps(record_of(run, at_work), ensure_ascii=True) + "\n")
        part.replace(self._beside)

    def since(self, mark: int) -> tuple[list[Record], int]:
        self._refuse_other_files()
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < mark:  # another file has taken its place
                    mark = 0
                file.seek(mark)
                data = file.read()
        except FileNotFoundError:
            return [], 0
        except OSError as exc:
            raise TargetError(f"cannot read the journal: {exc.strerror}", where=self.place, code="PR0515") from exc
        whole = data[: data.rfind(b"\n") + 1]  # the last line may be on its way
        found = list(_records(whole.decode("utf-8", "replace").split("\n")))
        return [*found, *self._notes()], mark + len(whole)

    def _notes(self) -> Iterator[Record]:
        with contextlib.suppress(OSError):
            yield from _records([self._beside.read_text(encoding="utf-8", errors="replace")])

    def _refuse_other_files(self) -> None:
        if self.path.exists() and not self.path.is_file():  # a pipe or a device may have no end
            raise TargetError("cannot read the journal: it is not a file", where=self.place, code="PR0515")

    def records(self, *, brief: bool = False, run: str = "") -> Iterator[Record]:
        self._refuse_other_files()
        try:
            with self.path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
                yield from (one for one in _records(lines) if not run or one.get("run") == run)
            yield from (one for one in self._notes() if not run or one.get("run") == run)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise TargetError(f"cannot read the journal: {exc.strerror}", where=self.place, code="PR0515") from exc

    def milestones(self) -> Iterator[Record]:
        return filter(is_milestone, self.records())

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _records(lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _write_whole(descriptor: int, data: bytes) -> None:
    """Begin a new line, because a crash may have cut off the line before."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        data = b"\n" + data
    while data:
        data = data[os.write(descriptor, data) :]


def state_folder(env: Mapping[str, str]) -> Path:
    """Return where local journals and traces are kept: PLANRUN_STATE_DIR, else XDG_STATE_HOME/planrun."""
    if chosen := env.get("PLANRUN_STATE_DIR"):
        return Path(chosen)
    if base := env.get("XDG_STATE_HOME"):
        return Path(base) / "planrun"
    try:
        return Path.home() / ".local" / "state" / "planrun"
    except RuntimeError:
        raise PlanrunError("no home folder for the journal", hint="set PLANRUN_STATE_DIR", code="PR0515") from None
