"""Durations, sizes and paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.units import absolute, duration, size, value_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5min", 300.0),
        ("5 min", 300.0),
        ("1h 30min", 5400.0),
        ("2h", 7200.0),
        ("30d", 30 * 86400.0),
        ("1w", 604800.0),
        ("0.5s", 0.5),
        (7, 7.0),
        (0.25, 0.25),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)
    assert type(duration(text)) is float


@pytest.mark.parametrize(
    "text", ["", "5", "soon", "5 parsecs", "-5s", "5s!", "s", "1e3s", True, "\u0665s", "5s\n", "5s " * 5000 + "!"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("64MB", 64 * 1024**2), ("8 kB", 8192), ("1.5GB", 1610612736), ("10B", 10), ("1TB", 1024**4), (12, 12)],
)
def test_sizes(text: str | int, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "64", "64mb", "64 MiB", "-1kB", "1kB 2kB", False])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        size(text)


def test_paths_start_at_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("../b", tmp_path / "a") == str(tmp_path / "b")
    assert absolute("~/x", Path("/else")) == str(tmp_path / "home" / "x")
    assert absolute("/etc/../srv", tmp_path) == str(Path("/srv").resolve())
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    assert absolute("link/../x", tmp_path) == str(tmp_path / "real" / "x")
    for wrong in ("~nobody-of-this-name/x", "a\0b"):
        with pytest.raises(ValueError, match="is not a path"):
            absolute(wrong, tmp_path)


@given(st.text())
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    for read in (duration, size):
        try:
            assert read(text) >= 0
        except ValueError as exc:
            assert "is not a" in str(exc)


def test_told_is_short() -> None:
    assert value_text("a") == '"a"'
    assert value_text(None) == "null"
    assert len(value_text("x" * 500)) == 60


@pytest.mark.parametrize("text", ["$HOME/x", "a/${HOME}/x", "$TMPDIR"])
def test_a_variable_of_a_shell_is_no_path(text: str, tmp_path: Path) -> None:
    """A folder of that name would be made, and nobody would look for the backups in it."""
    with pytest.raises(ValueError, match=r"no shell replaces \$\S+ here; write \$\{env\.(HOME|TMPDIR)\}"):
        absolute(text, tmp_path)
    assert absolute("5$/x$", tmp_path) == str(tmp_path / "5$" / "x$")
