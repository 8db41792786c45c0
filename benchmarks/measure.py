"""Fresh processes on one thread, their wall and CPU seconds, and paired ratios."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: medians of both sides, and the median, least and greatest of the paired ratios."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    aim: str = ""
    note: str = ""

    def json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in (None, "")}


@dataclass
class Spent:
    """Seconds of a block of work: on the clock, and of CPU with all its processes."""

    wall: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def spent() -> Iterator[Spent]:
    """Measures child processes, theirs included, even where a parent does not wait for them (a fork server)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER (Linux): orphans come to us
    before, began, out = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), Spent()
    yield out
    out.wall = time.perf_counter() - began
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    out.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start(module: str, *args: Any) -> subprocess.Popen[str]:
    """``python -m module args`` on one thread."""
    command = [sys.executable, "-m", module, *map(str, args)]
    return subprocess.Popen(
        command, env={**os.environ, **ENVIRONMENT}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def answer(process: subprocess.Popen[str]) -> str:
    """What it printed. Raises RuntimeError with the end of its errors if it failed."""
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, process.args))} failed:\n{err[-3000:]}")  # type: ignore[arg-type]
    return out


def call(module: str, *args: Any) -> Any:
    """The last line that ``python -m module args`` prints, as JSON."""
    return json.loads(answer(start(module, *args)).splitlines()[-1])


def alternate(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """A B A B ...: (sides, rounds) measurements, so that a busy machine is busy for all."""
    found = [[side() for side in sides] for _ in range(rounds)]
    return [list(column) for column in zip(*found, strict=True)]


def paired(
    what: str, unit: str, ours: Sequence[float], peer: Sequence[float], name: str, *, rate: bool = False, **more: Any
) -> Row:
    """A row of (rounds,) paired measurements. The ratio says how many times faster ours is: of seconds, or of rates."""
    faster = [o / p if rate else p / o for o, p in zip(ours, peer, strict=True)]
    return Row(what, unit, median(ours), median(peer), name, median(faster), min(faster), max(faster), **more)


def machine() -> dict[str, Any]:
    """Where, with what, and how busy it was."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "transformers", "trl", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    load = os.getloadavg()[0]
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "python": platform.python_version(),
        **versions,
    }
