"""The modules that are served from memory: the pure part of the standard library, and ``inside``."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import struct
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from loopkit.errors import UsageError
from loopkit.sandbox.inside.kernel import words

INSIDE = Path(__file__).parent / "inside"
PACKAGE = "loopkit.sandbox.inside"
LEFT_OUT = words(
    "test tests idlelib turtledemo tkinter turtle lib2to3 ensurepip venv distutils site-packages __pycache__ "
    "dist-packages pydoc_data msilib curses dbm sqlite3 ctypes.test config __phello__ antigravity this"
)
"""Parts that no solution uses: tests, windows, terminals, databases, installers."""


@functools.cache
def own_sources() -> Mapping[str, str]:
    """Module name -> text of what runs inside."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(INSIDE.glob("*.py"))}


@functools.cache
def _standard() -> tuple[tuple[str, bool, str, bytes], ...]:
    """(name, whether a package, "code" or "source", bytes) of the standard library's pure modules."""
    root = Path(sysconfig.get_path("stdlib"))
    magic = importlib.util.MAGIC_NUMBER
    found = []
    for name, package, file in _walk(root, ""):
        cached = importlib.util.cache_from_source(str(file))
        try:
            data = Path(cached).read_bytes()
            fresh = data[:4] == magic and data[4:8] == b"\0\0\0\0"
            if fresh:
                stat = file.stat()
                fresh = struct.unpack("<II", data[8:16]) == (int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF)
        except OSError:
            fresh = False
        found.append((name, package, "code", data[16:]) if fresh else (name, package, "source", file.read_bytes()))
    if not found:
        raise UsageError(f"the standard library has no Python files in {root}: the sandbox cannot serve its modules.")
    return tuple(found)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, bool, Path]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            stem = entry.name.removesuffix(".py")
            if stem in LEFT_OUT or prefix + stem in LEFT_OUT or not stem.isidentifier():
                continue
            if entry.name.endswith(".py"):
                if stem != "__init__":
                    yield prefix + stem, False, Path(entry.path)
            elif (init := Path(entry.path, "__init__.py")).exists():
                yield prefix + stem, True, init
                yield from _walk(Path(entry.path), prefix + stem + ".")


def build(sources: Mapping[str, str]) -> int:
    """A sealed memory file with the store; the caller closes the descriptor. Raises OSError."""
    index: dict[str, list[object]] = {}
    parts: list[bytes] = []
    start = 0
    own = [(name, True, "source", b"") for name in ("loopkit", "loopkit.sandbox")]
    own += [
        (PACKAGE if stem == "__init__" else f"{PACKAGE}.{stem}", stem == "__init__", "source", text.encode())
        for stem, text in sources.items()
    ]
    for name, package, kind, data in (*_standard(), *own):
        index[name] = [int(package), kind, start, len(data)]
        parts.append(data)
        start += len(data)
    head = json.dumps(index).encode()
    fd = os.memfd_create("loopkit-modules", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.writelines([struct.pack("<Q", len(head)), head, *parts])
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(fd)
        raise
    return fd
