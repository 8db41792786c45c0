"""Files that are whole or not there, and directories that one process has to itself."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from loopkit.errors import RunError, UsageError
from loopkit.records import Json

TEMPORARY, LOCK = ".tmp-", ".lock"


def cache_dir() -> Path:
    """``$LOOPKIT_CACHE``, else ``~/.cache/loopkit`` (or ``$XDG_CACHE_HOME/loopkit``)."""
    chosen = os.environ.get("LOOPKIT_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "loopkit"


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write beside the file and rename: a reader sees the old file or the new one, never a part.

    ``durable``: it is on the disk when this returns. Raises RunError where it cannot be written (a full disk, a
    read-only directory); the old file stays.
    """
    temporary = path.parent / f"{TEMPORARY}{path.name}"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            if durable:
                _flush(temporary)
            temporary.replace(path)
            if durable:
                _flush(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)  # half of a file would take what room there is
            raise


def flush(folder: Path) -> None:
    """Bring a folder and all below it to the disk, so that no power failure undoes it. What is there costs little."""
    with writing(folder):
        for path in [*folder.rglob("*"), folder]:
            with contextlib.suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
                _flush(path)


def _flush(path: Path) -> None:
    if path.is_file() or path.is_dir():  # no socket or pipe of somebody's
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that cannot be written, and the cure."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Make room there, or make it writable, and run the same command: it resumes."
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a directory while this process works in it; raises RunError where another process does.

    flock and not a library's lock, which opens its file for writing: a finished directory may be read-only.
    Raises UsageError where the system has no flock (Windows): two commands would write into one directory.
    """
    try:
        import fcntl
    except ImportError as error:
        raise UsageError(
            f"{path} cannot be held: this system ({sys.platform}) has no flock. Use Linux, in a virtual machine or a "
            "container say, for what writes runs; list, check and audit work here."
        ) from error
    file = path / LOCK
    with writing(file):
        path.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            if not file.exists():
                raise
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # read-only, and perhaps nothing is left to write
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{path} is in use by another process. Wait for it, or choose another --out.") from error
        yield
    finally:
        os.close(handle)


def to_json(data: Json) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
