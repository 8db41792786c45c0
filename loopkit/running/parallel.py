"""An experiment's runs side by side: a process each, watched, and none of them outlives the command."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from loopkit.contracts import PolicyRef
from loopkit.errors import LoopkitError, RunError, UsageError
from loopkit.experiment.config import TRAINED, RunSpec, on_tiny
from loopkit.experiment.resolve import start_policy
from loopkit.experiment.rundir import RunDir
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.running.runner import ERROR, Evaluation, Event, Listener, finished, run_one
from loopkit.system.files import write_whole
from loopkit.system.notices import Listener as Ear
from loopkit.system.notices import listening, some
from loopkit.system.processes import PARENT, die_with_parent

ASKED_THREADS = os.environ.get("OMP_NUM_THREADS", "")
"""What the user set before loopkit set it for the fork server; empty: nothing, and the runs share the cores."""
DEADLINE = 1800.0
"""Seconds a game may take for one batch of rollouts, unless ``run_all`` is told otherwise."""


@dataclass(frozen=True)
class Job:
    """A run to be made, or to be evaluated further."""

    spec: RunSpec
    out: Path
    """Its experiment's directory."""
    start: PolicyRef | None = None
    """None: found when it begins, for a run that starts from another one."""
    further: tuple[Evaluation, ...] = ()
    label: str = ""
    """What it is called in news; default: the run's name."""

    @property
    def name(self) -> str:
        return self.label or self.spec.name

    @property
    def directory(self) -> Path:
        return self.out / self.spec.name

    def finished(self) -> bool:
        return finished(self.spec, self.out, self.further)

    def needs(self) -> set[Path]:
        """Directories of the runs that must be finished first: it starts from them, or learns from their rollouts."""
        scheme, _, path = self.spec.model.partition(":")
        paths = [Path(path)] if scheme == TRAINED else []
        if self.spec.rollouts is not None:
            paths.append(Path(self.spec.rollouts.run))
        return {(p.parent.parent if p.parent.name == "checkpoints" else p).absolute() for p in paths}


@dataclass
class _Run:
    """A run that is under way, as its parent sees it."""

    job: Job
    process: Any
    dump: Connection
    """Where the process writes where it is, when it is sent SIGUSR1."""
    asked: str = ""
    ids: tuple[str, ...] = ()
    since: float = field(default_factory=time.monotonic)

    def left(self, deadline: float) -> float:
        """Seconds until what is asked now has taken too long."""
        return self.since + deadline - time.monotonic() if self.asked else math.inf

    def end(self) -> str:
        """Kill it; returns where it was."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
        where = b""
        while self.dump.poll(1.0) and (part := os.read(self.dump.fileno(), 1 << 16)):  # it is written bit by bit
            where += part
        self.process.kill()
        self.process.join()
        return where.decode(errors="replace")


def require_deadline(deadline: float) -> None:
    """Raise UsageError if the deadline is not a positive number of seconds."""
    if not deadline > 0:
        raise UsageError(f"--deadline {deadline}: it is a number of seconds above 0. Give one, or leave it out.")


def run_all(
    specs: Sequence[RunSpec], out: Path, start: PolicyRef, jobs: int, tell: Listener, deadline: float = DEADLINE
) -> list[str]:
    """``run_jobs`` for the runs of one experiment, which all begin from ``start``. Returns the names that failed.

    Seed by seed: what is interrupted after hours then holds whole seeds, which can be compared.
    """
    seeds = list(dict.fromkeys(spec.seed for spec in specs))
    by_seed = sorted(specs, key=lambda spec: seeds.index(spec.seed))
    return [job.name for job in run_jobs([Job(spec, out, start) for spec in by_seed], jobs, tell, deadline)]


def run_jobs(todo: Sequence[Job], jobs: int, tell: Listener, deadline: float = DEADLINE) -> list[Job]:
    """Run what is not finished, ``jobs`` at a time, each in a process of its own. Returns those that failed.

    A run waits for the runs it needs; where one of them fails, it is not started, and counts as failed.
    A run whose game does not answer for ``deadline`` seconds is stopped, and the rollouts it was asked about are named.
    """
    waiting = []
    for job in todo:
        if job.finished():
            tell(Event(job.name, "done"))
        else:
            waiting.append(job)
    context = _context()
    running: dict[Connection, _Run] = {}
    failed: list[Job] = []
    try:
        while waiting or running:
            while stopped := _stopped(waiting, failed):
                waiting.remove(stopped[0])
                failed.append(stopped[0])
                tell(Event(stopped[0].name, "failed", text=f"not started: it needs {stopped[1].name}, which failed"))
            while len(running) < jobs and (ready_now := _next(waiting, running)) is not None:
                waiting.remove(ready_now)
                begun, run = _begin(ready_now, context, jobs)
                running[begun] = run
            if not running:
                assert not waiting, "runs that need one another"
                break
            left = max(0.0, min(run.left(deadline) for run in running.values()))
            ready = wait(list(running), None if left == math.inf else left)
            stuck = [pipe for pipe, run in running.items() if pipe not in ready and run.left(deadline) <= 0]
            for pipe in [*ready, *stuck]:
                assert isinstance(pipe, Connection)
                run = running[pipe]
                event = _stuck(run, deadline) if pipe in stuck else _news(pipe, run)
                if event.phase == "asking":
                    run.asked, run.ids, run.since = event.text, event.ids, time.monotonic()
                    continue
                if event.phase in ("done", "failed"):
                    run.process.join()
                    pipe.close()
                    run.dump.close()
                    del running[pipe]
                    if event.phase == "failed":
                        failed.append(run.job)
                tell(replace(event, run=run.job.name))
    finally:
        for run in running.values():
            run.process.kill()
        for run in running.values():
            run.process.join()
    return failed


def _stopped(waiting: Sequence[Job], failed: Sequence[Job]) -> tuple[Job, Job] | None:
    """A job that needs a failed one, and the failed one."""
    pairs = ((job, lost) for job in waiting for lost in failed)
    return next(((job, lost) for job, lost in pairs if lost.directory.absolute() in job.needs()), None)


def _next(waiting: Sequence[Job], running: Mapping[Connection, _Run]) -> Job | None:
    """The first job whose needs are all finished."""
    unmade = {job.directory.absolute() for job in [*waiting, *(run.job for run in running.values())]}
    busy = {run.job.directory.absolute() for run in running.values()}
    return next((j for j in waiting if not j.needs() & unmade and j.directory.absolute() not in busy), None)


def _begin(job: Job, context: Any, jobs: int) -> tuple[Connection, _Run]:
    ours, theirs = context.Pipe(duplex=False)
    dump, writes = context.Pipe(duplex=False)
    threads = 1 if on_tiny(job.spec.model) else int(ASKED_THREADS or max(1, (os.cpu_count() or 1) // jobs))
    process = context.Process(target=_child, args=(job, threads, theirs, writes), daemon=True)
    with _nobodys_main():
        process.start()
    theirs.close()
    writes.close()
    return ours, _Run(job, process, dump)


@contextlib.contextmanager
def _nobodys_main() -> Iterator[None]:
    """A process is begun without the caller's main module, which it would import otherwise.

    A run needs nothing of it, and a script that calls ``loopkit.run`` outside ``if __name__ == "__main__"`` would begin
    its experiment anew in every run.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _news(pipe: Connection, run: _Run) -> Event:
    try:
        event: Event = pipe.recv()
    except (EOFError, OSError):  # the process ended without a last word: killed, or out of memory
        run.process.join()
        text = f"its process ended with code {run.process.exitcode}: killed, or out of memory"
        text += _keep(run.job.directory, f"{text}\n")
        return Event(run.job.name, "failed", text=text)
    return event


