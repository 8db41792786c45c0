"""wandb: sends a run's steps and its evaluation to Weights & Biases, into the project LOOPKIT_WANDB.

Off unless that variable is set; its own are obeyed (WANDB_MODE=offline, WANDB_DIR, WANDB_ENTITY). It is inherited by
the processes of the runs, in which the hooks are called. A resumed run goes on under the same id.
"""

import os
from collections.abc import Mapping
from typing import Any

from loopkit.errors import needing
from loopkit.experiment.tracked import closed_steps, heldout_numbers, identity, step_numbers
from loopkit.records import StepMetrics
from loopkit.registry.hookspecs import hookimpl

VARIABLE = "LOOPKIT_WANDB"
_runs: dict[str, Any] = {}


@hookimpl
def run_started(directory: str, spec: Mapping[str, Any]) -> None:
    if not (project := os.environ.get(VARIABLE)):
        return
    with needing(VARIABLE):
        import wandb
    experiment, run, key = identity(directory)
    _runs[directory] = wandb.init(
        project=project, group=experiment, name=run, id=key, config=dict(spec), resume="allow",
        settings=wandb.Settings(console="off", silent=True),
    )  # fmt: skip


@hookimpl
def step_closed(directory: str, metrics: StepMetrics) -> None:
    if run := _runs.get(directory):
        run.log(step_numbers(metrics), step=metrics.step)


@hookimpl
def run_finished(directory: str) -> None:
    if run := _runs.pop(directory, None):
        run.log(heldout_numbers(directory), step=closed_steps(directory))
        run.finish()
