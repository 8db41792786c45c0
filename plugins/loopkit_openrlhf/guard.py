"""Runs a command in a session of its own, and leaves none of that session's processes behind.

``python guard.py COMMAND...``: standard library only. It stops when the command ends, or when its standard input
does, which is when whoever started it is gone, killed even. It then ends, by process id, what the command left in
the session (a local Ray cluster and its workers, say) and nothing else. Exits with the command's code. Linux.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE = 10.0
"""Seconds the command has to end on SIGTERM, and what it left behind to end by itself."""
PATIENCE = 60.0
"""Seconds until what does not die by SIGKILL (it waits for a disk, say) is left alone."""


def others(session: int) -> list[int]:
    """The other processes of a session, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()  # after the name: state, ppid, ...
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def wait(command: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(seconds)


def clear(session: int, grace: float) -> None:
    """End what is left of the session: it has ``grace`` seconds to go by itself."""
    gentle, end = time.monotonic() + grace, time.monotonic() + PATIENCE
    while (left := others(session)) and time.monotonic() < end:
        if time.monotonic() >= gentle:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def main() -> int:
    if os.getsid(0) != os.getpid():
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def own_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=own_signals)
    while command.poll() is None:
        if select.select([0], [], [], 0.2)[0] and not os.read(0, 1024):
            command.terminate()
            wait(command, GRACE)
            clear(os.getpid(), 0.0)
            wait(command, GRACE)
            return 128 + signal.SIGTERM
    clear(os.getpid(), GRACE)
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


if __name__ == "__main__":
    sys.exit(main())