def _stuck(run: _Run, deadline: float) -> Event:
    where = run.end()
    text = f"{run.asked} did not answer in {deadline:g} s, asked about {some(run.ids)}"
    rollouts = "".join(f"  {id_}\n" for id_ in run.ids)
    text += _keep(run.job.directory, f"{text}\n\nRollouts:\n{rollouts}\nWhere it was:\n{where}")
    return Event(run.job.name, "failed", text=f"{text}. Mend it, or raise --deadline; the same command resumes.")


def _keep(directory: Path, text: str) -> str:
    """Write a run's error; returns what to add to the news of it where that fails."""
    try:
        write_whole(directory / ERROR, text.encode())
    except LoopkitError as error:
        return f" ({error})"
    return ""


def start_server() -> None:
    """Start what run_all will fork from, which takes seconds to import, while this process does something else."""
    _context()


def _context() -> Any:
    """A fork server that has imported torch once: each run is a process of its own and starts at once."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # no thread pools before the fork; torch sets its own number after it
    methods = multiprocessing.get_all_start_methods()
    if "forkserver" not in methods:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loopkit.running.preload"])
    main = threading.current_thread() is threading.main_thread()  # elsewhere Python allows no change of handlers
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    os.environ[PARENT] = str(os.getpid())
    try:
        forkserver.ensure_running()  # it inherits that: Ctrl-C is for the parent, which stops the rest
    finally:
        del os.environ[PARENT]
        if main:
            signal.signal(signal.SIGINT, before)
    return context


def _child(job: Job, threads: int, pipe: Connection, dump: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no fork server; files are whole at any moment
    die_with_parent()
    faulthandler.register(signal.SIGUSR1, file=dump.fileno(), all_threads=True)
    from loopkit.policy.process import hardware, tune

    spec = job.spec

    def tell(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError:
            raise SystemExit(1) from None  # nobody listens any more: the parent was stopped, and so are we

    def notice(event: str, fields: Mapping[str, Json]) -> None:
        RunDir(job.directory).note({"event": event, **fields})
        text = ", ".join(f"{k}: {v}" for k, v in fields.items())
        tell(Event(spec.name, "notice", text=f"{event}: {text}"))

    def asking(who: str, ids: Sequence[str]) -> None:
        tell(Event(spec.name, "asking", text=who, ids=tuple(ids)))

    tune(threads)
    try:
        with listening(Ear(notice, asking)):
            start = job.start or start_policy(spec, registry.load(), lambda done, total: None)
            run_one(spec, job.out, start, tell, job.further, hardware())
    except LoopkitError as error:
        _fail(job, tell, str(error))
    except Exception as error:
        _fail(job, tell, f"{type(error).__name__}: {error}")
    else:
        tell(Event(spec.name, "done"))


def _fail(job: Job, tell: Listener, text: str) -> None:
    text += _keep(job.directory, traceback.format_exc())
    tell(Event(job.name, "failed", text=text))


def require(failed: Sequence[str], out: Path) -> None:
    """Raise RunError naming the runs that failed and where their tracebacks are."""
    refuse({name: out / name / ERROR for name in failed})


def refuse(failed: Mapping[str, Path]) -> None:
    """Raise RunError where a run failed: its name -> its log."""
    if failed:
        logs = ", ".join(str(log) for log in failed.values() if log.exists())
        raise RunError(f"{len(failed)} of the runs failed: {', '.join(failed)}. What they had recorded is kept; the "
                       f"same command resumes them. Tracebacks: {logs or 'none'}.")  # fmt: skip
