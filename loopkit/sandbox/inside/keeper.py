"""The process that programs are children of: it hands jobs to the zygote, judges time from outside, and answers.

It is copied for no program: what it reads of one (its number, its times, its exit) stays out of every other. From
outside come jobs, JSON with the descriptors of ``child``; each gets one answer, in order, with the job's number.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from typing import Any

TICKS = 8
"""A case may take this part of its limit more before it is ended: how often is looked."""
PATIENCE = 20.0
"""Seconds in which the zygote makes a child, on a machine that is busy with something else."""


def serve(control: socket.socket, zygote: socket.socket) -> bool:
    """One job; False when nobody is there any more."""
    message, fds, _, _ = socket.recv_fds(control, 4096, 8)
    if not message:
        return False
    job = json.loads(message)
    socket.send_fds(zygote, [b"+"], fds)
    counted = fds[job["counted"]]
    for fd in fds:
        if fd != counted:
            os.close(fd)
    reply, ancillary, _, _ = zygote.recvmsg(64, socket.CMSG_SPACE(12))
    if not reply:
        return False  # the zygote is gone
    answer: dict[str, Any] = {"job": job["job"], "status": 0, "killed": "", "cpu": 0.0, "refused": 0}
    if reply == b"+":
        pid = struct.unpack("3i", ancillary[0][2])[0]
        gone, answer["killed"] = _watch(control, pid, job, counted)
        _, status, usage = os.wait4(pid, 0)
        answer |= {"status": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}
        if gone:
            return False
    else:
        answer["refused"] = int(reply)
    os.close(counted)
    control.send(json.dumps(answer).encode())
    return True


def _watch(control: socket.socket, pid: int, job: dict[str, Any], counted: int) -> tuple[bool, str]:
    """Wait for a child; end it when a case has had its time: (nobody waits any more, which time it was).

    A case begins when the one before it is answered: a line in ``counted``, of which ``job["lines"]`` may come.
    """
    clock = (~pid << 3) | 2  # the processor time of a process: CPUCLOCK_SCHED, linux/posix-timers.h
    process = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(control, 0)  # only its end: the next job may wait
    began, used, lines, at = time.monotonic(), 0.0, 0, 0
    tick = min(job["cpu"], job["wall"]) / TICKS
    try:
        while True:
            ready = {fd for fd, _ in poll.poll(tick * 1000)}
            gone = control.fileno() in ready
            if process in ready:
                return gone, ""
            now, cpu, more = time.monotonic(), _clock(clock), b""
            if lines < job["lines"]:
                more = os.pread(counted, 1 << 24, at)
                at += len(more)
            if answered := min(more.count(b"\n"), job["lines"] - lines):
                began, used, lines = now, cpu, lines + answered
            late = "wall time" if now - began >= job["wall"] else "processor time" if cpu - used >= job["cpu"] else ""
            if late or gone:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return gone, late
    finally:
        os.close(process)


def _clock(clock: int) -> float:
    try:
        return time.clock_gettime(clock)
    except OSError:  # it has just ended
        return 0.0
