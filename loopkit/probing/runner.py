"""Asks a reward in a child process: a deadline a call, a budget of replies, and a new child where one hangs or dies."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from loopkit.errors import RunError, UsageError
from loopkit.rewards.columns import Row
from loopkit.rewards.signatures import Table

SIZE = struct.Struct(">Q")
LOADING = 300.0
"""Seconds in which a reward's imports must be done: some load a model."""
BATCH = 32
"""Replies in one call, where they are quick."""


class Spent(Exception):
    """The budget of replies or seconds is used up."""


@dataclass(frozen=True, slots=True)
class Paid:
    """``value``: what was paid, None where the reply was not scored. ``failure``: what went wrong, else empty.

    ``kind`` of a failure: "raises", "hangs" or "ends" (it ended the reward's process).
    """

    value: float | None
    failure: str = ""
    kind: str = ""


@dataclass
class Budget:
    """How many replies may be asked for, and for how long; what was used."""

    replies: int
    seconds: float
    used: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, n: int) -> None:
        """Take ``n`` replies from it, or raise Spent."""
        if self.used + n > self.replies or self.gone():
            raise Spent
        self.used += n

    def gone(self) -> bool:
        return time.monotonic() - self.began > self.seconds

    @property
    def left(self) -> int:
        return 0 if self.gone() else self.replies - self.used


@dataclass(frozen=True)
class Job:
    """What a child is told to load. ``specs``: "reward", perhaps "trusted" -> what names it."""

    specs: Mapping[str, str]
    table: Table
    rows: Sequence[Row]
    chat: bool | None = None


