"""How processes end: Ctrl-C and SIGTERM stop at once and leave nothing behind; a child dies with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1
PARENT = "LOOPKIT_FORK_SERVER_OF"
"""Environment variable: the process that a fork server belongs to."""
INTERRUPTED = 130
HOW_TO_RESUME = "\nInterrupted{}. Nothing recorded is lost: the same command resumes.\n"


def die_with_parent(parent: int | None = None) -> None:
    """This process is killed when its parent ends, however that ends. Linux only; elsewhere a closed pipe does it.

    ``parent``: the process id it should have; if it has another, its parent has ended already, and so does this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt once; a second one kills the children and ends at once, with 130.

    A signal that was ignored when the process began (nohup) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal came
        if came:
            for child in multiprocessing.active_children():
                child.kill()
            os.write(2, HOW_TO_RESUME.format("").encode())
            os._exit(INTERRUPTED)
        came = True
        raise KeyboardInterrupt

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, interrupt) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():  # interrupted: the process ends now, and nothing is to disturb that
            signal.signal(number, signal.SIG_IGN if came else handler)
