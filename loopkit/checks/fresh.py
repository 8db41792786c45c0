"""Calls a function in a new process with other string hashes: what a set's order or ``hash()`` decides shows there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from loopkit.checks.report import LeftOut, blame
from loopkit.errors import ContractError
from loopkit.system import code

T = TypeVar("T")
TIMEOUT = 600


def call(function: Callable[..., T], *args: object) -> T:
    """``function(*args)``, computed there. Raises LeftOut where its arguments cannot travel (a class in a function or
    in a script, say), and ContractError with the other process's words where it raises.
    """
    try:
        data = pickle.dumps((code.files(), pickle.dumps((function, args))))
    except Exception as error:
        raise LeftOut(f"it cannot be sent to a new process ({error}). Define it in a module, at top level.") from error
    here = os.environ.get("PYTHONHASHSEED")
    path = os.pathsep.join(p or os.getcwd() for p in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "2" if here == "1" else "1"}
    with tempfile.TemporaryDirectory() as folder:
        call_file, answer_file = Path(folder) / "given", Path(folder) / "found"
        call_file.write_bytes(data)
        command = [
            sys.executable,
            "-c",
            "from loopkit.checks import fresh; fresh.answer()",
            str(call_file),
            str(answer_file),
        ]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise ContractError(f"A new process did not end within {TIMEOUT} s.") from error
        if not answer_file.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ContractError(f"A new process died with exit code {done.returncode}: {last}.")
        kind, answer = pickle.loads(answer_file.read_bytes())
    if kind == "left out":
        raise LeftOut(answer)
    if kind == "raised":
        raise ContractError(f"Only in a new process: {answer}")
    result: T = answer
    return result


def answer() -> None:
    """The other process's part: reads the call from one file, writes what came of it into another."""
    call_file, answer_file = map(Path, sys.argv[1:3])
    try:
        imported, call = pickle.loads(call_file.read_bytes())
        code.restore(imported)
        function, args = pickle.loads(call)
    except Exception as error:
        result = ("left out", f"a new process cannot import it ({error}). Define it in a module, at top level.")
    else:
        try:
            result = ("done", function(*args))
        except Exception as error:
            result = ("raised", blame(error))
    answer_file.write_bytes(pickle.dumps(result))
