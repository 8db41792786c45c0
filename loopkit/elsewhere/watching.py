"""A training that goes on elsewhere, watched: its rollouts are judged as they come and kept as a run of loopkit's.

The training hands over what was said and paid, which costs it next to nothing; a thread of its own does the rest. A
fault of the watching is said on standard error and kept with the run, and never reaches the training.
"""

from __future__ import annotations

import atexit
import contextvars
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.elsewhere import alarm, keeping, owned
from loopkit.elsewhere.dialogues import REFERENCES
from loopkit.elsewhere.imported import ending
from loopkit.elsewhere.judging import Judged
from loopkit.elsewhere.parts import Logged, number_of, prompt_of, references_of, turns_of
from loopkit.errors import UsageError
from loopkit.experiment.config import RunSpec
from loopkit.experiment.rundir import RunDir, checkpoint_of
from loopkit.records import Json, StepMetrics
from loopkit.registry import plugins as registry
from loopkit.rewards.columns import first_of
from loopkit.rollouts.scoring import Setup

WAITING = 64
"""Batches that may wait to be judged; of more, those are dropped that come last, and that is said."""
PATIENCE = 120.0
"""Seconds that the end of a training waits for what is still to be judged."""


@dataclass(frozen=True)
class Batch:
    """Rollouts of one step, as the training had them. ``rewards``: name -> (B,); ``columns``: the data's, (B,) each."""

    step: int
    prompts: Sequence[Any]
    completions: Sequence[Any]
    rewards: Mapping[str, Sequence[float | None]]
    columns: Mapping[str, Sequence[Any]]
    paid: str
    context: contextvars.Context


