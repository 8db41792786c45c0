"""Tests against mutants: each in a process forked from one that has imported what tests import, in a copy of its own.

The copy comes first on ``PYTHONPATH``, so the programs that tests start run the mutant too.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import py_compile
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEAVY = (  # everything but loopkit, which is the mutant's
    "pytest", "hypothesis", "numpy", "scipy.stats", "scipy.optimize", "pydantic", "pyarrow.parquet", "click", "pluggy",
    "structlog", "rich.console", "tabulate", "tokenizers", "safetensors", "torch", "transformers", "tomli_w",
)  # fmt: skip
SELECTED = "not slow and not acceptance and not nightly"


def preload() -> None:
    """Imports once what every test process would import; loads nothing of loopkit."""
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert not any(m.split(".")[0] == "loopkit" for m in sys.modules), "a mutant would not be loaded"


def copy_checkout(root: Path, copy: Path) -> None:
    """The working tree without what git ignores, compiled."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, capture_output=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)
    subprocess.run(["git", "init", "-q", "."], cwd=copy, check=True)
    for path in [*copy.glob("loopkit/**/*.py"), *copy.glob("plugins/**/*.py")]:
        py_compile.compile(str(path), quiet=2)


@dataclass
class Job:
    """A running test process."""

    pid: int
    log: Path
    started: float
    wall_limit: float

    def poll(self) -> tuple[str, float] | None:
        """(killed, survived, timeout or error, CPU seconds) once it has ended, with all that it started."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        late = time.monotonic() - self.started > self.wall_limit
        if pid == 0:
            if late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        cpu = usage.ru_utime + usage.ru_stime
        if os.WIFSIGNALED(status):
            return ("timeout" if late or os.WTERMSIG(status) == signal.SIGXCPU else "killed"), cpu
        code = os.WEXITSTATUS(status)
        return {0: "survived", 1: "killed", 2: "killed", 5: "error"}.get(code, "error"), cpu

    def culprit(self) -> str:
        """The test that noticed."""
        text = self.log.read_text(errors="replace")
        first = re.search(r"^(?:FAILED|ERROR) (\S+?)(?: - |$)", text, re.MULTILINE)
        return first[1] if first else ""


def start(copy: Path, tests: Sequence[str], slow: bool, cpu_limit: float, log: Path) -> Job:
    """Forks a test process in ``copy``. Its limit is in CPU seconds; wall time is limited at ten times as much."""
    wall_limit = 60 + 10 * cpu_limit
    pid = os.fork()
    if pid:
        return Job(pid, log, time.monotonic(), wall_limit)
    try:
        os.setsid()
        out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_limit) + 1, int(cpu_limit) + 5))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(copy)
        paths = [str(copy), str(copy / "plugins")]
        sys.path[:0] = paths
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        os.environ["CI"] = "1"  # hypothesis draws the same examples for every mutant
        marks = "not acceptance and not nightly" if slow else SELECTED
        pytest = importlib.import_module("pytest")
        code = pytest.main([
            "-x", "-q", "--tb=line", "-rfE", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-W", "ignore::pytest.PytestAssertRewriteWarning",  # of what is imported before the fork
            "-o", f"addopts=--strict-markers -m '{marks}'", f"--rootdir={copy}", f"--basetemp={copy}.tmp", *tests,
        ])  # fmt: skip
        sys.stdout.flush()
        os._exit(int(code))
    except BaseException as error:
        print("ERROR", type(error).__name__, error, flush=True)
        os._exit(70)
