"""What a program finds around it: standard streams, and answers for library calls that the layers refuse.

Prepared once, in the zygote, for every program alike: the streams are over descriptors that a child replaces by its
program's own. Whatever a program does to all this, it does to its copy.
"""

from __future__ import annotations

import _frozen_importlib
import _thread
import builtins
import ctypes
import hashlib
import hmac
import io
import mmap
import os
import queue
import random
import resource
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from loopkit.sandbox.inside import kernel

FILE = "solution.py"
"""What a program is told that it is called."""
THREADS = 64
"""Threads of a program, its first one included."""
KERNEL = 96
"""What the kernel is told: some more, since it counts those that are about to end. Whatever a program starts past
Python counts here, too."""
REFUSED = 71
"""Exit code of a program that the machine refused something: no verdict. What it was is written to descriptor 3."""


class Sink(io.RawIOBase):
    """Swallows what is written: standard error, and what a function prints. Its descriptor is a file of the child's."""

    mode = "wb"

    def __init__(self, name: str) -> None:
        self.name = name

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        return len(data)


def reader() -> io.TextIOWrapper:
    """Standard input over descriptor 0, from where that stands."""
    raw: Any = io.FileIO(0, "rb", closefd=False)
    raw.name = "<stdin>"
    return _text(io.BufferedReader(raw), "r")


def writer() -> io.TextIOWrapper:
    """Standard output over descriptor 1."""
    raw: Any = io.FileIO(1, "wb", closefd=False)
    raw.name = "<stdout>"
    return _text(io.BufferedWriter(raw, 1 << 16), "w")


def sink(name: str) -> io.TextIOWrapper:
    return _text(io.BufferedWriter(Sink(name)), "w")


def _text(buffer: Any, mode: str) -> io.TextIOWrapper:
    stream = io.TextIOWrapper(buffer, "utf-8")
    stream.mode = mode  # type: ignore[misc]  # as Python sets it on its own three
    return stream


def attach(stdin: io.TextIOWrapper, stdout: io.TextIOWrapper) -> None:
    """Make these, and a sink for errors, the standard streams."""
    names: Any = sys
    names.stdin = names.__stdin__ = stdin
    names.stdout = names.__stdout__ = stdout
    names.stderr = names.__stderr__ = sink("<stderr>")


def prepare(importer: Any) -> None:
    """Called once, when all is imported: from here on, modules come from memory and paths are absent."""
    attach(reader(), writer())
    sys.setrecursionlimit(1000)
    sys.path[:] = []
    sys.meta_path[:] = [_frozen_importlib.BuiltinImporter, _frozen_importlib.FrozenImporter, importer]
    importer.fixes = {"multiprocessing.pool": _thread_pools}
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()
    sys.argv[:] = [FILE]  # not the harness's own
    random.seed(0)  # each program gets the same numbers
    names: Any = builtins
    names.quit = names.exit = sys.exit  # site's; scripts use them
    builtins.open = io.open = _opening(io.open)
    names = os
    names.fstat = _fstat  # libc's takes a path on the way
    names.getcwd, names.getcwdb = lambda: "/", lambda: b"/"
    names.getpid, names.getppid = lambda: 1, lambda: 0  # the same for all: a number would tell what ran before
    names.cpu_count = names.process_cpu_count = lambda: 1
    names.sched_getaffinity = lambda pid: {0}
    names = resource
    names.setrlimit = lambda what, limits: None  # "raise my stack": it is at its limit already
    names.getrlimit = lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    names = signal
    names.alarm = lambda seconds: round(signal.setitimer(signal.ITIMER_REAL, seconds)[0])
    names = hashlib
    if not hasattr(hashlib, "pbkdf2_hmac"):  # from Python 3.12 on, OpenSSL's only
        names.pbkdf2_hmac = _pbkdf2_hmac
    for name in ("start_new_thread", "start_joinable_thread"):
        if start := getattr(_thread, name, None):
            counted = _counted(start)
            setattr(_thread, name, counted)
            setattr(threading, "_" + name, counted)


def _opening(real: Any) -> Any:
    """``open``, for which ``/dev/stdin`` is descriptor 0: no path can be opened."""

    def open(file: Any, *arguments: Any, **named: Any) -> Any:
        if str(file) == "/dev/stdin":
            return real(0, *arguments, **{**named, "closefd": False})
        return real(file, *arguments, **named)

    return open


