"""Compose one document from files: `extends`, `--set`, and the only way in which a plan can name another file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import Mark, PlanError, Problem, UsageError
from runner.language import source
from runner.language.source import Document, Place, Steps
from runner.words import close_matches

MAX_CHAIN = 16
"""How long a chain of files that extend or use one another may be."""

LONGEST = 65_536
"""The journal keeps the text of files of up to this many bytes, to show what changed; of longer ones, the digest."""


def root_of(file: Path) -> Path:
    """Return the folder outside of which no file is read: the nearest one with `.git` or `sql/`, else the file's."""
    folder = file.resolve().parent
    return next(_roots(folder), folder)


def _roots(folder: Path) -> Iterator[Path]:
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists() or (candidate / "sql").is_dir():
            yield candidate


def may_read(path: Path, root: Path) -> bool:
    """Return whether a plan with this root may read a file; both are resolved. `.git` may contain credentials of a
    job."""
    return path.is_relative_to(root) and ".git" not in map(str.lower, path.relative_to(root).parts)


def leads_out(file: Path) -> bool:
    """Return whether a file is a link, or behind a link, that leads out of the checkout in which it is named.

    Or into its `.git`. Such a file must not be read or shown: otherwise anybody who can add a link to a repository
    could see any file of the machine that checks it. A link to another checkout leads out, too, if it is named from the
    working directory.
    """
    here = Path.cwd()
    named = Path(os.path.normpath(here / file))
    folders = (named.parent, *((here,) if named.is_relative_to(here) else ()))
    named_in = (root for folder in folders for root in itertools.islice(_roots(folder), 1))
    try:
        real = file.resolve()
        return not all(may_read(real, root.resolve()) for root in named_in)
    except (OSError, RuntimeError):  # the links form a circle
        return True


def refuse_link_out(file: Path) -> None:
    """Raise PlanError for a file of which leads_out is true."""
    if leads_out(file):
        hint = "copy the file, or name the place where it is"
        raise PlanError(
            Problem(Mark(str(file), 1, 1), "this file is a link out of its root folder", hint, code="PR0115")
        )


class Files:
    """Reads the files of one plan, each once and none outside the root, and names them in messages.

    Raises PlanError for a plan that is a link which leads out of the root.
    """

    def __init__(self, main: Path) -> None:
        refuse_link_out(main)
        self.main = main.resolve()
        self.root = root_of(main)
        self._shown = main.parent
        self._known: dict[Path, Document] = {}
        self._bytes: dict[str, bytes] = {}

    def display_path(self, path: Path) -> str:
        """Return a path as the user would type it, relative to how the plan was named."""
        return os.path.normpath(self._shown / os.path.relpath(path, self.main.parent))

    def open(self, path: Path, *, name: str = "") -> Document:
        """Return the document of a file. Raises PlanError when it cannot be read."""
        if path not in self._known:
            shown = name or self.display_path(path)
            self._known[path], raw = source.read(path, shown)
            self._remember(path, raw)
        return self._known[path]

    def read_bytes(self, path: Path) -> bytes:
        """Read a file that is not YAML, so that it counts in the digest."""
        raw = path.read_bytes()
        self._remember(path, raw)
        return raw

    def _remember(self, path: Path, raw: bytes) -> None:
        inside = path.is_relative_to(self.root)
        self._bytes[path.relative_to(self.root).as_posix() if inside else f"planrun:{path.name}"] = raw

    def sql_file(self, text: str, where: Mark) -> Path:
        """Return a file under the root's `sql/`. Raises PlanError outside of it or when missing."""
        folder = self.root / "sql"
        path = self.find_file(text, folder, where)
        if not path.is_relative_to(folder.resolve()):
            raise PlanError(Problem(where, f"'{text}' is outside the plan's sql/ folder", code="PR0115"))
        return path

    def find_file(self, text: str, folder: Path, where: Mark) -> Path:
        """Return the file that `text` names, seen from `folder`. Raises PlanError outside the root or when missing."""
        try:
            path = (folder / text).resolve()
            allowed, there = may_read(path, self.root), path.is_file()
        except (OSError, ValueError, RuntimeError) as exc:
            raise PlanError(Problem(where, f"'{text}' is not a file name: {exc}", code="PR0115")) from None
        if not allowed:
            hint = f"files of a plan stay in {self.root.name}/, the nearest folder with .git or sql/"
            raise PlanError(Problem(where, f"'{text}' is outside the plan's root folder", hint, code="PR0115"))
        if not there:
            raise PlanError(Problem(where, f"there is no file '{text}'", _near_file(path), code="PR0115"))
        return path

    def texts(self) -> dict[str, str]:
        """Return the text of every file read, by its path from the root; a long one is a digest."""
        return {name: _text_of(raw) for name, raw in sorted(self._bytes.items())}

    def digest(self, *more: Any) -> str:
        """Return a SHA-256 over the names and bytes of every file read, and `more`."""
        sha = hashlib.sha256()
        for name, raw in sorted(self._bytes.items()):
            sha.update(f"{name}\0{len(raw)}\0".encode() + raw)
        sha.update(json.dumps(more, sort_keys=True, default=repr).encode())
        return sha.hexdigest()


