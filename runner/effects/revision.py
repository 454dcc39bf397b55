"""The files of a plan as of a revision of git, in a private folder; the user's work tree is never touched.

The files are read as git keeps them (ls-tree, cat-file): no hook, filter, attribute or pager of a repository runs.
Names and links of a revision are data of whoever wrote it, so each is checked before it is written.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner import tools
from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError, UsageError
from runner.words import one_line

MAX_FILES = 20_000
MAX_BYTES = 64 << 20
"""What is read of a revision: YAML files and `sql/`. A checkout with more of them is no folder of plans."""

_AT_ONCE = 500
"""Names that are given to git before its answer is read: fewer bytes than a pipe holds."""

_OURS = {
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}

_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]{40,64}) +(\d+|-)\t(.+)", re.DOTALL)
_LINK = "120000"
_YAML = (".yml", ".yaml")
_SUFFIXES = {"100644": _YAML, "100755": _YAML, _LINK: (*_YAML, "")}
"""By mode, the suffixes of what a plan may name; a link without one may lead to a folder."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision: its name as typed, the commit, the top of the work tree, and the folder with its files.

    file: the plan's path from the top. is_there: whether the revision has that file.
    """

    name: str
    commit: str
    top: Path
    folder: Path
    file: PurePosixPath
    is_there: bool

    @property
    def label(self) -> str:
        """`main (1a2b3c4d5e)`; only the commit where that was typed."""
        return self.commit[:10] if self.commit.startswith(self.name) else f"{self.name} ({self.commit[:10]})"

    @property
    def plan(self) -> Path:
        return self.folder / self.file


@dataclass(frozen=True, kw_only=True)
class _Entry:
    mode: str
    object: str
    size: int
    path: PurePosixPath


@contextmanager
def files_of(plan: Path, rev: str, *, env: Mapping[str, str], cancel: Cancel) -> Iterator[Revision]:
    """Yield the files that a plan can draw in, as of a revision, in a folder that is removed at the end.

    Raises UsageError where there is no repository or no such revision, PlanrunError for files that cannot be written.
    """
    real = plan.resolve()
    git = _Git(real.parent, env, cancel)
    top = git.top(plan)
    commit = git.commit(rev)
    file = PurePosixPath(real.relative_to(top).as_posix())
    with tempfile.TemporaryDirectory(prefix="planrun-base-") as name:
        folder = Path(name).resolve()
        entries = list(_plan_files(git.entries(commit)))
        _refuse(entries, rev)
        (folder / ".git").mkdir()  # so that the root of the plan is found where it is in a checkout
        _write(folder, entries, git)
        yield Revision(
            name=rev,
            commit=commit,
            top=top,
            folder=folder,
            file=file,
            is_there=any(one.path == file for one in entries),
        )


def _plan_files(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Yield the files that a plan may name: YAML, and all that is in a folder `sql/`; links as links."""
    for one in entries:
        suffixes = _SUFFIXES.get(one.mode)
        if suffixes and ("sql" in one.path.parts or one.path.suffix in suffixes):
            yield one


def _refuse(entries: Sequence[_Entry], rev: str) -> None:
    """Raise PlanrunError for names that lead elsewhere, and for too much."""
    leaves = {one.path for one in entries}
    for one in entries:
        parts = one.path.parts
        hostile = one.path.is_absolute() or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        if hostile or any(above in leaves for above in one.path.parents):
            raise PlanrunError(
                f"{one_line(rev)} has a file of a name that no checkout has: {one_line(str(one.path))}",
                hint="look at it: git fsck", code="PR1042",
            )  # fmt: skip
    if len(entries) > MAX_FILES or sum(one.size for one in entries) > MAX_BYTES:
        raise PlanrunError(
            f"{one_line(rev)} has {len(entries):,} files of YAML and SQL, which is too much for a folder of plans",
            hint="compare two files that you have: planrun compare OLD.yml NEW.yml", code="PR1042",
        )  # fmt: skip


def _write(folder: Path, entries: Sequence[_Entry], git: _Git) -> None:
    """Write files first and links last, so that nothing is written through a link."""
    ordered = sorted(entries, key=lambda one: one.mode == _LINK)
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        for one, data in zip(some, git.contents(some), strict=True):
            path = folder / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if one.mode == _LINK:
                    path.symlink_to(os.fsdecode(data))
                else:
                    with path.open("xb") as file:
                        file.write(data)
            except (OSError, ValueError) as exc:
                raise PlanrunError(
                    f"{one_line(str(one.path))} of the revision cannot be written here: {exc}",
                    hint="compare two files that you have: planrun compare OLD.yml NEW.yml", code="PR1042",
                ) from exc  # fmt: skip


class _Git:
    """Reads a repository. folder: a folder in its work tree."""

    def __init__(self, folder: Path, env: Mapping[str, str], cancel: Cancel) -> None:
        self._env = tools.environment(env, ("HOME", "XDG_CONFIG_HOME")) | _OURS
        self._cancel = cancel
        self._in = ("git", "--no-pager", "--literal-pathspecs", "-C", str(folder))

    def top(self, plan: Path) -> Path:
        try:
            found = self._ask("rev-parse", "--show-toplevel")
        except TargetError as exc:
            if exc.code == "PR0902":
                raise
            said = exc.message.rpartition("fatal: ")[2].partition("\n")[0]
            raise UsageError(
                f"{plan} is in no work tree of git: {one_line(said)}",
                hint="without git, compare two files: planrun compare OLD.yml NEW.yml", code="PR1040",
            ) from None  # fmt: skip
        return Path(os.fsdecode(found.removesuffix(b"\n"))).resolve()

    def commit(self, rev: str) -> str:
        """Return the full name of the commit of a revision. Raises UsageError if there is none."""
        known = rev and not re.search(r"[\x00-\x1f]", rev)
        try:
            asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
            found = self._ask(*asked).decode().strip() if known else ""
        except TargetError:
            found = ""
        if not re.fullmatch(r"[0-9a-f]{40,64}", found):
            shallow = known and self._ask("rev-parse", "--is-shallow-repository").strip() == b"true"
            more = "this clone has not the whole history: git fetch --unshallow (in a job: fetch-depth: 0)"
            raise UsageError(
                f"git knows no revision {one_line(rev)!r}",
                hint=more if shallow else "see which there are: git branch --all",
                code="PR1041",
            )  # fmt: skip
        return found

    def entries(self, commit: str) -> Iterator[_Entry]:
        """Yield every file of a commit."""
        listed = self._ask("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
        for line in listed.split(b"\0"):
            if match := _ENTRY.fullmatch(line):
                mode, _, name, size, path = match.groups()
                yield _Entry(
                    mode=mode.decode(),
                    object=name.decode(),
                    size=int(size) if size != b"-" else 0,
                    path=PurePosixPath(os.fsdecode(path)),
                )

    def contents(self, entries: Sequence[_Entry]) -> list[bytes]:
        """Return the bytes of each file."""
        names = "".join(f"{one.object}\n" for one in entries)
        answer = self._ask("cat-file", "--batch", given=names.encode())
        found, at = [], 0
        for _ in entries:
            end = answer.index(b"\n", at)
            size = int(answer[at:end].split()[2])
            found.append(answer[end + 1 : end + 1 + size])
            at = end + size + 2
        return found

    def _ask(self, *words: str, given: bytes = b"") -> bytes:
        with tools.Child((*self._in, *words), env=self._env, cancel=self._cancel, feed=bool(given)) as child:
            if given:
                child.write(given)
                child.end_input()
            return b"".join(child.chunks())
