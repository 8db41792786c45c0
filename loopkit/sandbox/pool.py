"""The pool: programs in, outcomes out, over workers that are replaced when they die."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopkit.errors import UsageError
from loopkit.sandbox import answers, selftest, tiers
from loopkit.sandbox.inside import codec
from loopkit.sandbox.programs import Limits, Outcome, Program
from loopkit.sandbox.tiers import SandboxError, Tier
from loopkit.sandbox.worker import Job, Worker
from loopkit.system.notices import notice

DEPTH = 2
"""Jobs a worker holds at a time: while one runs, the next is on its way, and no more are made."""
GRACE = 10.0
"""Seconds beyond a job's own time after which its worker is taken for dead."""
UNCONFINED = (
    "PROGRAMS RUN UNCONFINED: the sandbox mode rlimit limits time and memory, and stops no attack. A program can read "
    "your files and use your network. The run's manifest records it."
)
_told: set[int] = set()
"""Processes in which UNCONFINED was said: once in each."""


@dataclass
class Unit:
    """Consecutive cases of one program that one child runs."""

    index: int
    program: Program
    first: int
    cases: int
    tries: int = 0


@dataclass
class Seat:
    """A worker and what it holds, oldest first."""

    worker: Worker
    held: deque[tuple[Unit, Job]] = field(default_factory=deque)
    since: float = 0.0


