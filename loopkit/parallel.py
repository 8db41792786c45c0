"""An experiment's runs side by side: a process each, watched, and none of them outlives the command."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from loopkit.config import RunSpec
from loopkit.contracts import PolicyRef
from loopkit.errors import LoopkitError, RunError
from loopkit.files import write_whole
from loopkit.notices import Listener as Ear
from loopkit.notices import listening, some
from loopkit.processes import PARENT, die_with_parent
from loopkit.records import Json
from loopkit.rundir import RunDir
from loopkit.runner import ERROR, Event, Listener, finished, run_one

DEADLINE = 1800.0
"""Seconds a game may take for one batch of rollouts, unless ``run_all`` is told otherwise."""


@dataclass
class _Run:
    """A run that is under way, as its parent sees it."""

    spec: RunSpec
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


def run_all(
    specs: Sequence[RunSpec], out: Path, start: PolicyRef, jobs: int, tell: Listener, deadline: float = DEADLINE
) -> list[str]:
    """Run what is not finished, ``jobs`` at a time, each in a process of its own. Returns the names that failed.

    A run whose game does not answer for ``deadline`` seconds is stopped, and the rollouts it was asked about are named.
    """
    waiting = [s for s in specs if not finished(s, out)]
    for spec in specs:
        if spec not in waiting:
            tell(Event(spec.name, "done"))
    threads = 1 if specs[0].model.partition(":")[0] == "tiny" else max(1, (os.cpu_count() or 1) // jobs)
    context = _context()
    running: dict[Connection, _Run] = {}
    failed: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                spec = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                dump, writes = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(spec, out, start, threads, theirs, writes), daemon=True)
                process.start()
                theirs.close()
                writes.close()
                running[ours] = _Run(spec, process, dump)
            left = max(0.0, min(run.left(deadline) for run in running.values()))
            ready = wait(list(running), None if left == math.inf else left)
            stuck = [pipe for pipe, run in running.items() if pipe not in ready and run.left(deadline) <= 0]
            for pipe in [*ready, *stuck]:
                assert isinstance(pipe, Connection)
                run = running[pipe]
                event = _stuck(run, out, deadline) if pipe in stuck else _news(pipe, run, out)
                if event.phase == "asking":
                    run.asked, run.ids, run.since = event.text, event.ids, time.monotonic()
                    continue
                if event.phase in ("done", "failed"):
                    run.process.join()
                    pipe.close()
                    run.dump.close()
                    del running[pipe]
                    if event.phase == "failed":
                        failed.append(run.spec.name)
                tell(event)
    finally:
        for run in running.values():
            run.process.kill()
        for run in running.values():
            run.process.join()
    return failed


def _news(pipe: Connection, run: _Run, out: Path) -> Event:
    try:
        event: Event = pipe.recv()
    except (EOFError, OSError):  # the process ended without a last word: killed, or out of memory
        run.process.join()
        text = f"its process ended with code {run.process.exitcode}: killed, or out of memory"
        text += _keep(out / run.spec.name, f"{text}\n")
        return Event(run.spec.name, "failed", text=text)
    return event


def _stuck(run: _Run, out: Path, deadline: float) -> Event:
    where = run.end()
    text = f"{run.asked} did not answer in {deadline:g} s, asked about {some(run.ids)}"
    rollouts = "".join(f"  {id_}\n" for id_ in run.ids)
    text += _keep(out / run.spec.name, f"{text}\n\nRollouts:\n{rollouts}\nWhere it was:\n{where}")
    return Event(run.spec.name, "failed", text=f"{text}. Mend it, or raise --deadline; the same command resumes.")


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
    context.set_forkserver_preload(["loopkit.preload"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for the parent, which stops the rest
    os.environ[PARENT] = str(os.getpid())
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[PARENT]
        signal.signal(signal.SIGINT, before)
    return context


def _child(spec: RunSpec, out: Path, start: PolicyRef, threads: int, pipe: Connection, dump: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no fork server; files are whole at any moment
    die_with_parent()
    faulthandler.register(signal.SIGUSR1, file=dump.fileno(), all_threads=True)
    from loopkit.policy.process import tune

    def tell(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError:
            raise SystemExit(1) from None  # nobody listens any more: the parent was stopped, and so are we

    def notice(event: str, fields: Mapping[str, Json]) -> None:
        RunDir(out / spec.name).note({"event": event, **fields})
        said = ", ".join(f"{k}: {v}" for k, v in fields.items())
        tell(Event(spec.name, "notice", text=f"{event}: {said}"))

    def asking(what: str, ids: Sequence[str]) -> None:
        tell(Event(spec.name, "asking", text=what, ids=tuple(ids)))

    tune(threads)
    try:
        with listening(Ear(notice, asking)):
            run_one(spec, out, start, tell)
    except LoopkitError as error:
        _fail(spec, out, tell, str(error))
    except Exception as error:
        _fail(spec, out, tell, f"{type(error).__name__}: {error}")
    else:
        tell(Event(spec.name, "done"))


def _fail(spec: RunSpec, out: Path, tell: Listener, text: str) -> None:
    text += _keep(out / spec.name, traceback.format_exc())
    tell(Event(spec.name, "failed", text=text))


def require(failed: Sequence[str], out: Path) -> None:
    """Raise RunError naming the runs that failed and where their tracebacks are."""
    if failed:
        logs = ", ".join(str(out / name / ERROR) for name in failed)
        raise RunError(f"{len(failed)} of the runs failed: {', '.join(failed)}. What they had recorded is kept; the "
                       f"same command resumes them. Tracebacks: {logs}.")  # fmt: skip
