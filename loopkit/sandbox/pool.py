"""The pool: programs in, outcomes out, over workers that are replaced when they die."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loopkit.sandbox import answers, jobs, selftest, tiers
from loopkit.sandbox.jobs import Unit
from loopkit.sandbox.packages import allowed
from loopkit.sandbox.programs import Limits, Outcome, Program
from loopkit.sandbox.tiers import SandboxError, Tier
from loopkit.sandbox.worker import Answer, Job, Worker
from loopkit.system.notices import notice

DEPTH = 2
"""Jobs a worker holds at a time: while one runs, the next is on its way, and no more are made."""
GRACE = 10.0
"""Seconds beyond a job's own time after which its worker is taken for dead."""
TRIES = 3
"""How often a program is run whose worker dies, or whom the machine refuses what it may have."""
PAUSE = 0.2
"""Seconds until something is tried again that the machine refused."""
UNCONFINED = (
    "PROGRAMS RUN UNCONFINED: the sandbox mode rlimit limits time and memory, and stops no attack. A program can read "
    "your files and use your network. The run's manifest records it."
)
_told: set[int] = set()
"""Processes in which UNCONFINED was said: once in each."""
Rows = list[list[Outcome | None]]


@dataclass
class Seat:
    """A worker and what it holds, oldest first."""

    worker: Worker
    held: deque[tuple[Unit, Job]] = field(default_factory=deque)
    since: float = 0.0


def overloaded() -> bool:
    """Whether more wants to run on this machine than it has cores: time passes here without anybody's doing."""
    return os.getloadavg()[0] > 1.5 * len(os.sched_getaffinity(0))


