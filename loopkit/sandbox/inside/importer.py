"""Imports from memory: the zygote's start, and what a program may import though no file can be opened.

The store is a read-only private mapping that holds, one after another, marshalled code or source text of every pure
module of the standard library and of this package; its head is a JSON index. What a program changes in it, it changes
for itself. Module names of C extensions are not in it: those that a solution would use are imported beforehand.
"""

from __future__ import annotations

import json
import marshal
import mmap
import struct
import sys
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

PRELOAD = str.split(
    "abc array ast atexit base64 bisect builtins cmath codecs collections collections.abc contextlib copy ctypes "
    "dataclasses datetime decimal enum errno fractions functools gc hashlib heapq hmac importlib importlib.abc "
    "importlib.machinery importlib.util io itertools json keyword math mmap numbers operator os queue random re "
    "resource select signal socket statistics string struct sys textwrap threading time traceback types typing "
    "warnings weakref zlib encodings.ascii encodings.latin_1 encodings.utf_8 encodings.raw_unicode_escape "
    # C extensions that pure modules import, of which the programs may import any
    "_bz2 _contextvars _csv _datetime _elementtree _lzma _multiprocessing _pickle _posixsubprocess _queue _socket "
    "_statistics _zoneinfo _opcode _lsprof binascii fcntl pyexpat unicodedata _heapq"
)
"""What solutions usually import, and what cannot be loaded later. Neither ``ssl`` nor ``_asyncio``, which brings it."""


class Importer(MetaPathFinder, InspectLoader):
    """Finds and loads modules of the store."""

    __name__ = "Importer"

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        head = 8 + struct.unpack("<Q", self._map[:8])[0]
        self._start = head
        self._index: dict[str, list[Any]] = json.loads(self._map[8:head])
        self.fixes: dict[str, Callable[[ModuleType], None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if (found := self._index.get(fullname)) is None:
            return None
        return ModuleSpec(fullname, self, origin="<memory>", is_package=bool(found[0]))

    def get_code(self, fullname: str) -> CodeType:
        _, kind, start, size = self._index[fullname]
        data = self._map[self._start + start : self._start + start + size]
        if kind == "code":
            code: CodeType = marshal.loads(data)
            return code
        return compile(data, f"<{fullname}>", "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if module.__name__ in self.fixes:
            self.fixes[module.__name__](module)

    def get_source(self, fullname: str) -> str | None:
        return None


def preload(packages: Sequence[str] = ()) -> list[str]:
    """Import what programs usually need; returns the C extensions that this Python lacks.

    packages   where packages lie that programs may import besides, and their modules. Raises ImportError for these.
    """
    missing = []
    for name in ("_hashlib", "_ssl"):  # OpenSSL makes every fork dearer; Python has the rest
        sys.modules[name] = None  # type: ignore[assignment]
    for name in PRELOAD:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if packages:
        folders, *modules = packages
        sys.path[:0] = folders.split(":")
        for name in modules:
            __import__(name)
    for name in ("_hashlib", "_ssl"):
        del sys.modules[name]
    return missing


def install(fd: int) -> Importer:
    importer = Importer(fd)
    sys.meta_path.append(importer)
    return importer
