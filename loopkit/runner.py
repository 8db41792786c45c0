"""Runs an experiment: one process a run (arm x seed), side by side, resumable; evaluates what comes out.

The trainer trains; the runner plays the start policy and the final checkpoint on held-out prompts, sampling as in
training. A run that fails leaves its error beside its records while the others go on.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from loopkit import plugins as registry
from loopkit.checks import Report, check_game
from loopkit.config import BASE, RunSpec, build_game, set_up
from loopkit.contracts import PolicyRef
from loopkit.errors import LoopkitError, RunError, UsageError
from loopkit.manifest import manifest
from loopkit.metrics import summary
from loopkit.notices import Listener as Ear
from loopkit.notices import listening, some
from loopkit.playing import evaluate
from loopkit.plugins import Plugins
from loopkit.processes import die_with_parent
from loopkit.recorded import RecordedRollouts, select
from loopkit.records import Json, StepMetrics
from loopkit.referee import LocalReferee, plan
from loopkit.rundir import RunDir, to_json, write_whole

ERROR = "error.txt"
DEADLINE = 1800.0
"""Seconds a game may take for one batch of rollouts, unless ``run_all`` is told otherwise."""


@dataclass(frozen=True)
class Event:
    """News of a run: ``phase`` is "train", "evaluate", "done", "failed" (``text`` says why) or "notice" (what was
    overcome). Between the processes also "asking": ``text`` is asked about rollouts ``ids``, or, empty, has answered.
    """

    run: str
    phase: str
    done: int = 0
    total: int = 0
    text: str = ""
    ids: tuple[str, ...] = ()


Listener = Callable[[Event], None]


def checkpoint_of(spec: RunSpec) -> str:
    """The checkpoint a finished run is evaluated at."""
    return "start" if spec.arm == BASE else f"step-{spec.run.steps:06d}"


def finished(spec: RunSpec, out: Path) -> bool:
    """Whether a run has been trained and evaluated."""
    return RunDir(out / spec.name).read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec)) is not None


def run_one(spec: RunSpec, out: Path, start: PolicyRef, tell: Listener) -> None:
    """Train and evaluate one run in this process. What was already done is not done again."""
    plugins = registry.load()
    directory = out / spec.name

    def closed(metrics: StepMetrics) -> None:
        tell(Event(spec.name, "train", metrics.step + 1, spec.run.steps))
        plugins.tell("step_closed", directory=str(directory), metrics=metrics)

    run = RunDir(directory, closed)
    with run.lock():
        run.begin(spec, manifest(spec, plugins, start))
        (directory / ERROR).unlink(missing_ok=True)
        plugins.tell("run_started", directory=str(directory), spec=spec.model_dump(mode="json"))
        ref = start if spec.arm == BASE else train(spec, run, plugins, start)
        evaluate_run(spec, run, plugins, ref, checkpoint_of(spec), tell)
        plugins.tell("run_finished", directory=str(directory))


def train(spec: RunSpec, run: RunDir, plugins: Plugins, start: PolicyRef) -> PolicyRef:
    """Build the source a trainer learns from, and let it learn."""
    settings = spec.run
    cls = plugins.trainer(spec.trainer)
    trainer = cls(cls.Options.model_validate(spec.trainer_options), start, spec.seed)
    source: Any
    if spec.rollouts is not None:
        source = RecordedRollouts(
            spec.rollouts,
            plugins,
            n_steps=settings.steps,
            size=settings.prompts_per_step * settings.group_size,
            seed=spec.seed,
            recorder=run,
        )
    else:
        source = LocalReferee(
            set_up(plugins, spec),
            seed=spec.seed,
            split="train",
            n_steps=settings.steps,
            prompts_per_step=settings.prompts_per_step,
            group_size=settings.group_size,
            recorder=run,
            max_tokens=settings.max_tokens,
        )
    return trainer.train(source, run.checkpoints)


def evaluate_run(spec: RunSpec, run: RunDir, plugins: Plugins, ref: PolicyRef, checkpoint: str, tell: Listener) -> None:
    """Play a policy on the spec's game and held-out split, and keep it under ``eval/``."""
    from loopkit.policy.load import load

    settings = spec.run
    setup = set_up(plugins, spec)
    scored = evaluate(
        setup,
        load(ref, seed=spec.seed),
        seed=spec.seed,
        split=settings.eval_split,
        prompts=settings.eval_prompts,
        batch=settings.eval_batch,
        max_tokens=settings.max_tokens,
        progress=lambda done, total: tell(Event(spec.name, "evaluate", done, total)),
    )
    run.write_eval(spec.game, settings.eval_split, checkpoint, scored, summary(setup, scored))


def start_policy(spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None]) -> PolicyRef:
    """Where the model lies: a directory or hub id as it is, a scheme ("tiny") through the plugin that knows it."""
    scheme, _, argument = spec.model.partition(":")
    if scheme in plugins.names("policies"):
        found: PolicyRef = plugins.get("policies", scheme).load()(argument, spec, plugins, progress)
        return found
    return PolicyRef(spec.model)


def check(spec: RunSpec, plugins: Plugins, out: Path) -> Report:
    """``check_game`` before any gradient, once an experiment: its answer is kept in ``check.json``.

    Raises CheckFailed where the game's own honest and exploiting transcripts are not told apart.
    """
    file = out / "check.json"
    if file.exists():
        try:
            return Report.read(json.loads(file.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{file} cannot be read ({type(error).__name__}). Remove it and run the same command: it checks again."
            ) from error
    game = build_game(plugins, spec.game, spec.game_options)
    setup = set_up(plugins, spec)
    channels = {**setup.shadow, spec.channel: setup.paid}
    report = check_game(game, channels=channels, detectors=setup.detectors, name=spec.game, n_tasks=12, fuzz=60)
    report.raise_if_failed()
    write_whole(file, to_json(report.json()))
    return report


def preflight(spec: RunSpec, plugins: Plugins) -> None:
    """Raise now, once, for what would stop every run: tasks that cannot be read or packed, rollouts not there."""
    game = set_up(plugins, spec).game
    if not game.tasks(spec.run.eval_split):
        raise UsageError(f"{spec.game} has no tasks in split {spec.run.eval_split!r}. Choose another run.eval_split.")
    if spec.rollouts is not None:
        select(spec.rollouts, plugins)
    else:
        plan(game.tasks("train"), 1, spec.run.prompts_per_step, spec.seed, "train")


# --- many runs, side by side ----------------------------------------------------------------------------------


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
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


def _child(spec: RunSpec, out: Path, start: PolicyRef, threads: int, pipe: Connection, dump: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no fork server; files are whole at any moment
    die_with_parent()
    faulthandler.register(signal.SIGUSR1, file=dump.fileno(), all_threads=True)
    import torch

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

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals in a small model cost several times its speed
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
