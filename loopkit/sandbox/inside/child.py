"""One program in a forked child: lock up, run, say what came out. From ``run`` on, nothing here can be trusted.

A function's answers go to descriptor 1 as lines of JSON, one a case; a script's output goes there as it is. Descriptor
3 has had one byte, written before the program began, and may take a word on an exception. Nothing else is open.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import io
import json
import os
import random
import resource
import signal
import struct
import sys
import threading
import types
from importlib.machinery import PathFinder
from typing import Any

from loopkit.sandbox.inside import codec, kernel

DETAIL = 400
"""Bytes of an error message that travel."""
FILE = "solution.py"
"""What a program is told that it is called."""
OWN = 1024
"""Bytes of output that are ours, beyond the program's: the frames around its values."""


def lock(fds: list[int], job: dict[str, Any], filter: bytes | None, threads: int) -> dict[str, Any]:
    """Close all but the program's own descriptors, take the limits and the filter on, read the program."""
    program, out, theirs, stdin = fds
    text = os.pread(program, os.lseek(program, 0, os.SEEK_END), 0)
    for target, fd in ((0, stdin), (1, out), (3, theirs)):
        os.dup2(fd, target)
    os.closerange(4, 4096)
    cases, cpu = job["cases"], job["cpu"]
    kernel.limits(
        cpu=int(cpu * (cases + 1)) + 2, memory=job["memory"], output=job["output"] + OWN * cases, threads=threads
    )
    if filter is not None:
        kernel.seccomp(filter)
    for what in (signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(what, signal.SIG_IGN)
    found: dict[str, Any] = json.loads(text)
    return found


def run(program: dict[str, Any], job: dict[str, Any], importer: Any) -> None:
    """Run a function over its cases, or a script once; leaves by ``os._exit``."""
    _friendly()
    sys.meta_path[:] = [*(f for f in sys.meta_path if f is not PathFinder), importer]
    sys.path[:] = []
    sys.argv = [FILE]  # not the harness's own
    _alarm(job)
    os.write(3, b"+")  # from here on the program is to blame
    gc.enable()
    try:
        code = 0
        if program["form"] == "script":
            code = _script(program["source"])
        else:
            _function(program, job)
    except BaseException as error:
        note(error)
        code = 1
    os._exit(code)


def _function(program: dict[str, Any], job: dict[str, Any]) -> None:
    write, limit = os.write, job["output"]

    def say(*frame: Any) -> None:
        text = json.dumps(frame).encode() + b"\n"
        if len(text) > limit:
            text = json.dumps((frame[0], "big", len(text))).encode() + b"\n"
        while text:
            text = text[write(1, text) :]

    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), _Discard(), _Discard()
    try:
        call = _load(program["source"], program["entry"])
    except BaseException as error:
        return say(-1, "error", *_named(error))
    say(-1, "loaded")
    for k, arguments in enumerate(program["cases"], program["first"]):
        _alarm(job)
        try:
            value = call(*codec.unpack(arguments))
        except BaseException as error:
            say(k, "error", *_named(error))
            continue
        try:
            text = codec.encode(value)
        except codec.Unsupported as error:
            say(k, "unsupported", str(error)[:DETAIL])
            continue
        say(k, "value", text)


def _load(source: str, entry: str) -> Any:
    """A callable of the program: ``solve``, or ``Solution.solve`` on a fresh ``Solution()`` for each call."""
    module = types.ModuleType("__solution__")
    module.__file__ = FILE
    sys.modules["__solution__"] = module
    exec(compile(source, "<program>", "exec"), module.__dict__)
    owner, _, name = entry.rpartition(".")
    if not owner:
        return getattr(module, name)
    made = getattr(module, owner)
    return lambda *arguments: getattr(made(), name)(*arguments)


def _script(source: str) -> int:
    """Run a whole script with descriptors 0 and 1; returns its exit code."""
    names: Any = sys
    names.stdin = names.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", False)), "utf-8")
    out = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", False), 1 << 16), "utf-8")
    names.stdout = names.__stdout__ = out
    names.stderr = names.__stderr__ = _Discard()
    builtins.open = io.open = _opening(io.open)
    module = types.ModuleType("__main__")
    module.__file__ = FILE
    sys.modules["__main__"] = module
    code = 0
    try:
        exec(compile(source, "<program>", "exec"), module.__dict__)
    except SystemExit as stop:
        code = stop.code if type(stop.code) is int else 0 if stop.code is None else 1
        if code:
            note(stop)
    except BaseException as error:
        note(error)
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, out):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    return code & 255


def _opening(real: Any) -> Any:
    """``open``, for which ``/dev/stdin`` is descriptor 0: no path can be opened."""

    def open(file: Any, *arguments: Any, **named: Any) -> Any:
        if str(file) == "/dev/stdin":
            return real(0, *arguments, **{**named, "closefd": False})
        return real(file, *arguments, **named)

    return open


def _alarm(job: dict[str, Any]) -> None:
    """A case's time: the kernel ends the process when it is over, unless the program objects; then the zygote does."""
    signal.setitimer(signal.ITIMER_PROF, job["cpu"])
    signal.setitimer(signal.ITIMER_REAL, job["wall"])


def _named(error: BaseException) -> tuple[str, str]:
    try:
        return type(error).__name__[:80], str(error)[:DETAIL]
    except BaseException:  # a hostile __str__
        return "Exception", ""


def note(error: BaseException, fd: int = 3) -> None:
    try:
        os.write(fd, ": ".join(_named(error)).encode("utf-8", "replace")[:DETAIL])
    except BaseException:
        return


class _Discard(io.TextIOBase):
    """What a function prints is not looked at."""

    def write(self, text: str) -> int:
        return len(text)


def _friendly() -> None:
    """Answers for calls that solutions make and the kernel's layers refuse, so that honest programs run."""
    sys.setrecursionlimit(1000)
    random.seed(0)  # Python seeds it anew in every child: each program gets the same numbers
    resource.setrlimit = lambda what, limits: None  # "raise my stack": it is at its limit already
    names: Any = os
    names.fstat = _fstat  # libc's takes a path on the way
    names = builtins
    names.quit = names.exit = sys.exit  # site's; scripts use them


def _fstat(fd: int) -> os.stat_result:
    """``os.fstat`` by the plain system call: size, mode and link count."""
    room = ctypes.create_string_buffer(256)
    kernel.syscall("fstat", ctypes.c_int(fd), room)
    device, inode = struct.unpack_from("QQ", room)
    mode = struct.unpack_from("I", room, 24 if kernel.MACHINE == "x86_64" else 16)[0]
    (size,) = struct.unpack_from("q", room, 48)
    return os.stat_result((mode, inode, device, 1, 0, 0, size, 0, 0, 0))
