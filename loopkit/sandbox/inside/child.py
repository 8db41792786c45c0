"""One program in a forked child: lock up, run, say what came out. From ``run`` on, nothing here can be trusted.

Its descriptors are memory files, made for it: 0 its input, 1 its answers (a function's as lines of JSON, one a case; a
script's output as it is), 2 nobody reads, 3 a word on an exception; where a script runs several cases, where the
output of each ends. 4 holds the program, is marked when the program begins, and closed. Nothing else is open.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import io
import os
import random
import signal
import sys
import threading
import types
from json import dumps, loads
from typing import Any

from loopkit.sandbox.inside import codec, kernel, surroundings

DETAIL = 400
"""Bytes of an error message that travel."""
OWN = 8192
"""Bytes of output that are ours, beyond the program's: the frames around its values."""
FILES = 5
BEGAN, FAILED = b"+", b"-"
"""What the child makes of its program's first byte: from here on the program is to blame, or it was not begun."""


def lock(fds: list[int], filter: bytes | None, threads: int) -> dict[str, Any]:
    """Close all but the program's own descriptors, take the limits and the filter on, read the program."""
    if fds != list(range(4, 4 + FILES)):
        raise OSError(f"descriptors {fds} instead of the first that are free")
    program, *others = fds
    for target, fd in enumerate(others):
        os.dup2(fd, target)
    kernel.close_from(program + 1)
    text = os.pread(program, os.lseek(program, 0, os.SEEK_END), 0)
    loaded: dict[str, Any] = loads(text)
    kernel.die_with_parent()
    kernel.drop_capabilities()
    kernel.limits(cpu=loaded["seconds"], memory=loaded["memory"], output=loaded["room"], threads=threads)
    if filter is not None:
        kernel.seccomp(filter)
    for what in (signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(what, signal.SIG_IGN)
    return loaded


def run(program: dict[str, Any]) -> None:
    """Run a function over its cases, or a script; leaves by ``os._exit``."""
    _mark(BEGAN)
    os.close(4)
    leave = os._exit
    gc.enable()
    code = 0
    try:
        if program["form"] == "function":
            _function(program)
        elif program["cases"]:
            _together(program)
        else:
            code = _script(program["source"])
    except BaseException as error:
        note(error)
        code = 1
    leave(code)


def failed(error: BaseException) -> None:
    """Say, in place of the program, that it could not be begun."""
    _mark(FAILED + ": ".join(_named(error)).encode("utf-8", "replace")[:DETAIL] + b"\0")


def _mark(text: bytes) -> None:
    os.lseek(4, 0, os.SEEK_SET)
    os.write(4, text)


# --- functions ------------------------------------------------------------------------------------------------


def _function(program: dict[str, Any]) -> None:
    write, limit = os.write, program["output"]

    def say(line: str) -> None:
        left = line.encode() + b"\n"
        while left:
            left = left[write(1, left) :]

    surroundings.attach(sys.stdin, surroundings.sink("<stdout>"))  # type: ignore[arg-type]
    try:
        call = _load(program["source"], program["entry"])
    except BaseException as error:
        return say(dumps((-1, "error", *_named(error))))
    say('[-1, "loaded"]')
    for k, arguments in enumerate(program["cases"], program["first"]):
        try:
            value = codec.encode(call(*codec.unpack(arguments)))
        except codec.Unsupported as error:
            say(dumps((k, "unsupported", str(error)[:DETAIL])))
        except BaseException as error:
            say(dumps((k, "error", *_named(error))))
        else:
            say(f'[{k}, "value", {value}]' if len(value) <= limit else f'[{k}, "big", {len(value)}]')


def _load(source: str, entry: str) -> Any:
    """A callable of the program: ``solve``, or ``Solution.solve`` on a fresh ``Solution()`` for each call."""
    module = types.ModuleType("__solution__")
    module.__file__ = surroundings.FILE
    sys.modules["__solution__"] = module
    exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
    owner, _, name = entry.rpartition(".")
    if not owner:
        return getattr(module, name)
    made = getattr(module, owner)
    return lambda *arguments: getattr(made(), name)(*arguments)


# --- scripts --------------------------------------------------------------------------------------------------


def _script(source: str) -> int:
    """Run a whole script with descriptors 0 and 1; returns its exit code."""
    out = sys.stdout
    module = types.ModuleType("__main__")
    module.__file__ = surroundings.FILE
    sys.modules["__main__"] = module
    code = 0
    try:
        exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
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


def _together(program: dict[str, Any]) -> None:
    """Run a script over several cases: each finds its input in descriptor 0, streams and a ``__main__`` of its own."""
    seek, write, truncate, opened = os.lseek, os.write, os.ftruncate, (builtins.open, io.open)
    for k, stdin in enumerate(program["cases"], program["first"]):
        seek(0, 0, os.SEEK_SET)
        truncate(0, 0)
        data = stdin.encode("utf-8", "surrogateescape")
        while data:
            data = data[write(0, data) :]
        seek(0, 0, os.SEEK_SET)
        surroundings.attach(surroundings.reader(), surroundings.writer())
        builtins.open, io.open = opened
        random.seed(0)
        if _script(program["source"]):
            return  # this case is run again, by itself
        sys.modules.pop("__main__", None)
        gc.collect()  # files of this case that are still open are flushed now, not into the next one's output
        write(3, b"%d %d\n" % (k, seek(1, 0, os.SEEK_CUR)))


def note(error: BaseException) -> None:
    try:
        os.write(3, ": ".join(_named(error)).encode("utf-8", "replace")[:DETAIL])
    except BaseException:
        return


def _named(error: BaseException) -> tuple[str, str]:
    """Class and message; ends the process where a machine that refuses memory is to blame, and not the program."""
    if isinstance(error, MemoryError) and surroundings.memory_is_refused():
        surroundings.refuse("memory")
    try:
        return type(error).__name__[:80], str(error)[:DETAIL]
    except BaseException:  # a hostile __str__
        return "Exception", ""
