"""One event file a run (and one more for each time it is resumed), at <LOOPKIT_TENSORBOARD>/<experiment>/<run>."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopkit.errors import needing
from loopkit.experiment.tracked import closed_steps, heldout_numbers, identity, step_numbers
from loopkit.records import StepMetrics

_writers: dict[str, Any] = {}


def start(where: str, directory: str) -> None:
    """Open the run's writer. Steps that a resumed run plays again replace what was written of them."""
    with needing("LOOPKIT_TENSORBOARD"):
        import tensorboard  # noqa: F401 - torch's writer would not say which package it lacks
        from torch.utils.tensorboard import SummaryWriter
    experiment, run, _ = identity(directory)
    _writers[directory] = SummaryWriter(str(Path(where) / experiment / run), purge_step=closed_steps(directory) or None)


def step(directory: str, metrics: StepMetrics) -> None:
    """The step's numbers."""
    for tag, value in step_numbers(metrics).items():
        _writers[directory].add_scalar(tag, value, metrics.step)
    _writers[directory].flush()


def finish(directory: str) -> None:
    """The evaluations, at the step after the last."""
    writer, after = _writers.pop(directory), closed_steps(directory)
    for tag, value in heldout_numbers(directory).items():
        writer.add_scalar(tag, value, after)
    writer.close()