def _text_of(raw: bytes) -> str:
    if len(raw) > LONGEST:
        return f"{len(raw):,} bytes, SHA-256 {hashlib.sha256(raw).hexdigest()}\n"
    return raw.decode("utf-8", "backslashreplace")


def _near_file(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    except OSError:
        return ""
    close = close_matches(path.name, names)
    return f"did you mean '{close[0]}'?" if close else ""


# ------------------------------------------------------------------ extends


def extend(files: Files, path: Path, chain: tuple[Path, ...] = ()) -> Document:
    """Return a plan file merged over the file that it extends, which is merged in the same way."""
    document = files.open(path)
    if not isinstance(document.data, dict):
        raise PlanError(
            Problem(document.place.mark, "a plan is a mapping of keys", "planrun init writes one", code="PR0114")
        )
    name = document.data.get("extends")
    if not isinstance(name, str) or not name:
        return document
    where = document.at(("extends",))
    base = files.find_file(name, path.parent, where)
    if base in (*chain, path) or len(chain) >= MAX_CHAIN:
        ring = " -> ".join(files.display_path(one) for one in (*chain, path, base))
        raise PlanError(Problem(where, f"these files extend each other: {ring}", "remove one `extends`", code="PR0116"))
    return merge(without(extend(files, base, (*chain, path)), "extends"), document)


def merge(base: Document, over: Document) -> Document:
    """Merge mappings key by key; anything else of `over` replaces what `base` has."""
    if not (isinstance(base.data, dict) and isinstance(over.data, dict)):
        return over
    data: dict[str, Any] = dict(base.data)
    place = _copy_place(base, over.place)
    for key, value in over.data.items():
        part = Document(value, over.find((key,)))
        if key in data:
            part = merge(Document(data[key], base.find((key,))), part)
        put(data, place, key, part, over.place.key(key))
    return Document(data, place)


def without(document: Document, key: str) -> Document:
    """Return a mapping without one of its keys."""
    data = {k: v for k, v in document.data.items() if k != key}
    return Document(data, _copy_place(Document(data, document.place), document.place))


def _copy_place(document: Document, head: Place) -> Place:
    place = Place(head.file, head.spot)
    place.keys = {key: document.place.key(key) or head for key in document.data}
    place.parts = {key: document.find((key,)) for key in document.data}
    return place


def put(data: dict[str, Any], place: Place, key: str, part: Document, key_place: Place | None = None) -> None:
    """Set one entry of a mapping together with its place."""
    data[key] = part.data
    assert isinstance(place.parts, dict) and place.keys is not None
    place.parts[key], place.keys[key] = part.place, key_place or part.place


# ------------------------------------------------------------------ --set


def settings(sets: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Return name -> text of `--set name=value`; the last one wins. Raises UsageError without a `=`."""
    if isinstance(sets, Mapping):
        return dict(sets)
    found = {}
    for one in sets:
        name, sign, text = one.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {one!r} has no '='", hint="write --set name=value", code="PR0206")
        found[name.strip()] = text
    return found


def place_of_set(name: str) -> Place:
    """Return the place to which problems of a `--set` refer."""
    return Place(f"--set {name}", (1, 1))


def value_of(text: str, types: Iterable[str]) -> Any:
    """Read the text of a `--set` as one of these JSON types; any other text stays text."""
    wanted = list(types)
    if wanted == ["string"]:
        return text
    try:
        value = source.parse(text, "--set").data if text[:1] in "[{\"'" and text else source.plain(text)
    except (PlanError, ValueError):
        return text
    return text if "string" in wanted and type_of(value) not in wanted else value


def type_of(value: Any) -> str:
    """Return the JSON type of a value; an integer is an `integer`."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def with_setting(document: Document, path: Steps, value: Any) -> Document:
    """Return the document with one value set, as if a file that extends it contained the value."""
    place = place_of_set(".".join(map(str, path)))
    over = Document(value, place)
    for key in reversed(path):
        above = Place(place.file, place.spot)
        above.keys, above.parts = {str(key): place}, {str(key): over.place}
        over = Document({str(key): over.data}, above)
    return merge(document, over)