class Runner:
    """One child at a time, which has loaded ``job``. ``log`` gets what the reward prints.

    Use it as a context manager. Raises UsageError where the reward cannot be loaded.
    """

    def __init__(self, job: Job, budget: Budget, deadline: float, log: Path, hash_seed: int = 0) -> None:
        self.job, self.budget, self.deadline, self.log, self.hash_seed = job, budget, deadline, log, hash_seed
        self.loaded: dict[str, Any] = {}
        self.seconds = 0.0
        """Spent in the reward's own code."""
        self._kept: dict[tuple[str, int, str], Paid] = {}
        self._batch = 1
        self._process: subprocess.Popen[bytes] | None = None
        self._ask: int = -1
        self._answer: int = -1

    def __enter__(self) -> Runner:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    def pay(self, numbers: Sequence[int], said: Sequence[str], which: str = "reward") -> list[Paid]:
        """(B,) row numbers and replies -> (B,) what was paid. Equal questions are asked once.

        Raises Spent where the budget does not reach.
        """
        keys = [(which, n, text) for n, text in zip(numbers, said, strict=True)]
        new = list(dict.fromkeys(k for k in keys if k not in self._kept))
        while new:
            chunk, new = new[: self._batch], new[self._batch :]
            self.budget.take(len(chunk))
            self._kept.update(zip(chunk, self._chunk(which, chunk), strict=True))
        return [self._kept[k] for k in keys]

    def fresh(self, numbers: Sequence[int], said: Sequence[str], which: str = "reward") -> list[Paid]:
        """The same in exactly one call, whatever was asked before."""
        self.budget.take(len(said))
        return self._call(which, numbers, said, self.deadline + 0.25 * len(said))

    def rows_of(self, spec: str) -> list[dict[str, Any]]:
        """The rows that a reward brings, from a child that has loaded nothing else."""
        self._start(load=False)
        try:
            return list(self._request("own_rows", {"spec": spec}, LOADING)["rows"])
        finally:
            self._stop()

    def disturb(self) -> None:
        """Another day and other luck, from now on."""
        self._request("disturb", {}, self.deadline)

    def reload(self, chat: bool | None) -> None:
        """Load everything anew, with completions passed as messages or not."""
        self.job = replace(self.job, chat=chat)
        self._kept.clear()
        self._restart()

    def _chunk(self, which: str, chunk: Sequence[tuple[str, int, str]]) -> list[Paid]:
        began = time.monotonic()
        found = self._call(which, [n for _, n, _ in chunk], [text for _, _, text in chunk], self.deadline)
        each = (time.monotonic() - began) / len(chunk)
        self._batch = max(1, min(BATCH, int(self.deadline / 8 / max(each, 1e-6))))
        if len(chunk) == 1 or not any(p.kind in ("hangs", "ends") for p in found):
            return found
        out = list[Paid]()  # it is one of them: alone, up to the first that does it again
        for k, (_, number, text) in enumerate(chunk):
            self.budget.take(1)
            out += self._call(which, [number], [text], self.deadline)
            if out[-1].kind in ("hangs", "ends"):
                out += [Paid(None, f"not asked: a reply like it {out[-1].kind}", out[-1].kind)] * (len(chunk) - k - 1)
                break
        return out

    def _call(self, which: str, numbers: Sequence[int], said: Sequence[str], deadline: float) -> list[Paid]:
        began = time.monotonic()
        try:
            found = self._request(
                "pay", {"which": which, "numbers": list(numbers), "said": list(said), "alone": False}, deadline
            )
        except TimeoutError:
            self._restart()
            return [Paid(None, f"no answer in {deadline:.0f} s", "hangs")] * len(said)
        except EOFError:
            self._restart()
            return [Paid(None, "the reward's process ended", "ends")] * len(said)
        finally:
            self.seconds += time.monotonic() - began
        raised = found["raised"]
        return [
            Paid(value, raised[str(k)], "raises") if str(k) in raised else Paid(value)
            for k, value in enumerate(found["pays"])
        ]

    def _restart(self) -> None:
        self._stop()
        self._start()

    def _start(self, load: bool = True) -> None:
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        environment = {**os.environ, "PYTHONHASHSEED": str(self.hash_seed), "PYTHONDONTWRITEBYTECODE": "1"}
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loopkit.rewards.child", str(ask_read), str(answer_write)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(ask_read, answer_write), env=environment,
                start_new_session=True,
            )  # fmt: skip
        os.close(ask_read)
        os.close(answer_write)
        for which, spec in self.job.specs.items() if load else ():
            try:
                self.loaded[which] = self._request(
                    "load",
                    {"which": which, "spec": spec, "table": self.job.table, "rows": list(self.job.rows),
                     "chat": self.job.chat},
                    LOADING,
                )  # fmt: skip
            except (TimeoutError, EOFError) as error:
                why = f"took over {LOADING:.0f} s" if isinstance(error, TimeoutError) else "ended its process"
                raise UsageError(f"importing {spec} {why}. What it printed: {self.printed() or 'nothing'}.") from error

    def printed(self) -> str:
        """The end of what the reward printed, in one line."""
        with contextlib.suppress(OSError):
            return " ".join(self.log.read_text(errors="replace").split())[-200:]
        return ""

    def _request(self, verb: str, given: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        body = pickle.dumps((verb, dict(given)))
        until = time.monotonic() + deadline
        try:
            _write(self._ask, SIZE.pack(len(body)) + body, until)
        except BrokenPipeError as error:
            raise EOFError from error
        size = SIZE.unpack(_read(self._answer, SIZE.size, until))[0]
        answer: dict[str, Any] = json.loads(_read(self._answer, size, until))
        if "usage" in answer:
            raise UsageError(answer["usage"])
        if "error" in answer:
            raise RunError(f"the probe's child failed in {verb}: {answer['error']}. This is a fault of loopkit's.")
        return answer

    def _stop(self) -> None:
        if self._process is None:
            return
        for end in (self._ask, self._answer):
            with contextlib.suppress(OSError):
                os.close(end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # and what the reward started
        self._process.wait()
        self._process = None


def _write(end: int, data: bytes, until: float) -> None:
    os.set_blocking(end, False)
    while data:
        if not select.select([], [end], [], max(0.0, until - time.monotonic()))[1]:
            raise TimeoutError
        data = data[os.write(end, data) :]


def _read(end: int, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        if not select.select([end], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        got = os.read(end, min(1 << 20, size - len(data)))
        if not got:
            raise EOFError
        data += got
    return data


def log_file() -> Path:
    """A new file for what a reward prints."""
    made, name = tempfile.mkstemp(prefix="loopkit-probe-", suffix=".log")
    os.close(made)
    return Path(name)
