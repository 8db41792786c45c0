"""Settings of a process that samples and trains. They change its speed, not what it computes."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import time
from pathlib import Path
from typing import Any

import torch

KEPT_BLOCK, KEPT_FREE = 64 << 20, 256 << 20
"""Bytes: blocks up to the first are not returned to the system one by one, nor is free memory below the second."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def hardware() -> str:
    """What runs here are made on: the accelerator, or the processor's model name."""
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"cpu: {name}"


def work_clock() -> float:
    """Processor seconds of this process; seconds by the clock where an accelerator works."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def tune(threads: int) -> None:
    """Call before any work: this many threads, denormals as zero, freed memory kept for the next step.

    Denormals in a small model cost several times its speed. glibc returns each large block to the system when it is
    freed, and every step faults the same pages in again: a seventh of a gradient step of the bundled policy.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with contextlib.suppress(OSError, AttributeError):  # another C library has other habits
        libc: Any = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_FREE)
