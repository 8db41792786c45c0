"""Runs an experiment: one process a run (arm x seed), side by side, resumable; evaluates what comes out.

The trainer trains; the runner plays the start policy and the final checkpoint on held-out prompts, sampling as in
training. A run that fails leaves its error beside its records while the others go on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from loopkit.playing import evaluate
from loopkit.plugins import Plugins
from loopkit.recorded import RecordedRollouts, select
from loopkit.records import StepMetrics
from loopkit.referee import LocalReferee, plan
from loopkit.rundir import RunDir, to_json, write_whole

ERROR = "error.txt"


@dataclass(frozen=True)
class Event:
    """News of a run: ``phase`` is "train", "evaluate", "done" or "failed" (then ``text`` says why)."""

    run: str
    phase: str
    done: int = 0
    total: int = 0
    text: str = ""


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
        return Report.read(json.loads(file.read_text()))
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


def run_all(specs: Sequence[RunSpec], out: Path, start: PolicyRef, jobs: int, tell: Listener) -> list[str]:
    """Run what is not finished, ``jobs`` at a time, each in a process of its own. Returns the names that failed."""
    waiting = [s for s in specs if not finished(s, out)]
    for spec in specs:
        if spec not in waiting:
            tell(Event(spec.name, "done"))
    threads = 1 if specs[0].model.partition(":")[0] == "tiny" else max(1, (os.cpu_count() or 1) // jobs)
    context = _context()
    running: dict[Connection, tuple[RunSpec, Any]] = {}
    failed: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                spec = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(spec, out, start, threads, theirs), daemon=True)
                process.start()
                theirs.close()
                running[ours] = (spec, process)
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                spec, process = running[pipe]
                try:
                    event = pipe.recv()
                except (EOFError, OSError):  # the process ended without a last word: killed, or out of memory
                    process.join()
                    text = f"its process ended with code {process.exitcode}: killed, or out of memory"
                    write_whole(out / spec.name / ERROR, f"{text}\n".encode())
                    event = Event(spec.name, "failed", text=text)
                if event.phase in ("done", "failed"):
                    process.join()
                    pipe.close()
                    del running[pipe]
                    if event.phase == "failed":
                        failed.append(spec.name)
                tell(event)
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return failed


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
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


def _child(spec: RunSpec, out: Path, start: PolicyRef, threads: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no fork server; files are whole at any moment
    from loopkit.policy.process import tune

    def tell(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError:
            raise SystemExit(1) from None  # nobody listens any more: the parent was stopped, and so are we

    tune(threads)
    try:
        run_one(spec, out, start, tell)
    except LoopkitError as error:
        _fail(spec, out, tell, str(error))
    except Exception as error:
        _fail(spec, out, tell, f"{type(error).__name__}: {error}")
    else:
        tell(Event(spec.name, "done"))


def _fail(spec: RunSpec, out: Path, tell: Listener, text: str) -> None:
    try:
        write_whole(out / spec.name / ERROR, traceback.format_exc().encode())
    except OSError:
        text += " (and its traceback could not be written)"
    tell(Event(spec.name, "failed", text=text))


def require(failed: Sequence[str], out: Path) -> None:
    """Raise RunError naming the runs that failed and where their tracebacks are."""
    if failed:
        logs = ", ".join(str(out / name / ERROR) for name in failed)
        raise RunError(f"{len(failed)} of the runs failed: {', '.join(failed)}. What they had recorded is kept; the "
                       f"same command resumes them. Tracebacks: {logs}.")  # fmt: skip
