"""Runs a command in a session of its own, and leaves none of that session's processes behind.

``python guard.py LOCK COMMAND...``: standard library only. It stops when the command ends, or when its standard input
does, which is when whoever started it is gone, killed even. It then ends, by process id, what the command left in
the session (a local Ray cluster and its workers, say) and nothing else. What a killed process cannot tidy goes too:
its shared memory, and its lock on a half-compiled operator, for which the next run would wait for ever. The file LOCK
is locked until then. Exits with the command's code. Linux.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE = float(os.environ.get("LOOPKIT_OPENRLHF_GRACE", "10"))
"""Seconds the command has to end on SIGTERM, and what it left behind to end by itself (tests have no such patience)."""
LOOK_EVERY = 10.0
"""Seconds between looks at what the session's processes would leave behind."""
SHARED = "/dev/shm"
PATIENCE = 60.0
"""Seconds until what does not die by SIGKILL (it waits for a disk, say) is left alone."""


def others(session: int) -> list[int]:
    """The other processes of a session, zombies left out."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()  # after the name: state, ppid, ...
                if int(fields[3]) == session and fields[0] not in "ZX":
                    processes.append(int(entry.name))
    return processes


def litter(pid: int) -> set[str]:
    """What may outlive the process: files of shared memory, and locks of PyTorch's compilations."""
    names: set[str] = set()
    with contextlib.suppress(OSError):
        rows = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
        names |= {row[5] for row in rows if len(row) == 6}  # a seventh word says that it is deleted
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.add(os.readlink(entry))
    compiled = os.environ.get("TORCH_EXTENSIONS_DIR") or "/torch_extensions/"
    return {name for name in names if os.path.dirname(name) == SHARED or (name.endswith("/lock") and compiled in name)}


def litters(session: int) -> set[str]:
    """The litter of a session's other processes."""
    return set[str]().union(*map(litter, others(session)))


def sweep(left: set[str]) -> None:
    """Remove what was left, but for what a living process uses."""
    used = set().union(*(litter(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdecimal())) if left else set()
    for name in left - used:
        with contextlib.suppress(OSError):
            os.unlink(name)


def wait(command: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(seconds)


def clear(session: int, grace: float) -> set[str]:
    """End what is left of the session, which has ``grace`` seconds to go by itself. Returns its litter."""
    gentle, end, litter_left = time.monotonic() + grace, time.monotonic() + PATIENCE, set[str]()
    while (left := others(session)) and time.monotonic() < end:
        litter_left |= litters(session)
        if time.monotonic() >= gentle:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    return litter_left


def main() -> int:
    if os.getsid(0) != os.getpid():
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    lock = open(sys.argv[1], "ab")  # noqa: SIM115 - held until this process ends, and by no child
    fcntl.flock(lock, fcntl.LOCK_EX)

    def own_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    before = {str(path) for path in Path(SHARED).glob("*")}  # a model that is kept there, say
    looked, left = 0.0, set[str]()
    command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, preexec_fn=own_signals)
    stopped = False
    while command.poll() is None and not stopped:
        stopped = bool(select.select([0], [], [], 0.2)[0]) and not os.read(0, 1024)
        if stopped or time.monotonic() > looked + LOOK_EVERY:
            looked = time.monotonic()
            left |= litters(os.getpid())  # what dies before the end leaves litter as well
    if stopped:
        command.terminate()
        wait(command, GRACE)
    left |= clear(os.getpid(), 0.0 if stopped else GRACE)
    wait(command, GRACE)
    sweep(left - before)
    if stopped:
        return 128 + signal.SIGTERM
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


if __name__ == "__main__":
    sys.exit(main())
