"""Settings of a process that samples and trains. They change its speed, not what it computes."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import torch

KEPT_BLOCK, KEPT_FREE = 64 << 20, 256 << 20
"""Bytes: blocks up to the first are not returned to the system one by one, nor is free memory below the second."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


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