class Sandbox:
    """Runs untrusted programs. A context manager; ``run`` may be called from several threads, which take turns.

    mode     "auto" (bubblewrap + seccomp + Landlock, or the last two where this machine allows no namespaces),
             "bubblewrap", "seccomp", or "rlimit": resource limits only, which stops accidents and no attack; a
             notice says so. None: what ``--sandbox`` or LOOPKIT_SANDBOX says, else auto.
    workers  processes that programs are forked from; default: one a core, at most 4.
    limits   of each case.
    Raises SandboxError at once where a layer is missing or does not hold, saying what to install; UsageError for an
    unknown mode.
    """

    def __init__(
        self,
        mode: str | None = None,
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        bwrap: str | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.tier: Tier = tiers.choose(tiers.mode(mode), bwrap)
        if self.tier.name == "rlimit" and os.getpid() not in _told:
            _told.add(os.getpid())
            notice(UNCONFINED)
        self.replaced = 0
        self._sources = sources
        self._lock = threading.RLock()
        self._seats: list[Seat] = []
        try:
            for _ in range(workers or min(4, len(os.sched_getaffinity(0)))):
                self._seats.append(Seat(self._worker()))
            self.abi = self._seats[0].worker.abi
            selftest.attack(self)
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        return len(self._seats)

    def _worker(self) -> Worker:
        return Worker(self.tier, self.limits.memory, self._sources)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and all that they run. Harmless when repeated."""
        with self._lock:
            for seat in self._seats:
                for _, job in seat.held:
                    job.close()
                seat.worker.close()
            self._seats = []

    def describe(self) -> dict[str, Any]:
        """What the manifest records: the tier and its layers. The same on the same machine."""
        layers = {
            "bubblewrap": ["bubblewrap", "seccomp", f"landlock {self.abi}", "rlimits"],
            "seccomp": ["seccomp", f"landlock {self.abi}", "rlimits"],
            "rlimit": ["rlimits"],
        }
        return {"tier": self.tier.name, "layers": layers[self.tier.name]}

    def run(self, programs: Iterable[Program]) -> list[tuple[Outcome, ...]]:
        """The outcomes of each program's cases, in the order of ``programs``, which is read only as workers get free.

        A program whose worker dies is run once more on a new one. Raises SandboxError, which names the program's
        position, where that dies too; the sandbox stays usable.
        """
        with self._lock:
            if not self._seats:
                raise SandboxError("this sandbox was closed.")
            found: list[list[Outcome | None]] = []
            waiting: deque[Unit] = deque()
            source = self._units(programs, found)
            try:
                while True:
                    for seat in self._seats:
                        while len(seat.held) < DEPTH and (unit := self._next(waiting, source)) is not None:
                            self._give(seat, unit, waiting)
                    busy = [s for s in self._seats if s.held]
                    if not busy:
                        break
                    for seat in self._ready(busy):
                        self._take(seat, waiting, found)
            except BaseException:
                for seat in self._seats:
                    if seat.held:  # of this call: a later one must not get its answers
                        self._replace(seat)
                raise
            return [tuple(o for o in outcomes if o is not None) for outcomes in found]

    # --- jobs ---

    def _units(self, programs: Iterable[Program], found: list[list[Outcome | None]]) -> Iterator[Unit]:
        for index, program in enumerate(programs):
            n = len(program.cases)
            found.append([None] * n)
            if program.form == "script":
                yield from (Unit(index, program, k, 1) for k in range(n))
            elif n:
                yield Unit(index, program, 0, n)

    @staticmethod
    def _next(waiting: deque[Unit], source: Iterator[Unit]) -> Unit | None:
        return waiting.popleft() if waiting else next(source, None)

    def _job(self, unit: Unit) -> Job:
        program, limits = unit.program, self.limits
        body: dict[str, Any] = {"form": program.form, "source": program.source}
        if program.form == "function":
            cases = program.cases[unit.first : unit.first + unit.cases]
            try:
                packed = [codec.pack(list(c)) for c in cases]
            except codec.Unsupported as error:
                raise UsageError(f"program {unit.index}: an argument cannot be passed: {error}.") from error
            body |= {"entry": program.entry, "first": unit.first, "cases": packed}
        settings = {"cases": unit.cases, "cpu": limits.cpu, "wall": limits.wall, "memory": limits.memory}
        message = json.dumps(settings | {"output": limits.output}).encode()
        fds: list[int] = []
        try:
            fds.append(_file("program", json.dumps(body).encode()))
            fds.append(_file("out", b""))
            stdin = program.cases[unit.first] if program.form == "script" else ""
            fds.append(_file("in", stdin.encode("utf-8", "surrogateescape")))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Job(message, *fds)

    def _give(self, seat: Seat, unit: Unit, waiting: deque[Unit]) -> None:
        job = self._job(unit)
        if not seat.held:
            seat.since = time.monotonic()
        seat.held.append((unit, job))
        try:
            seat.worker.send(job)
        except OSError as error:
            self._fail(seat, waiting, str(error))

    def _ready(self, busy: list[Seat]) -> list[Seat]:
        """Those that have answered, or are overdue."""
        poll = select.poll()
        for seat in busy:
            poll.register(seat.worker.socket, select.POLLIN)
        now = time.monotonic()
        first = min(self._deadline(s) for s in busy)
        answered = {fd for fd, _ in poll.poll(max(0.0, first - now) * 1000)}
        now = time.monotonic()
        return [s for s in busy if s.worker.socket.fileno() in answered or self._deadline(s) <= now]

    def _deadline(self, seat: Seat) -> float:
        return seat.since + (self.limits.wall + 0.1) * (seat.held[0][0].cases + 1) + GRACE

    def _take(self, seat: Seat, waiting: deque[Unit], found: list[list[Outcome | None]]) -> None:
        answer = seat.worker.receive()
        if answer is None:
            return self._fail(seat, waiting, "it ended, or gave no answer in time")
        unit, job = seat.held.popleft()
        seat.since = time.monotonic()
        try:
            if (why := answers.infrastructure(answer, unit.cases, self.limits)) is not None:
                return self._again(unit, waiting, why)
            outcomes = answers.read(unit.program.form, unit.first, unit.cases, answer, job.out, self.limits)
        finally:
            job.close()
        found[unit.index][unit.first : unit.first + len(outcomes)] = outcomes
        if len(outcomes) < unit.cases:  # it ended the process on the last of these: the others get another
            waiting.append(Unit(unit.index, unit.program, unit.first + len(outcomes), unit.cases - len(outcomes)))

    # --- failures of the sandbox itself ---

    def _fail(self, seat: Seat, waiting: deque[Unit], why: str) -> None:
        """A dead worker: replace it; its oldest program is tried once more, the next was not begun."""
        units = [unit for unit, _ in seat.held]
        self._replace(seat)
        waiting.extendleft(reversed(units[1:]))
        self._again(units[0], waiting, why)

    def _again(self, unit: Unit, waiting: deque[Unit], why: str) -> None:
        unit.tries += 1
        if unit.tries > 1:
            raise SandboxError(
                f"the sandbox failed twice at program {unit.index}, case {unit.first}: {why}. No score was made of it. "
                "If memory is short, run fewer programs side by side; the same command resumes."
            )
        waiting.appendleft(unit)

    def _replace(self, seat: Seat) -> None:
        self.replaced += 1
        for _, job in seat.held:
            job.close()
        seat.held.clear()
        with contextlib.suppress(OSError):
            seat.worker.close()
        seat.worker = self._worker()


def _file(name: str, data: bytes) -> int:
    """A memory file that holds ``data``, read from its start."""
    fd = os.memfd_create(name)
    if data:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
    return fd