class _Notifier(queue.SimpleQueue):  # type: ignore[type-arg]
    _reader = None


def _thread_pools(module: Any) -> None:
    """``multiprocessing.pool.ThreadPool`` wakes itself through a pipe: here through a queue."""
    from multiprocessing.context import BaseContext

    BaseContext.SimpleQueue = lambda self: _Notifier()  # type: ignore
    module.Pool._wait_for_updates = staticmethod(lambda sentinels, notifier, timeout=None: notifier.get())


def _fstat(fd: int) -> os.stat_result:
    """``os.fstat`` by the plain system call: size, mode and link count."""
    room = ctypes.create_string_buffer(256)
    kernel.syscall("fstat", ctypes.c_int(fd), room)
    device, inode = struct.unpack_from("QQ", room)
    mode = struct.unpack_from("I", room, 24 if kernel.MACHINE == "x86_64" else 16)[0]
    (size,) = struct.unpack_from("q", room, 48)
    return os.stat_result((mode, inode, device, 1, 0, 0, size, 0, 0, 0))


def _pbkdf2_hmac(hash_name: str, password: Any, salt: Any, iterations: int, dklen: int | None = None) -> bytes:
    """PBKDF2 of RFC 8018 with HMAC, as ``hashlib`` has it."""
    keyed = hmac.new(bytes(password), None, hash_name)
    length = keyed.digest_size if dklen is None else dklen
    if iterations < 1 or length < 1:
        raise ValueError("iterations and dklen are 1 or more")
    derived = b""
    for block in range(1, -(-length // keyed.digest_size) + 1):
        mac = keyed.copy()
        mac.update(bytes(salt) + block.to_bytes(4, "big"))
        last = mac.digest()
        total = int.from_bytes(last, "big")
        for _ in range(iterations - 1):
            mac = keyed.copy()
            mac.update(last)
            last = mac.digest()
            total ^= int.from_bytes(last, "big")
        derived += total.to_bytes(keyed.digest_size, "big")
    return derived[:length]


# --- what the machine refuses is no verdict ---------------------------------------------------------------------


def _counted(start: Callable[..., Any]) -> Callable[..., Any]:
    """``start`` of a thread, for as many at a time as a program may have: the same wherever it runs, and whatever else
    the user runs. Where the machine refuses fewer, that is said."""
    alive: list[None] = []  # appending and popping are whole, whatever thread does it

    def start_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        def run(*inner: Any, **more: Any) -> None:
            try:
                function(*inner, **more)
            finally:
                alive.pop()

        if len(alive) >= THREADS - 1:
            raise RuntimeError("can't start new thread")
        alive.append(None)
        for wait in (0.001, 0.01, 0.1, 0.3, None):
            try:
                return start(run, *arguments, **named)
            except RuntimeError:
                if wait is None or not _room(_thread.stack_size() or 8 << 20):
                    break
                time.sleep(wait)  # the kernel may count some that have ended
            except BaseException:
                alive.pop()
                raise
        alive.pop()
        if wait is None:
            refuse("a thread")
        raise RuntimeError("can't start new thread")

    return start_thread


def memory_is_refused() -> bool:
    """After a MemoryError: whether there is address space left that the machine does not fill with memory."""
    size = 256 << 20
    while size >= 1 << 20:
        if _room(size):
            return not _room(size, mmap.PROT_READ | mmap.PROT_WRITE)
        size >>= 1
    return False


def _room(size: int, protection: int = 0) -> bool:
    """Whether that many bytes of address space (with a protection: of memory) can be had."""
    at = kernel.libc.mmap(None, ctypes.c_size_t(size), protection, 0x22, -1, ctypes.c_long(0))  # private, anonymous
    if at in (None, 2**64 - 1):
        return False
    kernel.libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    return True


def refuse(what: str, leave: Callable[[int], None] = os._exit, write: Callable[[int, bytes], int] = os.write) -> None:
    """End the program: the machine refused ``what``, which it may have. The pool looks whether that is so."""
    os.lseek(3, 0, os.SEEK_SET)
    write(3, what.encode())
    leave(REFUSED)
