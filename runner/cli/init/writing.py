"""Write the files of a new plan: all of them or none, and never over one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.errors import PlanrunError, UsageError


def write_all(texts: Mapping[Path, str]) -> None:
    """Write new files. Raises UsageError if one of them is there, PlanrunError if one cannot be written; then, and
    after a Ctrl-C, no file is left."""
    if there := [file for file in texts if file.exists() or file.is_symlink()]:
        raise UsageError(
            f"already there: {', '.join(map(str, there))}",
            hint="nothing was written; choose another name (-o plans/NAME.yml), or edit these files",
            code="PR0604",
        )
    made = list[Path]()
    try:
        for file, text in texts.items():
            made += _make_folders(file.parent)
            made.append(file)
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as exc:
        _remove(made)
        raise PlanrunError(
            f"cannot write {exc.filename}: {exc.strerror}",
            hint="nothing was written; choose another folder with -o",
            code="PR1143",
        ) from exc
    except BaseException:
        _remove(made)
        raise


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the new ones, from the top."""
    new = [one for one in (folder, *folder.parents) if not one.exists()][::-1]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def _remove(made: list[Path]) -> None:
    """Remove new files and folders, the last ones first."""
    for path in reversed(made):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
