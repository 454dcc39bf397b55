"""Read and write files: private ones that appear whole or not at all, with checksums that other tools can read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from runner.errors import TargetError
from runner.record import dataclass

CHUNK = 1 << 16
"""Bytes that are read at once: to read and hash a block of 1 MB took twice as much CPU, as it fits into no cache."""
_BUFFER = 1 << 20
"""Bytes that are written at once."""
SUFFIX = {"": "", "gzip": ".gz", "zstd": ".zst"}
SUMS = "SHA256SUMS"

_WHAT_TO_DO = {
    errno.ENOSPC: "free space there or choose another folder, then run again",
    errno.EDQUOT: "the quota there is used up: free space or choose another folder, then run again",
    errno.EFBIG: "the file size limit is reached: see ulimit -f, then run again",
    errno.EACCES: "make the folder writable for this user or choose another one",
    errno.EPERM: "make the folder writable for this user or choose another one",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EIO: "the disk reports a fault: check the system log first",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
}


@contextlib.contextmanager
def translate_errors(doing: str, path: Path | str) -> Iterator[None]:
    """Turn errors of the operating system into TargetErrors that name the path and what to do."""
    try:
        yield
    except OSError as exc:
        what = os.strerror(exc.errno) if exc.errno else str(exc)
        hint = _WHAT_TO_DO.get(exc.errno or 0, "")
        raise TargetError(f"cannot {doing}: {what}", where=str(path), hint=hint, code="PR0903") from exc


# ------------------------------------------------------------------ whole files and folders


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents; the created ones are private (0700)."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    with translate_errors("make the folder", path):
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def sync(path: Path) -> None:
    """Wait until a file's or a folder's content is on disk."""
    with translate_errors("write to disk", path):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def create(path: Path, data: bytes = b"") -> None:
    """Make a private file that is not there yet. Raises TargetError, also when it is there."""
    with translate_errors("write", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)


def write_text(path: Path, data: str | bytes, mode: int = 0o600) -> None:
    """Replace the content of a file atomically: readers see the old or the new content, also after a crash.

    The folder must exist: a folder that has vanished is an error, and is not created again.
    """
    _replace(path, data.encode() if isinstance(data, str) else data, lambda fd: os.fchmod(fd, mode))


def rewrite(path: Path, content: bytes) -> None:
    """Replace the content of a file that exists atomically, or of the one that a link leads to.

    It keeps its mode, and its owner and group if this user may give them to a file.
    """
    with translate_errors("write", path):
        target = path.resolve(strict=True)
        old = target.stat()

    def keep(fd: int) -> None:
        with contextlib.suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
        os.fchmod(fd, stat.S_IMODE(old.st_mode))

    _replace(target, content, keep)


def _replace(path: Path, content: bytes, set_rights: Callable[[int], None]) -> None:
    with translate_errors("write", path):
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                set_rights(fd)
                os.fsync(fd)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    sync(path.parent)


class Place:
    """A folder that is held open, so that it can be compared with what its path leads to later.

    Raises TargetError if the path is not a plain folder. `close` releases it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with translate_errors("open the folder", path):
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def close(self) -> None:
        os.close(self._fd)

    def is_at(self, path: Path) -> bool:
        """Return whether a path leads to exactly this folder, and not to a link, a copy or another disk."""
        try:
            there, here = path.lstat(), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) and here.st_nlink > 0

    def digest(self, name: str) -> tuple[int, str]:
        """Return size in bytes and SHA-256 of a plain file inside, by its relative name."""
        with translate_errors("read back", self.path / name):
            folders, fd = name.split("/")[:-1], os.dup(self._fd)
            try:
                for folder in folders:
                    inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                    os.close(fd)
                    fd = inner
                last = os.open(name.rpartition("/")[2], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            finally:
                os.close(fd)
            with os.fdopen(last, "rb") as file:
                return _digest(file)


def free_bytes(path: Path) -> int:
    """Return how many bytes this user can still write at a path, which need not exist yet."""
    there = next(each for each in (path, *path.parents) if each.exists())
    with translate_errors("look at", there):
        return shutil.disk_usage(there).free


def size_so_far(path: Path) -> int:
    """Return the bytes of a file or of the files in a folder, which another program is writing; 0 if not there."""
    found = 0
    with contextlib.suppress(OSError):
        for each in (path, *path.iterdir()) if path.is_dir() else (path,):
            found += each.lstat().st_size if each.is_file() else 0
    return found


def remove_folder(path: Path) -> None:
    """Remove a folder and its content. Refuses a link to a folder, because its target is not planrun's."""
    with translate_errors("remove", path):
        if path.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        shutil.rmtree(path)


def try_lock(fd: int) -> bool:
    """Try to lock an open file for this process without waiting; return false if another process holds the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# ------------------------------------------------------------------ names


def is_inside(name: str) -> bool:
    """Return whether a relative name stays inside its folder: no absolute path, no `..`, nothing hidden or empty."""
    if any("\ud800" <= char <= "\udfff" for char in name):
        return False  # JSON can contain half of a surrogate pair, a file name cannot
    parts = name.split("/")
    return all(part and part not in (".", "..") and "\0" not in part and "\\" not in part for part in parts)


# ------------------------------------------------------------------ checksums


def digest(path: Path, on_chunk: Callable[[int], object] = bool) -> tuple[int, str]:
    """Return size in bytes and SHA-256 of a file, which must not be a link. on_chunk: called with bytes that were
    read."""
    with translate_errors("read", path), open_plain(path) as file:
        return _digest(file, on_chunk)


def _digest(file: IO[bytes], on_chunk: Callable[[int], object] = bool) -> tuple[int, str]:
    made, size = hashlib.sha256(), 0
    while data := file.read(CHUNK):
        made.update(data)
        size += len(data)
        on_chunk(len(data))
    return size, made.hexdigest()


def open_plain(path: Path) -> IO[bytes]:
    """Open a regular file for reading; a link, a pipe or a device raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file")
    return os.fdopen(fd, "rb")


def sums_text(sums: Mapping[str, str]) -> str:
    """Return the text of a SHA256SUMS file as sha256sum writes it; odd names are escaped as it does."""
    return "".join(map(_sums_line, sums, sums.values()))


def _sums_line(name: str, digest: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def read_sums(text: str) -> dict[str, str]:
    """Return file name -> SHA-256 of a SHA256SUMS text. Raises ValueError naming the line that is not one."""
    return dict(_sums_entry(number, line) for number, line in enumerate(text.split("\n"), 1) if line)


def _sums_entry(number: int, line: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\\?)([0-9a-f]{64}) [ *](.+)", line)
    if not match:
        raise ValueError(f"line {number} is not a checksum and a name")
    name = match[3]
    if match[1]:
        name = re.sub(r"\\([\\nr])", lambda m: {"\\": "\\", "n": "\n", "r": "\r"}[m[1]], name)
    return name, match[2]


# ------------------------------------------------------------------ streams


@dataclass(frozen=True)
class Written:
    """A written file: its size in bytes, its SHA-256, and its size in bytes before compression."""

    bytes: int
    sha256: str
    plain: int


class Output:
    """A new private file that is compressed and checksummed while it is written; `close` flushes it to disk.

    compress: "", "gzip" or "zstd". Raises TargetError if the file exists or the disk reports an error.
    """

    def __init__(self, path: Path, compress: str = "") -> None:
        self.path, self.plain = path, 0
        self._sum, self._size = hashlib.sha256(), 0
        with translate_errors("write", path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(fd, "wb", buffering=_BUFFER)
        self._pack: Any = _packer(compress, cast(IO[bytes], _Summed(self))) if compress else _Summed(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # the failure is already reported; on a full disk, closing fails, too
            self._file.close()

    def write(self, data: bytes) -> None:
        self.plain += len(data)
        with translate_errors("write", self.path):
            self._pack.write(data)

    def put(self, data: bytes) -> int:
        """Write bytes that are already compressed."""
        self._sum.update(data)
        self._size += len(data)
        return self._file.write(data)

    def close(self) -> Written:
        """End the stream, flush it to disk, and describe the written file."""
        with translate_errors("write", self.path):
            self._pack.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return Written(self._size, self._sum.hexdigest(), self.plain)


class _Summed(io.RawIOBase):
    """The lower end of a compressor: closing it leaves the file open for fsync."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._output.put(bytes(data))


def _packer(compress: str, below: IO[bytes]) -> Any:
    if compress == "gzip":
        # no name and no time inside, so that the same data gives the same file
        return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=below, mtime=0)
    return _zstandard().ZstdCompressor(level=3, write_checksum=True).stream_writer(below, closefd=False)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise TargetError(
            "this Python has no zstd", hint="pip install zstandard, or write compress: gzip", code="PR0903"
        ) from None
    return zstandard


def decompress(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, decompressed by its ending (.gz, .zst). Raises TargetError when it is damaged."""
    with translate_errors("read", path), open_plain(path) as file:
        try:
            yield from _UNPACK.get(path.suffix, _blocks)(file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise TargetError(f"damaged archive: {exc}", where=str(path), code="PR0707") from exc


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK), b"")


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    if not file.read(1):  # Python accepts an empty file as a complete one
        raise EOFError("the file is empty")
    file.seek(0)
    yield from _blocks(cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb")))


def _unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """Decompress one frame to its end; zstandard's own stream_reader accepts a truncated file."""
    module = _zstandard()
    stream = module.ZstdDecompressor().decompressobj()
    try:
        for data in _blocks(file):
            yield stream.decompress(data)
    except module.ZstdError as exc:
        raise EOFError(exc) from exc
    if not stream.eof or stream.unused_data:
        raise EOFError("the compressed data does not end where the file does")


_UNPACK = {".gz": _gunzip, ".zst": _unzstd}