class Sandbox:
    """Runs untrusted programs. A context manager; ``run`` may be called from several threads, which take turns.

    mode     "auto" (bubblewrap + seccomp + Landlock, or the last two where this machine allows no namespaces),
             "bubblewrap", "seccomp", or "rlimit": resource limits only, which stops accidents and no attack; a
             notice says so. None: what ``--sandbox`` or LOOPKIT_SANDBOX says, else auto.
    workers  processes that programs are forked from; default: one a core, at most 4.
    limits   of each case.
    packages installed packages that programs may import besides the standard library: any of those that
             ``loopkit.sandbox.packages`` knows. Default: what LOOPKIT_SANDBOX_PACKAGES names, else none.
    Raises SandboxError at once where a layer is missing or does not hold, saying what to install; UsageError for an
    unknown mode.
    """

    def __init__(
        self,
        mode: str | None = None,
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        packages: Sequence[str] | None = None,
        bwrap: str | None = None,
        sources: Mapping[str, str] | None = None,
        numbered: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self.packages = allowed(packages)
        self.tier: Tier = replace(tiers.choose(tiers.mode(mode), bwrap), folders=self.packages.folders)
        if self.tier.name == "rlimit" and os.getpid() not in _told:
            _told.add(os.getpid())
            notice(UNCONFINED)
        self.replaced = 0
        self._sources, self._numbered = sources, numbered
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
        return Worker(self.tier, self.limits, self._sources, self.packages.arguments, self._numbered)

    @property
    def numbered(self) -> bool:
        """Whether programs have process numbers of their own: else they can read what the machine has started."""
        return all(seat.worker.numbered for seat in self._seats)

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
        found = {"tier": self.tier.name, "layers": layers[self.tier.name]}
        return found | ({"packages": self.packages.versions} if self.packages.versions else {})

    def run(self, programs: Iterable[Program]) -> list[tuple[Outcome, ...]]:
        """The outcomes of each program's cases, in the order of ``programs``, which is read only as workers get free.

        A program whose worker dies, or whom the machine refuses what it may have, is run again, with nothing beside
        it. Raises SandboxError, which names the program's position, where that fails too: it is never an outcome. The
        sandbox stays usable.
        """
        with self._lock:
            if not self._seats:
                raise SandboxError("this sandbox was closed.")
            found: Rows = []
            waiting: deque[Unit] = deque()
            source = jobs.units(programs, found, self.limits)
            try:
                while self._fill(waiting, source) or waiting:
                    for seat in self._ready([s for s in self._seats if s.held]):
                        self._take(seat, waiting, found)
            except BaseException:
                for seat in self._seats:
                    if seat.held:  # of this call: a later one must not get its answers
                        self._replace(seat)
                raise
            return [tuple(o for o in outcomes if o is not None) for outcomes in found]

    # --- jobs ---

    def _fill(self, waiting: deque[Unit], source: Iterator[Unit]) -> bool:
        """Give the workers what they can hold; whether any holds something."""
        for seat in self._seats:
            while len(seat.held) < DEPTH:
                held = [unit for s in self._seats for unit, _ in s.held]
                if held and any(u.tries or u.patient for u in (*held, *list(waiting)[:1])):  # those run by themselves
                    return True
                unit = waiting.popleft() if waiting else next(source, None)
                if unit is None:
                    break
                self._give(seat, unit, waiting)
        return any(seat.held for seat in self._seats)

    def _give(self, seat: Seat, unit: Unit, waiting: deque[Unit]) -> None:
        if not seat.held and not seat.worker.silent():
            self._replace(seat)  # it has said something that nobody asked for
        try:
            job = jobs.job(unit, unit.limits(self.limits))
        except OSError as error:
            return self._again(unit, waiting, f"the machine gives no memory file for it ({error.strerror})")
        if not seat.held:
            seat.since = time.monotonic()
        seat.held.append((unit, job))
        try:
            seat.worker.send(job)
        except OSError as error:
            self._fail(seat, waiting, str(error))

    def _ready(self, busy: list[Seat]) -> list[Seat]:
        """Those that have answered, or are overdue."""
        if not busy:
            return []
        poll = select.poll()
        for seat in busy:
            poll.register(seat.worker.socket, select.POLLIN)
        first = min(self._deadline(s) for s in busy)
        answered = {fd for fd, _ in poll.poll(max(0.0, first - time.monotonic()) * 1000)}
        now = time.monotonic()
        return [s for s in busy if s.worker.socket.fileno() in answered or self._deadline(s) <= now]

    def _deadline(self, seat: Seat) -> float:
        unit = seat.held[0][0]
        return seat.since + jobs.longest(unit, unit.limits(self.limits)) + GRACE

    def _take(self, seat: Seat, waiting: deque[Unit], found: Rows) -> None:
        answer = seat.worker.receive()
        unit, job = seat.held[0]
        if answer is None or answer.job != job.number:  # whoever wrote it: none of this worker's answers counts
            return self._fail(seat, waiting, "it ended, or gave no answer in time, or one that does not fit")
        seat.held.popleft()
        seat.since = time.monotonic()
        try:
            if (why := answers.infrastructure(answer, job.program, jobs.seconds(unit, self.limits))) is not None:
                return self._again(unit, waiting, why)
            if answer.killed == "wall time" and not unit.patient and overloaded():
                unit.patient = True
                waiting.appendleft(unit)
                return None
            if (what := answers.claim(answer, job.note)) is not None:
                outcomes = self._claimed(seat, unit, answer, job, waiting, what)
            else:
                outcomes = jobs.outcomes(unit, answer, job, self.limits)
        finally:
            job.close()
        found[unit.index][unit.first : unit.first + len(outcomes)] = outcomes
        if 0 < len(outcomes) < unit.cases or (not outcomes and what is None):
            waiting.extend(jobs.rest(unit, len(outcomes)))

    # --- failures of the sandbox itself, and of the machine ---

    def _claimed(
        self, seat: Seat, unit: Unit, answer: Answer, job: Job, waiting: deque[Unit], what: str
    ) -> list[Outcome]:
        """A program says that the machine refused it something: it is run again, by itself. If it says so each time,
        a program of ours looks whether that is so: if not, it is an error of the program."""
        if unit.tries + 1 < TRIES:
            self._again(unit, waiting, f"the machine refused it {what}")
            return []
        if not self._allows(seat):
            self._again(unit, waiting, f"the machine refuses {what} that a program may have")
        outcomes = [] if unit.single else jobs.outcomes(unit, answer, job, self.limits)[:-1]
        return [*outcomes, Outcome("error", detail=f"it says that the machine refused it {what}")]

    def _allows(self, seat: Seat) -> bool:
        """Whether the machine lets a program have what it may. ``seat`` holds nothing."""
        unit, limits = Unit(-1, selftest.greedy(self.limits.memory), 0, 1), replace(self.limits, cpu=20.0, wall=60.0)
        try:
            job = jobs.job(unit, limits)
        except OSError:
            return False
        answer = None
        try:
            seat.worker.send(job)
            poll = select.poll()
            poll.register(seat.worker.socket, select.POLLIN)
            if poll.poll((jobs.longest(unit, limits) + GRACE) * 1000):
                answer = seat.worker.receive()
            if answer is None or answer.job != job.number:
                self._replace(seat)
                return False
            if answers.infrastructure(answer, job.program, jobs.seconds(unit, limits)) is not None:
                return False
            return [o.value for o in jobs.outcomes(unit, answer, job, limits)] == [selftest.HAD]
        finally:
            job.close()

    def _fail(self, seat: Seat, waiting: deque[Unit], why: str) -> None:
        """A dead worker: replace it; its oldest program is tried again, the next was not begun."""
        units = [unit for unit, _ in seat.held]
        self._replace(seat)
        waiting.extendleft(reversed(units[1:]))
        self._again(units[0], waiting, why)

    def _again(self, unit: Unit, waiting: deque[Unit], why: str) -> None:
        unit.tries += 1
        if unit.tries >= TRIES:
            raise SandboxError(
                f"the sandbox failed {TRIES} times at program {unit.index}, case {unit.first}: {why}. No score was "
                "made of it. If memory, processes (ulimit -u) or descriptors (ulimit -n) are short, raise them or run "
                "fewer programs side by side; the same command resumes."
            )
        if not any(seat.held for seat in self._seats):
            time.sleep(PAUSE)
        waiting.appendleft(unit)

    def _replace(self, seat: Seat) -> None:
        """Another worker, once more if the machine refuses that. Raises SandboxError."""
        self.replaced += 1
        for _, job in seat.held:
            job.close()
        seat.held.clear()
        with contextlib.suppress(OSError):
            seat.worker.close()
        try:
            seat.worker = self._worker()
        except SandboxError:
            time.sleep(PAUSE)
            seat.worker = self._worker()
