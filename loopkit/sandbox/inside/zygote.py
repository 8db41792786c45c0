"""The process that programs are forked from: it imports once, lets itself be attacked, locks up, then forks.

It never holds a program: descriptors of each pass through it to the child that reads them. Messages on the control
socket are JSON. From outside: the settings first, then jobs, each with four descriptors. From inside: a report on the
layers, "ready", then one answer a job, in order. It ends when the socket does.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from loopkit.sandbox.inside import child, codec, kernel, probes

THREADS = 64
"""Threads of a program, and of this user's where they are counted together."""
SLACK = 256
"""Room above what an ordinary user runs already, where it has no namespace of its own to be counted in."""


def main(control: socket.socket, importer: Any) -> None:
    """Serve until the socket closes. ``importer`` finds modules in memory."""
    settings = json.loads(control.recv(1 << 16))
    enforced = settings["tier"] != "rlimit"
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
    kernel.drop_root()
    alone = settings["tier"] == "bubblewrap" or settings["root"]
    threads = THREADS if alone else kernel.tasks() + SLACK
    limits = {"cpu": 10, "memory": settings["memory"], "output": 1 << 16, "threads": threads}
    report: dict[str, Any] = {"limits": probes.in_child(lambda: probes.of_limits(**limits))}
    program = None
    if settings["tier"] == "bubblewrap":
        report["bubblewrap"] = probes.of_namespace()
    if enforced:
        abi = kernel.landlock_abi()
        program, own = kernel.bpf(kernel.PROGRAM, kernel.THREAD_FLAGS), zygote_filter()
        report["landlock"] = probes.in_child(lambda: probes.of_landlock(abi))
        report["seccomp, programs"] = probes.in_child(lambda: probes.of_program_filter(program))
        report["seccomp, zygote"] = probes.in_child(lambda: probes.of_zygote_filter(own))
        report["seccomp, architecture"] = probes.in_child(lambda: probes.of_architecture(program))
        kernel.undumpable()
        kernel.landlock()
        kernel.seccomp(own)
        report["zygote"] = {"read": probes.attempt(lambda: os.open("/", os.O_RDONLY), 1, 13)}
        settings["abi"] = abi
    _warm()
    os.dup2(1, 2)  # errors of the start went to a file outside; programs must not share it
    control.send(json.dumps({"ready": os.getpid(), "report": report, "abi": settings.get("abi", 0)}).encode())
    while serve(control, program, threads, importer):
        pass


def zygote_filter() -> bytes:
    return kernel.bpf(kernel.ZYGOTE, (*kernel.THREAD_FLAGS, *kernel.FORK_FLAGS))


def serve(control: socket.socket, filter: bytes | None, threads: int, importer: Any) -> bool:
    """One job; False when nobody is there any more."""
    message, fds, _, _ = socket.recv_fds(control, 4096, 4)
    if not message:
        return False
    job = json.loads(message)
    note, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            program, out, stdin = fds
            loaded = child.lock([program, out, theirs, stdin], job, filter, threads)
        except BaseException as error:
            for fd in (theirs, 3):  # wherever it had got to
                child.note(error, fd)
            os._exit(70)
        child.run(loaded, job, importer)
    for fd in (*fds, theirs):
        os.close(fd)
    # the alarms inside end a case; a program that has disarmed them gets, in all, what its cases would have had
    late, gone = _wait(control, pid, (job["wall"] + 0.05) * (job["cases"] + 1))
    _, status, usage = os.wait4(pid, 0)
    try:
        said = os.read(note, child.DETAIL + 1)
    except BlockingIOError:
        said = b""
    os.close(note)
    answer = {
        "status": os.waitstatus_to_exitcode(status),
        "late": late,
        "cpu": usage.ru_utime + usage.ru_stime,
        "began": said[:1] == b"+",
        "note": said[1 if said[:1] == b"+" else 0 :].decode("utf-8", "replace"),
    }
    if gone:
        return False
    control.send(json.dumps(answer).encode())
    return True


def _wait(control: socket.socket, pid: int, seconds: float) -> tuple[bool, bool]:
    """(it had to be killed for its time, nobody waits any more)."""
    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(control, 0)  # only its end: the next job may wait
        end = time.monotonic() + seconds
        while True:
            ready = {fd for fd, _ in poll.poll(max(0.0, end - time.monotonic()) * 1000)}
            gone = control.fileno() in ready
            if process in ready:
                return False, gone
            if gone or time.monotonic() >= end:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return not gone, gone
    finally:
        os.close(process)


def _warm() -> None:
    """Do once what every program would do again: compiled patterns, encoders."""
    codec.decode(codec.encode([1.5, "é", {"a": (1,)}]))
    re.compile(r"\s+")
    compile("def solve(a):\n    return a", "<program>", "exec")
    resource.getrusage(resource.RUSAGE_SELF)
    sys.stdin = sys.stdout = sys.stderr = None
    gc.collect()
    gc.disable()
    gc.freeze()
