"""Run a program in a pseudo-terminal, for programs that ask questions or do nothing without a terminal.

The person at planrun's terminal sees its output and answers it. Sources: pty(7), termios(3), tty_ioctl(4).
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.cancel import Cancel
from runner.tools import CHUNK, Child, Tail
from runner.words import plain

SIZE = struct.pack("HHHH", 24, 80, 0, 0)
"""Rows and columns if planrun has no terminal (struct winsize)."""

_LOOK = 0.1
"""Seconds between two checks whether the program has ended or the window size has changed."""
_LOOKS_PER_END = 10
_A_FEW = 4
"""Characters: a prompt whose end looks like at most this many characters of a secret is shown without waiting for
more."""
_END_OF_INPUT = b"\x04"
_STRING = re.compile(r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)")
"""Strings to a terminal (ECMA-48, 5.6): its title, the clipboard (OSC 52), commands. No prompt needs them."""
_BEGUN = re.compile(r"(?:(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*\x1b?|\x1b)\Z")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 4096
"""Characters of a string to the terminal that has not ended; a longer one is dropped."""


@dataclass(frozen=True, kw_only=True)
class Console:
    """planrun's own terminal, for use by a program: the descriptors to read keys from and to draw on."""

    keys: int
    screen: int


class Redraw:
    """Removes secrets from what a program draws, and what is not drawing, before it is shown.

    text: removes them from a text. begun: returns how many of the last characters of a text may be the beginning of a
    secret; these characters are shown only with the text that follows.
    """

    def __init__(self, text: Callable[[str], str], begun: Callable[[str], int]) -> None:
        self._text, self._begun, self._waiting = text, begun, ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what can be shown after `data` has arrived, perhaps nothing yet. last: the output has ended."""
        text = _drawing(self._waiting + self._decode.decode(data, last), last=last)
        begun = _BEGUN.search(text)
        text, open_string = (text[: begun.start()], begun[0]) if begun and not last else (text, "")
        keep = 0 if last else self._begun(text)
        if not data and keep < _A_FEW:
            keep = 0
        self._waiting = text[len(text) - keep :] + open_string
        return self._text(text[: len(text) - keep]).encode()


def _drawing(text: str, *, last: bool) -> str:
    """Return a text without strings to the terminal and without changes of its direction."""
    text = _DIRECTION.sub("", _STRING.sub("", text))
    begun = _BEGUN.search(text)
    return text[: begun.start()] if begun and (last or len(begun[0]) > _LONGEST) else text


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cancel: Cancel,
    cwd: str | None = None,
    console: Console | None = None,
    draw: Redraw | None = None,
    on_line: Callable[[str], object] = lambda line: None,
    keep: int = 64 * 1024,
) -> str:
    """Run a program to its end with a pseudo-terminal for input, output and messages.

    console: planrun's terminal, which gives it keys and shows its output; without one, it reads the end of its input.
    draw: returns the part of its output to show. on_line: called with each line of its output, as plain text.
    Returns the last `keep` bytes of its output as plain text. Raises TargetError if it fails, and the reason if
    cancelled.
    """
    ours, its = os.openpty()
    lines = Tail(keep)
    os.set_blocking(ours, False)
    try:
        _resize(ours, console)
        with Child(argv, env=env, cancel=cancel, cwd=cwd, terminal=its) as child:
            os.close(its)
            its = -1
            if console:
                _take_keys_at_once(console.keys)
            _converse(ours, child, console, draw, lines, on_line)
            child.finish(said=plain(_text(lines.data)))
    finally:
        os.close(ours)
        if its >= 0:
            os.close(its)
    return plain(_text(lines.data))


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _converse(
    ours: int,
    child: Child,
    console: Console | None,
    draw: Redraw | None,
    lines: Tail,
    on_line: Callable[[str], object],
) -> None:
    """Pass keys to the program and its output to planrun until it has ended and its whole output is read."""
    size, rest, looks = _size(console), b"", 0
    sources = [ours] + ([console.keys] if console else [])
    while True:
        has_ended = child.has_ended  # before the look: what it wrote since then would be lost
        ready = select.select(sources, [], [], _LOOK)[0]
        if console and console.keys in ready and not _carry_keys(console.keys, ours):
            sources.remove(console.keys)
        if console is None and not ready:
            if looks % _LOOKS_PER_END == 0:  # each question of a program reads one end of input
                _type(ours, _END_OF_INPUT)
            looks += 1
        data = _read(ours) if ours in ready else b""
        last = not data and has_ended
        if console:
            _show(console.screen, draw(data, last=last) if draw else data)
            if _size(console) != size:
                size = _size(console)
                _resize(ours, console)
                child.send(signal.SIGWINCH)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            _keep(line + b"\n", lines, on_line)
        if len(rest) > CHUNK or (rest and last):
            _keep(rest, lines, on_line)
            rest = b""
        if last:
            return


def _keep(line: bytes, lines: Tail, on_line: Callable[[str], object]) -> None:
    lines.add(line)
    on_line(plain(_text(line)).rstrip("\n"))


def _read(ours: int) -> bytes:
    try:
        return os.read(ours, CHUNK)
    except OSError:  # no data, or EIO: the last program that had it open has ended (pty(7))
        return b""


def _carry_keys(keys: int, ours: int) -> bool:
    """Pass typed keys to the program; return false if planrun's terminal was closed."""
    try:
        typed = os.read(keys, 1024)
    except OSError:
        return False
    _type(ours, typed)
    return bool(typed)


def _type(ours: int, keys: bytes) -> None:
    with contextlib.suppress(OSError):  # the program has ended meanwhile, or does not read (its queue is full)
        os.write(ours, keys)


def _show(screen: int, data: bytes) -> None:
    while data:
        data = data[os.write(screen, data) :]


def _size(console: Console | None) -> bytes:
    with contextlib.suppress(OSError):
        if console:
            return fcntl.ioctl(console.screen, termios.TIOCGWINSZ, SIZE)
    return SIZE


def _resize(ours: int, console: Console | None) -> None:
    size = _size(console)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, size if any(size[:4]) else SIZE)


@contextlib.contextmanager
def keep_mode(keys: int) -> Iterator[Callable[[], None]]:
    """Restore the mode of a terminal after the block; yield a function that does so at once."""
    before = termios.tcgetattr(keys)

    def restore() -> None:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(keys, termios.TCSANOW, before)

    try:
        yield restore
    finally:
        restore()


def _take_keys_at_once(keys: int) -> None:
    """Read keys as they are pressed, without echo, because the program's own terminal does both; Ctrl-C still stops
    planrun."""
    tty.setcbreak(keys)
    mode = termios.tcgetattr(keys)
    mode[0] &= ~termios.ICRNL  # Enter is CR: programs that read single keys wait for that one
    termios.tcsetattr(keys, termios.TCSANOW, mode)
