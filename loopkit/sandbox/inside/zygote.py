"""The process that programs are copied from, and the start of a worker: import, be attacked, lock up, copy.

The zygote holds no program and no word of one. It is told "+" with the descriptors of a job, copies itself into a child
of its parent, the keeper, and forgets: not even the child's number is kept. Between two copies nothing in its memory
depends on what the first one ran.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import socket
from typing import Any

from loopkit.sandbox.inside import child, codec, keeper, kernel, probes, surroundings

SLACK = 256
"""Room above what an ordinary user runs already, where programs have no user of their own to be counted in."""


def main(control: socket.socket, importer: Any) -> None:
    """Serve until the socket closes. ``importer`` finds modules in memory."""
    if control.fileno() == 3:  # where the zygote has its socket
        control = control.dup()
    settings = json.loads(control.recv(1 << 16))
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
    kernel.drop_root()
    flags, threads = _numbers(settings)
    limits = {"cpu": 10, "memory": settings["memory"], "output": settings["room"], "threads": threads}
    report: dict[str, Any] = {"limits": probes.in_child(lambda: probes.of_limits(**limits), flags)}
    filters: list[bytes | None] = [None, None, None]
    if settings["tier"] == "bubblewrap":
        report["bubblewrap"] = probes.of_namespace(settings["folders"])
    if settings["tier"] != "rlimit":
        program = kernel.bpf(kernel.PROGRAM, kernel.THREAD_FLAGS, program=True)
        own, keepers = kernel.bpf(kernel.ZYGOTE, (*kernel.THREAD_FLAGS, flags)), kernel.bpf(kernel.KEEPER, ())
        filters, settings["abi"] = [program, own, keepers], kernel.landlock_abi()
        report |= probes.of_layers(program, own, keepers, settings["abi"])
        kernel.undumpable()
        kernel.landlock()
        report["zygote"] = {"read": probes.attempt(lambda: os.open("/", os.O_RDONLY), 1, 13)}
    os.dup2(1, 2)  # errors of the start went to a file outside; programs must not share it
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    if os.fork() == 0:
        ours.close()
        _zygote(control, theirs, importer, filters, flags, threads)
    theirs.close()
    ours.settimeout(keeper.PATIENCE)
    if filters[2] is not None:
        kernel.seccomp(filters[2])
    hello = {"report": report, "abi": settings.get("abi", 0), "numbered": flags != kernel.SIBLING}
    control.send(json.dumps(hello).encode())
    while keeper.serve(control, ours):
        pass


def _numbers(settings: dict[str, Any]) -> tuple[int, int]:
    """(How programs are copied, their limit of threads): with users and process numbers of their own, where the machine
    allows it; else with the machine's, and counted among all that this user runs."""
    flags = kernel.SIBLING | kernel.OWN_NUMBERS
    if settings["numbered"] and probes.can_fork(flags):
        return flags, surroundings.KERNEL
    alone = settings["tier"] == "bubblewrap" or settings["root"]
    return kernel.SIBLING, surroundings.KERNEL + 8 if alone else kernel.tasks() + SLACK


def _zygote(
    control: socket.socket, keepers: socket.socket, importer: Any, filters: list[bytes | None], flags: int, threads: int
) -> None:
    os.dup2(keepers.fileno(), 3)
    inner = socket.socket(fileno=3)
    _warm(importer)
    if filters[1] is not None:
        kernel.seccomp(filters[1])
    control.send(b"{}")  # so that it can be looked at from outside, as the keeper is
    control.detach()
    keepers.detach()
    kernel.close_from(4)
    while _copy(inner, filters[0], flags, threads):
        pass
    os._exit(0)


def _copy(inner: socket.socket, filter: bytes | None, flags: int, threads: int) -> bool:
    """Wait for a job and copy this process into its child; False when nobody is there any more."""
    message, fds, _, _ = socket.recv_fds(inner, 64, child.FILES)
    if not message:
        return False
    copied, errno = kernel.copy(flags)
    if copied:
        inner.send(b"+")  # the kernel adds this process's number, as its parent knows it
        try:
            loaded = child.lock(fds, filter, threads)
        except BaseException as error:
            child.failed(error)
            os._exit(70)
        child.run(loaded)
    for fd in fds:
        os.close(fd)
    if errno:
        inner.send(b"%d" % errno)
    return True


def _warm(importer: Any) -> None:
    """Do once what every program would do again: compiled patterns, encoders, streams."""
    codec.decode(codec.encode([1.5, "é", {"a": (1,)}]))
    re.compile(r"\s+")
    compile("def solve(a):\n    return a", "<program>", "exec")
    resource.getrusage(resource.RUSAGE_SELF)
    surroundings.prepare(importer)
    gc.collect()
    gc.disable()
    gc.freeze()