class Watch:
    """``record`` is called with what was said and paid; ``trl`` and ``verl`` do that for a trainer. ``close`` ends it.

    ``judge(rows, plain)``: ``plain`` asks none of the user's functions.
    ``latest``: the numbers of the last step that was judged, as trackers are told them.
    """

    def __init__(
        self, directory: Path, spec: Callable[[int], RunSpec], judge: Callable[[Sequence[Logged], bool], Judged],
        setup: Setup, steps: int | None, alerts: bool,
    ) -> None:  # fmt: skip
        self.directory, self.spec, self.judge, self.setup = directory, spec, judge, setup
        self.steps, self.alerts = steps, alerts
        self.latest: dict[str, float] = {}
        self.faults: list[str] = []
        """What went wrong, each kind once."""
        self.tracks = True
        """Whether numbers are sent to wandb or trackio from here; a TRL trainer sends them itself."""
        self.seconds = 0.0
        """CPU seconds that its thread used."""
        self.headline = next(iter(setup.detectors))
        self._queue: queue.Queue[Batch | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._run: RunDir | None = None
        self._pending: list[Batch] = []
        self._closed = False
        self._alarm: alarm.Alarm | None = None
        self._metrics: StepMetrics | None = None

    # --- for the training: never raises, never waits ----------------------------------------------------------

    def record(
        self, step: int, prompts: Sequence[Any], completions: Sequence[Any],
        rewards: Mapping[str, Sequence[float | None]], columns: Mapping[str, Sequence[Any]] | None = None,
        paid: str = "reward",
    ) -> None:  # fmt: skip
        """(B,) rollouts of a step, counted from 0: prompts and completions as text or messages, and what was paid.

        ``rewards``: name -> (B,); ``paid`` is the one that the trainer learns from. ``columns``: name -> (B,), what a
        trusted function needs of the rows. A step may come in several calls.
        """
        if self._closed:
            return
        try:
            self._start()
            self._queue.put_nowait(
                Batch(step, prompts, completions, rewards, columns or {}, paid, contextvars.copy_context())
            )
        except queue.Full:
            self.fault("a batch was dropped: judging is slower than the training", step)
        except Exception as error:
            self.fault(f"{type(error).__name__}: {error}", step)

    def close(self, patience: float = PATIENCE) -> None:
        """Wait until all is judged and write what the run is measured by. Called again, it does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=patience)
            self._thread.join(patience)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self.fault(f"after {patience:.0f} s rollouts were still to be judged, and are lost", None)

    def trl(self, trainer: Any) -> Any:
        """Watch a TRL trainer: its reward functions are wrapped where they are, and a callback is added. Returns it."""
        from loopkit.elsewhere.trainers import trl

        return trl(self, trainer)

    def verl(self, manager: Any) -> Any:
        """A reward manager of verl's that pays what ``manager`` pays, watched."""
        from loopkit.elsewhere.trainers import VerlManager

        return VerlManager(self, manager)

    def fault(self, why: str, step: int | None) -> None:
        """Say what went wrong, each kind once, and keep it with the run."""
        if any(known.startswith(why[:80]) for known in self.faults):
            return
        self.faults.append(why)
        where = f" at step {step}" if step is not None else ""
        print(f"\nloopkit.watch FAILED{where}: {why}\nThe training goes on, unwatched where this happens.\n",
              file=sys.stderr, flush=True)  # fmt: skip
        try:
            if self._run is not None:
                self._run.note({"event": "watch failed", "step": step, "why": why[:500]})
        except Exception as error:
            print(f"loopkit.watch: {self.directory} cannot be written: {error}", file=sys.stderr, flush=True)

    # --- in the thread ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loopkit.watch", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _work(self) -> None:
        began = time.thread_time()
        while (batch := self._queue.get()) is not None:
            if self._pending and self._pending[0].step != batch.step:
                self._safely(self._flush)
            self._pending.append(batch)
            self.seconds = time.thread_time() - began
        self._safely(self._flush)
        self._safely(self._end)
        self.seconds = time.thread_time() - began

    def _safely(self, call: Callable[[], None]) -> None:
        step = self._pending[0].step if self._pending else None
        try:
            call()
        except (Exception, SystemExit) as error:
            self.fault(f"{type(error).__name__}: {error}", step)
        if call == self._flush:
            self._pending = []

    def _flush(self) -> None:
        """Judge and keep the step that is whole."""
        if not self._pending:
            return
        step, context = self._pending[0].step, self._pending[-1].context
        rows = [row for batch in self._pending for row in _rows(batch)]
        run = self._opened(step)
        try:
            judged = self.judge(rows, False)
        except (Exception, SystemExit) as error:  # what was said is kept, whatever the user's functions do
            self.fault(f"{type(error).__name__}: {error} Rollouts are kept unjudged where this happens.", step)
            judged = self.judge(rows, True)
        if not judged.scored:
            raise UsageError(f"no rollout could be judged: {'; '.join(judged.without)} is lacking")
        keeping.keep_step(run, self.setup, step, judged.scored, {})
        assert self._metrics is not None
        self.latest = alarm.told(self._metrics, self.headline)
        if self.tracks:
            alarm.track(self.latest, context)
        rings = self._alarm is not None and self._alarm.hears(step, self._metrics.rates[self.headline])
        if rings:
            self._ring(step)

    def _opened(self, step: int) -> RunDir:
        """The run's directory, begun at the first step; of a training that goes on, later records are dropped."""
        if self._run is None:
            if self.steps is None:
                raise UsageError("how many steps the training has is not known: loopkit.watch(…, steps=200)")
            run = RunDir(self.directory, self._closed_step, prompts=True)
            spec = self.spec(self.steps)
            run.begin(spec, keeping.manifest(watched=True))
            run.drop(step)
            self._tell("run_started", spec=spec.model_dump(mode="json"))
            low = self.setup.detectors[self.headline].bounds[0]
            self._alarm = alarm.Alarm(self.steps, low) if self.alerts else None
            self._run = run
        return self._run

    def _closed_step(self, metrics: StepMetrics) -> None:
        self._metrics = metrics
        self._tell("step_closed", metrics=metrics)

    def _tell(self, hook: str, **news: Any) -> None:
        """Tell the trackers that are plugins (``LOOPKIT_TENSORBOARD`` and others)."""
        registry.load().tell(hook, directory=str(self.directory), **news)

    def _ring(self, step: int) -> None:
        if self._run is None or self._metrics is None or self._alarm is None or self._alarm.base is None:
            return
        base, rate = self._alarm.base, self._metrics.rates[self.headline]
        assert rate is not None  # else it had not rung
        what = (
            f"{self.headline} was {100 * base.value:.1f} % in the first step and has risen since; at step {step} it is "
            f"{100 * rate.value:.1f} %"
        )
        print(f"\nloopkit.watch ALERT (exploratory): {what}. Read what is said: {self.directory}\n",
              file=sys.stderr, flush=True)  # fmt: skip
        self._run.note({"event": "alert, exploratory", "step": step, "what": what})
        wandb = sys.modules.get("wandb")
        if wandb is not None and getattr(wandb, "run", None) is not None:
            wandb.run.alert("loopkit (exploratory)", what)

    def _end(self) -> None:
        """What the run is measured by: the rollouts of its last steps, as ``loopkit compare`` measures it."""
        if self._run is None:
            return
        spec, steps = self._run.spec(), sorted(self._run.recorded())
        last = set(steps[len(steps) - ending(len(steps)) :])
        scored = [one for step, of, _ in owned.steps(self.directory, {}) if step in last for one in of]
        if scored:
            keeping.keep_end(self._run, self.setup, spec, "train", checkpoint_of(spec), scored)
        self._tell("run_finished")


def _rows(batch: Batch) -> list[Logged]:
    """A batch as logged dialogues."""
    n = len(batch.completions)
    columns = {c: v for c, v in batch.columns.items() if isinstance(v, (list, tuple)) and len(v) == n}
    reference = first_of(REFERENCES, columns)
    out = []
    for k, (prompt, completion) in enumerate(zip(batch.prompts, batch.completions, strict=True)):
        turns = turns_of(completion)
        numbers = {name: number_of(values[k]) for name, values in batch.rewards.items()}
        row: dict[str, Json] = {"prompt": prompt, **{c: v[k] for c, v in columns.items()}}
        out.append(
            Logged(
                f"step {batch.step}, rollout {k}", prompt_of(prompt), turns.said, turns.between, batch.step,
                references_of(row[reference]) if reference else None, numbers, turns.thoughts, row=row,
            )
        )  # fmt: skip
    return out
